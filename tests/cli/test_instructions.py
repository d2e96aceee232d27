"""Instructions on the command line: with and without edits, and what edits carry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.images.metadata import read_made
from pairedit_sdk.images.photo import Photo

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]
SaveEdit = Callable[..., Path]


@pytest.fixture
def told(library: Path, save_edit: SaveEdit) -> Path:
    """A library with an edit that carries words, one that they describe, and one without."""
    known = {"base": "mini-kontext"}
    save_edit(library / "round.safetensors", words=[EditWords("add round glasses", 0.5)], **known)
    save_edit(library / "smile.safetensors", words=[EditWords("add a smile", 0.0)], **known)
    save_edit(library / "plain.safetensors", **known)
    return library


def test_an_instruction_needs_no_edit(pairedit: Pairedit, rooms: Rooms, picture: Path) -> None:
    given = ("--instruction", "add a hat", "--instruction", "smile=1.2", "-o", "x.png")
    result = pairedit("edit", picture, *given)
    assert (result.exit_code, result.stdout) == (
        0,
        "Words: add a hat @ 1; smile @ 1.2.\nWrote x.png.\n",
    )
    (call,) = rooms.of("edit_image")
    assert call["edits"].words == {"add a hat": 1.0, "smile": 1.2}
    (model,) = rooms.of("load_model")
    assert model["name_or_path"] == "mini-kontext"
    assert pairedit("edit", picture, *given, "--base", "folder").exit_code == 0
    assert rooms.of("load_model")[1]["name_or_path"] == "folder"
    assert pairedit("edit", picture, *given, "-q").output == ""


def test_a_picture_on_standard_output_is_alone_there(
    pairedit: Pairedit, rooms: Rooms, picture: Path
) -> None:
    result = pairedit("edit", picture, "--instruction", "add a hat", "-o", "-")
    assert result.exit_code == 0
    assert result.stdout_bytes.startswith(b"\x89PNG")


def test_it_goes_together_with_edits(
    pairedit: Pairedit, rooms: Rooms, picture: Path, told: Path
) -> None:
    given = ("--edit", "round=0.4", "--instruction", "add round glasses=0.3", "-o", "x.png")
    said = json.loads(pairedit("edit", picture, *given, "--json").stdout)
    assert said["words"] == [{"phrase": "add round glasses", "scale": 0.5}]
    assert [edit["scale"] for edit in said["edits"]] == [0.4]
    (call,) = rooms.of("edit_image")
    assert rooms.named(call["edits"]) == [("round", 0.4), ("add round glasses", 0.3)]


def test_instructions_can_be_guided(
    pairedit: Pairedit, rooms: Rooms, picture: Path, told: Path
) -> None:
    given = ("--instruction", "add a hat", "-o", "x.png")
    for command in ("edit", "sweep"):
        assert pairedit(command, picture, *given, "--cfg", "4").exit_code == 0
    assert pairedit("edit", picture, *given).exit_code == 0
    assert pairedit("edit", picture, "--edit", "round", "--cfg", "2", "-o", "x.png").exit_code == 0
    assert [c["options"].cfg for c in rooms.of("edit_image")] == [*[4.0] * 6, 1.0, 2.0]


def test_guidance_without_words_is_refused_before_a_model_is_loaded(
    pairedit: Pairedit, rooms: Rooms, picture: Path, told: Path
) -> None:
    for given in (("--edit", "smile"), ("--edit", "round", "--no-words")):
        result = pairedit("edit", picture, *given, "--cfg", "4", "-o", "x.png")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "cfg 4 would change nothing: these edits act without words" in result.stderr
    assert pairedit("sweep", picture, "--edit", "smile", "--cfg", "4", "-o", "x.png").exit_code == 2
    assert rooms.calls == []


def test_words_can_be_left_out(pairedit: Pairedit, rooms: Rooms, picture: Path, told: Path) -> None:
    given = ("--edit", "round", "-o", "x.png")
    assert "Words: add round glasses @ 0.5." in pairedit("edit", picture, *given).stdout
    without = pairedit("edit", picture, *given, "--no-words")
    assert without.stdout == "Wrote x.png.\n"
    assert [c["options"].words for c in rooms.of("edit_image")] == [True, False]
    described = pairedit("edit", picture, "--edit", "smile", "-o", "x.png", "--json")
    assert json.loads(described.stdout)["words"] == []


def test_what_was_made_with_other_words_is_told(
    pairedit: Pairedit, rooms: Rooms, tmp_path: Path, told: Path
) -> None:
    Path("new").mkdir()
    Path("shots").mkdir()
    made = {
        "edits": [{"name": "round", "scale": 1.0}],
        "words": [{"phrase": "add round glasses", "scale": 0.5}],
    }
    for name in ("1.png", "2.png"):
        Image.new("RGB", (8, 8)).save(Path("shots", name))
        Photo.read(Path("shots", name)).save(Path("new", name))
    grey = Photo.read(Path("shots", "1.png"))
    Photo(grey.pixels, made=made).save("new/1.png", metadata=True)
    assert read_made("new/1.png") == made
    given = ("edit", "shots", "--edit", "round", "-o", "new")
    assert "other edits" not in pairedit(*given).stdout
    said = pairedit(*given, "--no-words").stdout
    assert "new/1.png is there already, made with other edits or scales" in said


def test_sweep_takes_instructions(
    pairedit: Pairedit, rooms: Rooms, picture: Path, told: Path
) -> None:
    given = ("--instruction", "add a hat=2", "--scales", "0,1", "-o", "strip.png")
    said = json.loads(pairedit("sweep", picture, *given, "--json").stdout)
    assert (said["edit"], said["words"]) == (None, [{"phrase": "add a hat", "scale": 2.0}])
    assert [c["edits"].words for c in rooms.of("edit_image")] == [{}, {"add a hat": 2.0}]
    both = pairedit("sweep", picture, "--edit", "plain", *given)
    assert both.stdout == "Words: add a hat @ 2.\nWrote strip.png.\n"


def test_compose_keeps_instructions_or_none(pairedit: Pairedit, told: Path) -> None:
    both = ("--edit", "round", "--edit", "plain=0.5")
    assert pairedit("compose", *both, "--name", "two").exit_code == 0
    assert Edit.read_info(told / "two.safetensors").words == [EditWords("add round glasses", 0.5)]
    assert pairedit("compose", *both, "--no-words", "--name", "three").exit_code == 0
    assert Edit.read_info(told / "three.safetensors").words == []


def test_edits_are_listed_by_their_words(pairedit: Pairedit, told: Path) -> None:
    rows = [" ".join(line.split()) for line in pairedit("edits", "list").stdout.splitlines()]
    assert rows == [
        "Name Model Rank Steps Words Pairs",
        "plain mini-kontext 16 4 1, 2",
        "round mini-kontext 16 4 add round glasses 1, 2",
        "smile mini-kontext 16 4 add a smile 1, 2",
    ]
    found = json.loads(pairedit("edits", "list", "--words", "GLASSES", "--json").stdout)["edits"]
    assert [words["phrase"] for row in found for words in row["words"]] == ["add round glasses"]
    none = pairedit("edits", "list", "--words", "hat")
    assert none.stdout == f"No edit in {told} has words with 'hat'.\n"
    shown = pairedit("edits", "show", "round")
    assert '"add round glasses", acts at scale 0.5' in shown.stdout
