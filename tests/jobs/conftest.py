"""Folders of drawn pairs, and short settings for a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pairedit_sdk.jobs.manifest import ManifestEntry
    from pairedit_sdk.pairs.pair_set import PairSet

#: Of a training that takes a moment.
SHORT = {
    "steps": 4, "rank": 4, "checkpoint_every": 2, "sigma_count": 8, "edit_steps": 2,
    "resolution": 64,
}  # fmt: skip


@pytest.fixture
def folder_of_pairs(
    face_pairs: Callable[..., PairSet], tmp_path: Path
) -> Callable[[str, dict[str, str]], Path]:
    """``folder_of_pairs("hats", {"hat": "beanie"})`` draws pairs into a folder of that name."""

    def draw(name: str, changes: dict[str, str]) -> Path:
        folder = tmp_path / "pairs" / name
        for pair in face_pairs(changes, 2, size=64):
            for side, picture in (("source", pair.before), ("target", pair.after)):
                (folder / side).mkdir(parents=True, exist_ok=True)
                picture.save(folder / side / f"{pair.name}.png")
        return folder

    return draw


@pytest.fixture
def entry(folder_of_pairs: Callable[[str, dict[str, str]], Path]) -> Callable[..., ManifestEntry]:
    """``entry("hat", steps=5)``: an edit to train, of pairs that show what its name says."""
    from pairedit_sdk.jobs.manifest import ManifestEntry
    from pairedit_sdk.training.config import TrainConfig

    changes = {
        "hat": {"hat": "beanie"},
        "glasses": {"glasses": "round"},
        "beard": {"beard": "full"},
    }

    def make(name: str, licence: str | None = None, **settings: Any) -> ManifestEntry:
        pairs = folder_of_pairs(name, changes[name])
        return ManifestEntry(name, pairs, TrainConfig(**{**SHORT, **settings}), licence)

    return make
