"""All that the page and the HTTP API share: engine, queue, pictures and trainings."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pairedit_sdk.studio.engine import Engine, LoadingOptions
from pairedit_sdk.studio.pictures import Pictures
from pairedit_sdk.studio.results import Results
from pairedit_sdk.studio.trainings import Trainings
from pairedit_sdk.studio.work_queue import BOUND, TIMEOUT, BusyError, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pairedit_sdk.editing.hooks import StepHook
    from pairedit_sdk.edits.library import EditLibrary
    from pairedit_sdk.studio.training_request import TrainingRequest
    from pairedit_sdk.studio.training_status import TrainingStatus

T = TypeVar("T")


class Service:
    """What one studio serves from.

    Args:
        library: of edits, on this machine. What the studio itself keeps lies in its folder
            ``.studio``.
        loading: the model.
        bound: requests that wait at most.
        timeout: seconds that a request may take with its waiting.
    """

    def __init__(
        self,
        library: EditLibrary | str | Path,
        loading: LoadingOptions | None = None,
        *,
        bound: int = BOUND,
        timeout: float = TIMEOUT,
    ) -> None:
        self.engine = Engine(library, loading)
        self.library = self.engine.library
        self.folder = self.library.folder / ".studio"
        self.pictures = Pictures(self.folder / "pictures")
        self.results = Results(self.folder / "results")
        self.queue = WorkQueue(bound, timeout)
        how = self.engine.loading
        self.trainings = Trainings(
            self.library,
            device=how.device,
            precision=None if how.precision == "auto" else how.precision,
            offload=how.offload,
        )

    def do(self, work: Callable[[StepHook], T], **how: Any) -> T:
        """Wait for the queue, and have something done there.

        Args:
            work: called with a hook for (done, total).
            how: as for :meth:`~pairedit_sdk.studio.work_queue.WorkQueue.submit`.

        Raises:
            BusyError: the queue is full.
            TooLateError: it took too long.
            Exception: whatever the work raised.
        """
        return cast("T", self.queue.submit(work, **how).result())

    def train(self, request: TrainingRequest) -> TrainingStatus:
        """Begin a training; the model gives it the GPU.

        Raises:
            UsageError, InputError, WriteError: see
                :meth:`~pairedit_sdk.studio.trainings.Trainings.start`.
        """
        status = self.trainings.start(request)
        self._make_room()
        return status

    def resume(self, name: str) -> TrainingStatus:
        """Go on with a training; the model gives it the GPU.

        Raises:
            UsageError, WriteError: see :meth:`~pairedit_sdk.studio.trainings.Trainings.resume`.
        """
        status = self.trainings.resume(name)
        self._make_room()
        return status

    def _make_room(self) -> None:
        """Give a GPU's memory to a training; the next request for a picture takes it again."""
        with suppress(BusyError):  # of many who want pictures, who also want the memory
            self.queue.submit(lambda _: self.engine.make_room(), urgent=True)

    def close(self) -> None:
        """End what is under way: trainings with a checkpoint, requests after their step."""
        self.trainings.close()
        self.queue.close()
