"""The demo's story, told with the stand-ins of conftest.py; the real one is `make demo`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from typer.testing import Result

from pairedit_sdk.builtin.faces.face import visible
from pairedit_sdk.cli import demo_run
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.training.config import load_recipe

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped pairs, and a short demo."""
    for name, value in {"FACES": 1, "SCALES": (0.5, 1.0), "PROMPTS": ("a person",)}.items():
        monkeypatch.setattr(demo_run, name, value)
    folder = tmp_path / "examples"
    for name in ("glasses", "hat"):
        shutil.copytree(examples_dir() / "pairs" / name, folder / "pairs" / name)
    monkeypatch.setattr(demo_run, "examples_dir", lambda: folder)
    return folder


def test_writes_the_edits_and_four_collages(
    pairedit: Pairedit, rooms: Rooms, shipped: Path, tmp_path: Path
) -> None:
    result = pairedit("demo", "--steps", "20")
    assert result.exit_code == 0, result.stderr
    out = tmp_path / "out" / "demo"
    pictures = {path.name: _size(path) for path in out.glob("*.png")}
    assert pictures.keys() == {"strengths.png", "sum.png", "generated.png", "analogy.png"}
    columns = {"strengths.png": len(demo_run.SCALES) + 2, "sum.png": 5, "generated.png": 1}
    columns["analogy.png"] = 5
    for name, (width, _) in pictures.items():
        side = 128 if name == "generated.png" else demo_run.SIZE  # generated at the model's size
        assert columns[name] * side < width < (columns[name] + 2) * side
    assert {path.stem for path in out.glob("*.safetensors")} == {"glasses", "hat"}
    assert len(list((out / "faces").iterdir())) == demo_run.FACES
    assert len(list((out / "pairs" / "glasses" / "source").iterdir())) == 3
    assert "take FLUX" in result.stdout
    assert "training glasses: 20 of 20" in result.stderr
    assert "training hat: 20 of 20" in result.stderr


def test_uses_the_learned_edit_at_every_strength_and_then_both(
    pairedit: Pairedit, rooms: Rooms, shipped: Path
) -> None:
    pairedit("demo", "--steps", "2", "-q")
    trainings = rooms.of("train")
    assert [training["name"] for training in trainings] == ["glasses", "hat"]
    for training in trainings:
        assert (len(training["pairs"]), training["config"].steps) == (3, 2)
        assert training["config"].with_values(steps=150) == load_recipe("mini-kontext")
    used = [rooms.named(call["edits"]) for call in rooms.of("edit_image")]
    row: list[object] = [[("glasses", scale)] for scale in demo_run.SCALES]
    first, second = zip(("glasses", "hat"), demo_run.SUM_SCALES, strict=True)
    used_alone = row * demo_run.FACES + [[first], [second], [first, second]] * demo_run.FACES
    assert used == [*used_alone, [("add a hat", 1.2)]]  # what the stand-in finds for the analogy
    (asked,) = rooms.of("answer_analogy")
    assert asked["route"] is None
    a, a_prime, _ = asked["pictures"]
    corners = [picture.getpixel((2, 2)) for picture in (a, a_prime)]
    assert (corners[0] != corners[1], corners[1][0] > corners[1][1]) == (True, True)
    generated = [call["edits"] for call in rooms.of("generate")]
    assert [stack is None for stack in generated] == [True] * len(demo_run.PROMPTS) + [False] * len(
        demo_run.PROMPTS
    )


def test_the_command_it_proposes_works(
    pairedit: Pairedit, rooms: Rooms, shipped: Path, tmp_path: Path
) -> None:
    said = pairedit("demo", "--steps", "2").stdout
    (line,) = [line for line in said.splitlines() if line.strip().startswith("pairedit edit out/")]
    assert pairedit(*line.split()[1:]).exit_code == 0
    assert (tmp_path / "out.png").is_file()
    (line,) = [line for line in said.splitlines() if line.strip().startswith("pairedit analogy ")]
    assert pairedit(*line.split()[1:]).exit_code == 0
    assert (tmp_path / "shown.png").is_file()


def test_json_and_quiet(pairedit: Pairedit, rooms: Rooms, shipped: Path) -> None:
    said = json.loads(pairedit("demo", "--steps", "2", "--json").stdout)
    assert [Path(path).name for path in said["pictures"]] == [
        "strengths.png", "sum.png", "generated.png", "analogy.png",
    ]  # fmt: skip
    assert 0 <= said["train_seconds"] <= said["seconds"]
    again = pairedit("demo", "--steps", "2", "-q")
    assert (again.exit_code, again.output) == (0, "")


def test_faces_are_such_that_both_edits_can_be_seen() -> None:
    faces = demo_run.demo_faces(demo_run.FACES)
    assert len({face.skin for face in faces}) == demo_run.FACES
    for face in faces:
        truth = demo_run._truth(demo_run._truth(face, "glasses"), "hat")
        assert (truth.glasses, truth.hat, truth.hat_color) == ("round", "beanie", "red")
        assert (face.glasses, face.hat) == ("none", "none")
        assert visible(truth, "glasses")
        assert visible(truth, "hat")
