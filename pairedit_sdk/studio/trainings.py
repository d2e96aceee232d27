"""Trainings that the studio starts, stops and resumes, and the state of all of a library's runs.

A training is ``pairedit train`` in a process of its own. The run's folder is what tells how far it
is, so that nothing is lost when a page is loaded again or the studio is started anew, and runs that
were started in a shell are seen as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pairedit_sdk.edits.library import EditLibrary, check_name
from pairedit_sdk.errors import UsageError, WriteError
from pairedit_sdk.io.files import writing
from pairedit_sdk.studio import kept_pairs
from pairedit_sdk.studio.kept_pairs import Picture
from pairedit_sdk.studio.run_state import changed
from pairedit_sdk.studio.training_process import TrainingProcess, TrainingRecord
from pairedit_sdk.studio.training_request import TrainingRequest
from pairedit_sdk.studio.training_status import TrainingFiles, TrainingStatus
from pairedit_sdk.training.run_lock import is_locked

#: Seconds that stopping waits for the step under way and its checkpoint.
STOP_WAIT = 60.0


class Trainings:
    """The trainings of a library. At most one that was started here is under way at a time.

    All methods may be called from any thread.

    Args:
        library: of edits, on this machine.
        device: for trainings whose request does not say it.
        precision: likewise.
        offload: for all trainings.

    Raises:
        UsageError: the library is on a URL.
    """

    def __init__(
        self,
        library: EditLibrary | str | Path,
        *,
        device: str | None = None,
        precision: str | None = None,
        offload: bool = False,
    ) -> None:
        self._library = EditLibrary.local(library)
        self._device, self._precision, self._offload = device, precision, offload
        self._files = TrainingFiles(self._library)
        self._running: tuple[str, TrainingProcess] | None = None
        self._closed = False
        self._lock, self._pairs_lock = threading.RLock(), threading.Lock()

    @property
    def current(self) -> str | None:
        """The name of the training under way that was started here, or None."""
        with self._lock:
            if self._running is not None and self._running[1].has_ended():
                self._running = None
            return None if self._running is None else self._running[0]

    def start(self, request: TrainingRequest) -> TrainingStatus:
        """Begin a training, in a process of its own.

        What can be known to be wrong is refused before: the name, the settings, a folder that is
        missing. The pictures are checked by the process itself.

        Raises:
            UsageError: a bad name or one that is taken, bad settings, or another training is under
                way.
            InputError: the pairs' folder is missing, or the vocabulary cannot be read.
            WriteError: the library cannot be written to.
        """
        with self._lock:
            self.require_startable(request.name, force=request.force)
            request, steps = replace(
                request,
                device=request.device or self._device,
                precision=request.precision or self._precision,
                offload=request.offload or self._offload,
            ).settled()
            self._begin(request, steps, resume=False)
            return self.status(request.name)

    def require_startable(self, name: str, *, force: bool = False) -> None:
        """Refuse a training that cannot begin, before its pairs are kept.

        Args:
            name: of it.
            force: replace an edit or a run of this name.

        Raises:
            UsageError: a bad name or one that is taken, or another training is under way.
        """
        check_name(name)
        with self._lock:
            self._require_free(name)
            if not force:
                self._require_new(name)

    def resume(self, name: str) -> TrainingStatus:
        """Go on with a training that was stopped or has failed, from its newest checkpoint.

        A training that ended before it had a run's folder begins anew.

        Raises:
            UsageError: there is no such training, it was not started from the studio, it is done or
                still going on, or another one is under way.
            WriteError: the library cannot be written to.
        """
        with self._lock:
            before = self.status(name)
            self._require_free(name)
            record = self._files.record(name)
            if record is None:
                raise UsageError(
                    f"The training {name} was not started from the studio",
                    next_step="Go on with its own `pairedit train` command and --resume",
                )
            if before.state == "done":
                raise UsageError(
                    f"The training {name} is done",
                    next_step="Train again under another name, or choose to replace it",
                )
            resume = self._files.goes_on(record)
            self._begin(record.request, record.steps, resume=resume)
            return self.status(name)

    def stop(self, name: str, wait: float = STOP_WAIT) -> TrainingStatus:
        """Stop a training that was started here, after the step under way and its checkpoint.

        Args:
            name: of it. One that has ended already stays as it is.
            wait: for its end, at most so many seconds. It ends all the same if that takes longer,
                and is "running" or "starting" until then.

        Raises:
            UsageError: there is no such training, or another process has started it.
        """
        with self._lock:
            running = self._running if self.current == name else None
        if running is not None:
            running[1].stop(wait)  # others may ask for the state meanwhile
        status = self.status(name)
        if running is None and status.state == "running":
            raise UsageError(
                f"The training {name} was started in another process",
                next_step="Press Ctrl-C there",
            )
        return status

    def status(self, name: str) -> TrainingStatus:
        """How a training is doing, whoever started it.

        Raises:
            UsageError: there is none of that name.
        """
        return self._files.status(name, ours=self.current == name)

    def all(self) -> list[TrainingStatus]:
        """All trainings of the library, those made in a shell too; the newest first."""
        found = []
        for name in self._files.names():
            with suppress(UsageError):  # deleted meanwhile
                found.append(self.status(name))
        return sorted(found, key=lambda one: (-one.started, one.name))

    def keep_pairs(self, name: str, pairs: Sequence[tuple[Picture, Picture]]) -> Path:
        """Keep pictures as the folder of pairs for a training; see
        :func:`pairedit_sdk.studio.kept_pairs.keep_pairs`.

        Args:
            name: of the training. Pairs that were kept under it before are replaced.
            pairs: (before, after), each a file, the bytes of one, or a photo.

        Returns:
            The folder.

        Raises:
            UsageError: no pairs, a bad name, or the training of this name is under way.
            InputError: a picture cannot be read; what was kept before stays.
            WriteError: the library cannot be written to.
        """
        check_name(name)
        with self._lock:
            if self.current == name:
                self._require_free(name)
        with self._pairs_lock:
            return kept_pairs.keep_pairs(self._library.folder / ".studio" / "pairs" / name, pairs)

    def close(self, wait: float = STOP_WAIT) -> None:
        """Stop the training under way, if there is one; its checkpoint is kept. No other can be
        started afterwards."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None:
            running[1].stop(wait)

    def _begin(self, request: TrainingRequest, steps: int, *, resume: bool) -> None:
        name = request.name
        path, out, log = (self._files.path(name, end) for end in (".json", ".out", ".log"))
        record = TrainingRecord(
            request, steps, time.time(), resume, changed(self._files.config(name))
        )
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Deleted, not emptied: a process that is about to end may still write to its own.
            out.unlink(missing_ok=True)
            if not resume:
                log.unlink(missing_ok=True)
            record.write(path)
        command = request.command(self._library, resume=resume)
        self._running = name, (process := TrainingProcess(name, command, out, log))
        with suppress(WriteError):  # it is under way, and all else is written down
            replace(record, pid=process.pid).write(path)

    def _require_free(self, name: str) -> None:
        if self._closed:
            raise UsageError("The studio is ending", next_step="Start it again")
        if (other := self.current) is not None:
            raise UsageError(
                f"The training {other} is under way, and one is done at a time",
                next_step="Wait for it, or stop it",
            )
        if is_locked(self._library.run_folder(name)):
            raise UsageError(
                f"The training {name} is going on in another process",
                next_step="Wait for it or stop it there, or choose another name",
            )

    def _require_new(self, name: str) -> None:
        if self._library.target(name).exists():
            raise UsageError(
                f"There is an edit {name} already",
                next_step="Choose another name, or choose to replace it",
            )
        if any(self._library.run_folder(name).glob("checkpoints/*")):
            raise UsageError(
                f"There is a run of {name} already",
                next_step="Resume it, choose another name, or choose to replace it",
            )
