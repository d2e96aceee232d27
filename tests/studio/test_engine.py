"""The engine: which model it is of, and what it keeps."""

from __future__ import annotations

import shutil
from pathlib import Path

from pairedit_sdk.studio.engine import Engine, LoadingOptions


def test_the_model_is_the_one_that_most_edits_were_learned_on(hats: Path, tmp_path: Path) -> None:
    assert Engine(hats).model_name == "mini"
    assert Engine(hats, LoadingOptions("mini-kontext")).model_name == "mini-kontext"
    assert Engine(tmp_path / "nothing").model_name == "mini-kontext"


def test_the_model_stays_when_the_library_changes(hats: Path) -> None:
    engine = Engine(hats)
    shutil.rmtree(hats)
    hats.mkdir()
    assert engine.model_name == "mini"


def test_an_edit_that_did_not_change_is_read_once(hats: Path) -> None:
    engine = Engine(hats)
    first = engine.edit_named("hat")
    assert engine.edit_named("hat") is first
    first.save(hats / "hat.safetensors")
    assert engine.edit_named("hat") is not first
