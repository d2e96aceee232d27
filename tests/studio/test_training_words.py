from __future__ import annotations

import pytest

from pairedit_sdk.studio.training_status import TrainingStatus
from pairedit_sdk.studio.training_words import headline


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (TrainingStatus("hat", "starting", 0, 40), "hat is starting: its model is loaded first."),
        (TrainingStatus("hat", "running", 0, 40), "hat is learning: step 0 of 40."),
        (
            TrainingStatus("hat", "running", 12, 40, seconds_left=20.4),
            "hat is learning: step 12 of 40, 20 s left.",
        ),
        (
            TrainingStatus("hat", "running", 39, 40, seconds_left=0.6),
            "hat is learning: step 39 of 40, about to end.",
        ),
        (
            TrainingStatus("hat", "running", 40, 40, seconds_left=0.0),
            "hat is learning: step 40 of 40, the edit is being finished.",
        ),
        (
            TrainingStatus("hat", "done", 40, 40),
            "hat is done: 40 steps. The edit is in the library.",
        ),
        (TrainingStatus("hat", "stopped", 12, 40), "hat was stopped at step 12 of 40."),
        (
            TrainingStatus("hat", "stopped", 12, 40, resumable=True),
            "hat was stopped at step 12 of 40. Resume goes on from its last checkpoint.",
        ),
        (TrainingStatus("hat", "failed", 0, 0), "hat has failed at step 0."),
    ],
)
def test_headlines(status: TrainingStatus, said: str) -> None:
    assert headline(status) == said
