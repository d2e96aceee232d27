"""Gradio's copies of the files that the page shows or is given: in a folder of their own, for as
long as the page is served."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pairedit_sdk.io.files import writing

#: Where Gradio looks for the place of its copies, as a page is built and with each request.
VARIABLE = "GRADIO_TEMP_DIR"
_LOCK = ".lock"


class Copies:
    """A folder for one page's copies.

    Several studios may serve one library. So each has a folder of its own, with a lock beside it
    which the system opens when its process ends. What such a process has left is deleted by the
    next one.

    Args:
        above: the folder of all such folders.

    Raises:
        WriteError: it cannot be written to.
    """

    def __init__(self, above: Path) -> None:
        self.above = above
        self.folder = above.resolve() / uuid.uuid4().hex
        self._lock = _lock(self.folder.with_suffix(_LOCK))
        self._hold()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within the block Gradio copies to this folder, all of it in this process."""
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(self.folder)
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = before

    @contextmanager
    def served(self) -> Iterator[None]:
        """The block in which the page is served: :meth:`used`, and nothing is left after it."""
        self._hold()
        _forget(self.above)
        try:
            with self.used():
                yield
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.release()
            _unlink(Path(self._lock.lock_file))
            with suppress(OSError):  # there is another studio
                self.above.rmdir()

    def _hold(self) -> None:
        if not self._lock.is_locked:
            with writing(self.folder):
                self.above.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
                self.folder.mkdir(exist_ok=True)


def _lock(path: Path) -> FileLock:
    # A server may begin in one thread and end in another.
    return FileLock(path, timeout=0, thread_local=False)


def _forget(above: Path) -> None:
    """Delete what nobody holds."""
    for path in above.glob(f"*{_LOCK}"):
        lock = _lock(path)
        with suppress(Timeout, OSError):
            lock.acquire()
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            lock.release()
            _unlink(path)


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
