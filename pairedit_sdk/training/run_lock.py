"""The lock of a run's folder: one training at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.files import writing

LOCK = "run.lock"
#: Seconds that a training waits for the lock at least: whoever asks :func:`is_locked` has it for a
#: moment. Such a moment is far shorter than :data:`_MOMENT`, which asking waits itself.
_LEAST_WAIT, _MOMENT = 0.5, 0.05


@contextmanager
def run_lock(folder: Path | None, wait: float = 0) -> Iterator[None]:
    """Within the block no other training can use this run folder.

    The lock is the operating system's (flock), which opens it when its process ends, however that
    comes about.

    Args:
        folder: of the run; ``None`` locks nothing.
        wait: for another one to end, at most so many seconds, or half a second.

    Raises:
        UsageError: another one is.
        WriteError: the folder cannot be written to.
    """
    if folder is None:
        yield
        return
    lock = FileLock(folder / LOCK, timeout=max(wait, _LEAST_WAIT))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:  # an OSError too, but no trouble with writing
            raise UsageError(
                f"Another training is going on in {folder}",
                next_step="Wait for it or stop it, or choose another name",
            ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a training uses this run folder, in this process or another.

    The answer does not depend on process ids, which the system gives away again. Where the lock may
    not be opened it is no.
    """
    path = folder / LOCK
    if not path.is_file():
        return False
    lock = FileLock(path, timeout=_MOMENT, poll_interval=_MOMENT / 10)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def clear(folder: Path) -> None:
    """Delete all of a run, but for its lock; only for who holds its :func:`run_lock`."""
    with writing(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
