"""Showing a training in TensorBoard, Weights & Biases and their like, through accelerate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

#: The trackers that accelerate knows, and the packages of which any one makes each of them work.
TRACKERS: dict[str, tuple[str, ...]] = {
    "aim": ("aim",),
    "clearml": ("clearml",),
    "comet_ml": ("comet_ml",),
    "dvclive": ("dvclive",),
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
#: Those that write files, and so need a run's folder.
WITH_FOLDER = ("aim", "tensorboard")


def require_tracker(name: str | None, *, folder: bool = True) -> None:
    """Refuse a tracker that could not be used; nothing is imported.

    Args:
        name: one of :data:`TRACKERS`, or ``None`` for no tracker.
        folder: whether the run has a folder.

    Raises:
        UsageError: it is unknown, its package is not installed, or it needs a folder.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise UsageError(
            f"There is no tracker {name!r}",
            expected=f"one of {', '.join(TRACKERS)}",
            next_step="Leave it out to have metrics.jsonl alone",
        )
    if not any(find_spec(package) for package in TRACKERS[name]):
        package = TRACKERS[name][0]
        raise UsageError(
            f"The tracker {name} needs the package {package}, which is not installed",
            next_step=f"Install it with `pip install {package}`, or leave the tracker out: "
            "metrics.jsonl is written in any case",
        )
    if name in WITH_FOLDER and not folder:
        raise UsageError(
            f"The tracker {name} writes into the folder of the run, and this run has none",
            next_step="Give run_dir, or leave the tracker out",
        )


@contextmanager
def tracking(
    accelerator: Accelerator, name: str | None, settings: Mapping[str, Any]
) -> Iterator[None]:
    """Within the block ``accelerator.log`` goes to the tracker; it is closed at the end.

    Args:
        accelerator: made with that tracker.
        name: of the tracker; ``None`` does nothing.
        settings: of the training, shown with the run.
    """
    if name is None:
        yield
        return
    # Words, because not every tracker takes None as a value.
    accelerator.init_trackers("pairedit", config={k: str(v) for k, v in settings.items()})
    try:
        yield
    finally:
        accelerator.end_training()
