"""Work that is killed at a named point, for tests of what a kill leaves behind.

A test starts a script of its own. The script loads torch once, on one thread, and forks each piece
of work, which costs a fraction of starting Python anew. pytest's own process never forks.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: What Python's audit events call the changes of a folder, and what the points are called.
CHANGES = {
    "os.chmod": "chmod", "os.mkdir": "mkdir", "os.remove": "remove", "os.rename": "rename",
    "os.truncate": "truncate",
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

Point = tuple[str, int]
"""A kind of point, and which one of that kind, from 1 on."""


class Points:
    """The points that this process passes, and the one at which it ends itself.

    The kinds are "open" (for writing) and those of :data:`CHANGES`, each just before the change;
    "torn", when a file is flushed whose last bytes are then cut off; and whatever the work itself
    calls :meth:`reach` with. Just after a change is just before the next.
    """

    def __init__(self, folder: Path, last: Point | None) -> None:
        self._folder, self._last = str(folder), last
        self.count: Counter[str] = Counter()

    def reach(self, kind: str, before_the_end: Callable[[], object] | None = None) -> None:
        self.count[kind] += 1
        if (kind, self.count[kind]) == self._last:
            if before_the_end:
                before_the_end()
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Watch the files in the folder from now on. It cannot be undone."""

        def torn(handle: int) -> None:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode):
                cut = max(0, found.st_size - 10)
                self.reach("torn", lambda: os.ftruncate(handle, cut))

        # Python has no audit event for it. Only a power cut loses what is not flushed, a kill does
        # not: nothing has to wait for the disk here.
        os.fsync = torn
        sys.addaudithook(self._heard)

    def _heard(self, event: str, words: tuple[Any, ...]) -> None:
        kind = CHANGES.get(event) or ("open" if event == "open" and words[2] & _WRITES else None)
        if not kind or not isinstance(words[0], str | os.PathLike):
            return  # an open file has no path to tell it by
        if os.fspath(words[0]).startswith(self._folder):
            self.reach(kind)


def forked(
    work: Callable[[Points], object], folder: Path, last: Point | None = None,
    noted_in: Path | None = None,
) -> int:  # fmt: skip
    """Do the work in a forked process; its exit status, or the signal that ended it.

    Args:
        work: what to do, given the points for its own.
        folder: whose files are watched.
        last: the point to kill it at.
        noted_in: write down there how many points of each kind there were.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            points = Points(folder, last)
            points.watch()
            work(points)
            if noted_in is not None:
                noted_in.write_text(json.dumps(points.count))
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def every(noted_in: Path) -> Iterator[Point]:
    """All the points that work has passed, by what :func:`forked` has noted."""
    for kind, count in json.loads(noted_in.read_text()).items():
        yield from ((kind, number) for number in range(1, count + 1))
