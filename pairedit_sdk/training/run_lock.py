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


@contextmanager
def run_lock(folder: Path | None, wait: float = 0) -> Iterator[None]:
    """Within the block no other training can use this run folder.

    The lock is the operating system's (flock), which opens it when its process ends, however that
    comes about.

    Args:
        folder: of the run; ``None`` locks nothing.
        wait: for another one to end, at most so many seconds.

    Raises:
        UsageError: another one is.
        WriteError: the folder cannot be written to.
    """
    if folder is None:
        yield
        return
    lock = FileLock(folder / LOCK, timeout=wait)
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


def clear(folder: Path) -> None:
    """Delete all of a run, but for its lock; only for who holds its :func:`run_lock`."""
    with writing(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
