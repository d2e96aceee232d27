"""Many edits on a Ray cluster: each worker loads the model once and is handed an edit at a time.

Ray starts the workers, places them, watches over them and starts them again. What is done here is
to hand out the edits, and to hand one out once more when its worker was lost. Ray's own retry of
an actor's task is not used for that: it ties the edit to the worker that it had, which may wait for
a machine that never comes back while others have nothing to do.
"""

from __future__ import annotations

import _thread
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from pairedit_sdk.errors import PairEditError, TrainingError
from pairedit_sdk.io.threads import wait_politely
from pairedit_sdk.jobs.manifest import ManifestEntry
from pairedit_sdk.jobs.outcomes import EditOutcome, write_down
from pairedit_sdk.jobs.ray_cluster import RayWorkers, connected, require_kind, room_for
from pairedit_sdk.jobs.train_many import require_different, train_entry
from pairedit_sdk.training.interrupts import terminable

if TYPE_CHECKING:
    from pairedit_sdk.training.trainer import StepInfo

#: An edit that takes its worker down with it so many times is given up.
TRIES = 3
#: A lost worker's lock on a network's file system may outlive it for a while, seconds.
LOCK_SECONDS = 120.0
#: After Ctrl-C: for the steps under way and their checkpoints, seconds.
STOP_SECONDS = 120.0


class Choices(TypedDict, total=False):
    """What of :func:`pairedit_sdk.train_many`'s arguments each worker is told."""

    force: bool
    skip_check: bool


def train_many_on_ray(
    base: str,
    entries: Iterable[ManifestEntry],
    library: str | Path,
    workers: RayWorkers | None = None,
    *,
    device: str | None = None,
    precision: str = "auto",
    on_outcome: Callable[[EditOutcome], None] | None = None,
    **choices: Unpack[Choices],
) -> list[EditOutcome]:
    """As :func:`pairedit_sdk.train_many`, by the workers of a Ray.

    The pairs and the library are files that all workers see under the same paths. The edit of a
    worker that was lost is handed out again and goes on from its last checkpoint. A Ray that this
    process is already connected to is used as it is.

    Args:
        base: the model's name or folder, which every worker loads once.
        entries: the edits, of different names.
        library: the folder of edits.
        workers: how many, and where; ``None`` is a local Ray with as many as there is room for.
        device: "cpu", "cuda" or ``None``; which GPU, Ray decides.
        precision: of the model, as for :func:`pairedit_sdk.load_model`.
        on_outcome: called after every edit, in the order of their ends.
        choices: ``force`` and ``skip_check``, as for ``train_many``.

    Returns:
        What became of each, in the order of the entries.

    Raises:
        UsageError: Ray is not installed or does not answer, there is no room for the workers, or
            two entries have one name.
        BaseModelError: no worker could load the model.
        TrainingError: no worker is left.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the steps under way and their checkpoints.
    """
    workers = workers or RayWorkers()
    entries = [replace(entry, pairs=Path(entry.pairs).resolve()) for entry in entries]
    require_different(entries)
    require_kind(device)
    library = Path(library).resolve()
    folder = Path(os.path.expanduser(base))
    base = str(folder.resolve()) if os.path.isdir(folder) else base
    offload = any(entry.config.offload for entry in entries)
    loading = {"device": device, "precision": precision, "offload": offload}
    with connected(workers.address) as ray:
        count, needs = room_for(ray, workers, device, len(entries))
        kind = ray.remote(max_restarts=-1, max_task_retries=-1, **needs)(_Worker)
        crew = [kind.remote(base, loading, {"library": library, **choices}) for _ in range(count)]
        try:
            with terminable():  # Ray has its own answer to SIGTERM, which ends at once
                outcomes = _hand_out(ray, crew, entries, library, on_outcome)
        except BaseException:
            # Those that are done end by themselves when nobody holds them any more.
            for worker in crew:
                ray.kill(worker)
            raise
    return [outcomes[entry.name] for entry in entries]


class _Worker:
    """An actor: one loaded model, one edit at a time."""

    def __init__(self, base: str, loading: dict[str, Any], options: dict[str, Any]) -> None:
        wait_politely(os.environ)  # nothing has imported torch yet
        self._base: Any = None
        self._asked, self._loading = base, loading
        self._options = options

    def ready(self) -> None:
        """Load the model. An error in an actor's constructor would end it unexplained."""
        from pairedit_sdk.models.loading import load_model

        if self._base is None:
            self._base = load_model(self._asked, **self._loading)

    def make(self, entry: ManifestEntry, again: bool) -> EditOutcome | None:
        """Train one edit; nothing where that was stopped."""
        import ray

        context = ray.get_runtime_context()
        self.ready()  # it may have been started again since it was asked

        def stop_if_told(entry: ManifestEntry, info: StepInfo) -> None:
            if context.is_canceled():
                # As Ctrl-C does it, a checkpoint and then the end; but Ray blocks the real signal.
                _thread.interrupt_main()

        try:
            return train_entry(
                self._base,
                entry,
                on_step=stop_if_told,
                wait=LOCK_SECONDS if again else 0,
                **self._options,
            )
        except KeyboardInterrupt:
            return None


def _hand_out(
    ray: Any,
    crew: Sequence[Any],
    entries: Sequence[ManifestEntry],
    library: Path,
    on_outcome: Callable[[EditOutcome], None] | None,
) -> dict[str, EditOutcome]:
    """Give every worker an edit whenever it has none, until each edit has its outcome."""
    outcomes: dict[str, EditOutcome] = {}
    waiting, lost = deque(entries), Counter[str]()
    resting: list[Any] = []
    # The calls under way; one without an edit asks whether the worker is there and has its model.
    calls: dict[Any, tuple[Any, ManifestEntry | None]]
    calls = {worker.ready.remote(): (worker, None) for worker in crew}
    try:
        while len(outcomes) < len(entries):
            while waiting and resting:
                worker, entry = resting.pop(), waiting.popleft()
                method = worker.make.options(max_task_retries=0)
                calls[method.remote(entry, lost[entry.name] > 0)] = (worker, entry)
            (ended, *_), _ = ray.wait(list(calls), num_returns=1)
            worker, given = calls.pop(ended)
            try:
                outcome = ray.get(ended)
            except ray.exceptions.RayError as error:
                if given is None:
                    if not (calls or resting):
                        raise _without_workers(error) from error
                    continue
                calls[worker.ready.remote()] = (worker, None)
                lost[given.name] += 1
                if lost[given.name] < TRIES:
                    waiting.appendleft(given)
                    continue
                outcome = EditOutcome(given.name, "failed", reason=_given_up(error))
            else:
                resting.append(worker)
            if given is not None:
                outcomes[given.name] = outcome
                write_down(outcome, library)
                if on_outcome is not None:
                    on_outcome(outcome)
    except KeyboardInterrupt:
        _stop(ray, calls)
        raise
    return outcomes


def _without_workers(error: Exception) -> PairEditError:
    """Why the last worker could not begin."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, PairEditError):
        return cause
    said = " ".join(str(cause or error).split())[:500]
    return TrainingError(
        f"No Ray worker could begin ({said})",
        next_step="Check that every machine of the cluster has pairedit-sdk, in the same version",
    )


def _given_up(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    failure = TrainingError(
        f"Its worker was lost {TRIES} times ({said})",
        next_step="See Ray's logs; often the memory ran out",
    )
    return str(failure)


def _stop(ray: Any, calls: dict[Any, tuple[Any, ManifestEntry | None]]) -> None:
    """Let the edits under way be stopped between steps, and wait until they are."""
    busy = {call: worker for call, (worker, entry) in calls.items() if entry is not None}
    for call in busy:
        ray.cancel(call)
    # A worker does one thing after the other, so when it answers it has stopped.
    answers = [worker.ready.remote() for worker in busy.values()]
    if answers:
        ray.wait(answers, num_returns=len(answers), timeout=STOP_SECONDS)
