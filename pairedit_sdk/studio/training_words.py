"""How a training is doing, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairedit_sdk.errors import counted

if TYPE_CHECKING:
    from pairedit_sdk.studio.training_status import TrainingStatus

#: States in which a training goes on by itself.
UNDER_WAY = ("starting", "running")


def headline(status: TrainingStatus) -> str:
    """One sentence or two."""
    at = f"step {status.step} of {status.steps}" if status.steps else f"step {status.step}"
    if status.state == "starting":
        return f"{status.name} is starting: its model is loaded first."
    if status.state == "running":
        return f"{status.name} is learning: {at}{_left(status)}."
    if status.state == "done":
        learned = counted(status.steps or status.step, "step")
        return f"{status.name} is done: {learned}. The edit is in the library."
    how = "has failed" if status.state == "failed" else "was stopped"
    again = " Resume goes on from its last checkpoint." if status.resumable and status.step else ""
    return f"{status.name} {how} at {at}.{again}"


def _left(status: TrainingStatus) -> str:
    if status.seconds_left is None:
        return ""
    if status.step >= status.steps:
        return ", the edit is being finished"
    from pairedit_sdk.estimates.speed import span

    left = status.seconds_left
    return f", {span(left)} left" if left >= 1 else ", about to end"
