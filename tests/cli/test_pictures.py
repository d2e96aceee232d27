from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from typer.testing import Result

from pairedit_sdk import EditOptions

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


def test_edit_applies_the_sum(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, tmp_path: Path
) -> None:
    words = ("--edit", "glasses=0.8", "--edit", "smile", "--seed", "3", "-o", "out.png")
    result = pairedit("edit", picture, *words)
    assert (result.exit_code, result.stdout) == (0, "Wrote out.png.\n")
    (call,) = rooms.of("edit_image")
    assert rooms.named(call["edits"]) == [("glasses", 0.8), ("smile", 1.0)]
    assert call["options"] == EditOptions(seed=3)
    with Image.open(tmp_path / "out.png") as image:
        assert image.getpixel((0, 0)) == (55, 135, 215)


@pytest.mark.parametrize("mode", ["merged", "guided", "sequential"])
def test_the_mode_is_passed_on(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, mode: str
) -> None:
    given = ("--edit", "glasses", "--edit", "smile", "--mode", mode, "-o", "x.png")
    said = json.loads(pairedit("edit", picture, *given, "--json").stdout)
    assert said["mode"] == rooms.of("edit_image")[0]["options"].mode == mode
    assert pairedit("generate", "--prompt", "", *given).exit_code == 0
    assert rooms.of("generate")[0]["mode"] == mode


@pytest.mark.parametrize(
    ("words", "n_max"), [((), None), (("--n-max", "3"), 3), (("--n-max", "14"), 14)]
)
def test_n_max_is_the_librarys_unless_given(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, words: tuple[str, ...], n_max: int
) -> None:
    given = ("--edit", "glasses", "--steps", "14", "-o", "x.png", *words)
    assert pairedit("edit", picture, *given).exit_code == 0
    assert rooms.of("edit_image")[0]["options"].n_max == n_max


def test_edit_json_is_all_there_is_on_standard_output(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path
) -> None:
    result = pairedit("edit", picture, "--edit", "glasses=-0.5", "-o", "x.png", "--json")
    said = json.loads(result.stdout)
    path = str(saved / "glasses.safetensors")
    assert said["edits"] == [{"path": path, "scale": -0.5}]
    assert said["path"] == "x.png"


def test_edit_quiet(pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path) -> None:
    result = pairedit("edit", picture, "--edit", "glasses", "-o", "x.png", "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_a_path_is_accepted_for_an_edit(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path
) -> None:
    path = saved / "smile.safetensors"
    assert pairedit("edit", picture, "--edit", f"{path}=0.5", "-o", "x.png").exit_code == 0
    assert rooms.named(rooms.of("edit_image")[0]["edits"]) == [("smile", 0.5)]


@pytest.mark.parametrize(
    ("out", "written", "kind"),
    [("a.jpg", "a.jpg", "JPEG"), ("a.webp", "a.webp", "WEBP"), ("new/a", "new/a.png", "PNG")],
)
def test_the_extension_says_the_format(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, tmp_path: Path, out: str,
    written: str, kind: str,
) -> None:  # fmt: skip
    result = pairedit("edit", picture, "--edit", "glasses", "-o", out)
    assert result.stdout == f"Wrote {written}.\n"
    with Image.open(tmp_path / written) as image:
        assert image.format == kind
    assert list(tmp_path.rglob("*.part")) == []


def test_the_base_is_the_option_then_the_variable_then_mini(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("edit", picture, "--edit", "glasses", "-o", "x.png")
    pairedit(*words)
    monkeypatch.setenv("PAIREDIT_BASE", "from/env")
    pairedit(*words)
    pairedit(*words, "--base", "from/option", "--precision", "nf4")
    loaded = [(call["name_or_path"], call["precision"]) for call in rooms.of("load_model")]
    assert loaded == [("mini", "auto"), ("from/env", "auto"), ("from/option", "nf4")]


def test_generate(pairedit: Pairedit, rooms: Rooms, saved: Path, tmp_path: Path) -> None:
    words = ("--edit", "smile=0.5", "--size", "64x32", "--steps", "10", "-o", "x.png")
    result = pairedit("generate", "--prompt", "a person", *words)
    assert result.exit_code == 0
    (call,) = rooms.of("generate")
    assert rooms.named(call["edits"]) == [("smile", 0.5)]
    assert (call["prompt"], call["start_step"], call["guidance"]) == ("a person", None, None)
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (64, 32)


def test_generate_with_classifier_free_guidance(
    pairedit: Pairedit, rooms: Rooms, library: Path
) -> None:
    given = ("--cfg", "4", "--negative-prompt", "a hat", "-o", "x.png")
    assert pairedit("generate", "--prompt", "a person", *given).exit_code == 0
    assert pairedit("generate", "--prompt", "a person", "-o", "x.png").exit_code == 0
    assert [(c["cfg"], c["negative_prompt"]) for c in rooms.of("generate")] == [
        (4.0, "a hat"), (1.0, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--negative-prompt", "a hat"), "A negative prompt acts with classifier-free guidance"),
        (("--cfg", "4", "--negative-prompt", "a person"), "cfg 4 would change nothing"),
        (("--cfg", "0.5"), "Invalid value for '--cfg'"),
        (("--cfg", "inf"), "cfg is inf. Expected a number of at least 1"),
    ],
)
def test_guidance_that_is_no_use_is_refused_before_a_model_is_loaded(
    pairedit: Pairedit, rooms: Rooms, library: Path, given: tuple[str, ...], said: str
) -> None:
    result = pairedit("generate", "--prompt", "a person", *given, "-o", "x.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert rooms.calls == []


def test_generate_without_an_edit(pairedit: Pairedit, rooms: Rooms, library: Path) -> None:
    result = pairedit("generate", "--prompt", "a person", "--start-step", "7", "-o", "x.png")
    assert result.exit_code == 0
    (call,) = rooms.of("generate")
    assert (call["edits"], call["start_step"]) == (None, 7)
    assert (call["width"], call["height"]) == (None, None)


def test_sweep_writes_a_strip_of_the_input_and_every_scale(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, tmp_path: Path
) -> None:
    words = ("--edit", "glasses", "--scales", "0,.5,-1", "-o", "s.png", "--json")
    result = pairedit("sweep", picture, *words)
    assert json.loads(result.stdout)["scales"] == [0, 0.5, -1]
    used = [rooms.named(call["edits"]) for call in rooms.of("edit_image")]
    assert used == [[("glasses", 0)], [("glasses", 0.5)], [("glasses", -1)]]
    with Image.open(tmp_path / "s.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
        assert image.width > 4 * 96
    assert {(200, 120, 40), (55, 135, 215), (255, 255, 255)} <= colours


@pytest.mark.parametrize("command", ["edit", "sweep", "generate"])
def test_base_and_precision_are_those_of_the_edit_unless_given(
    pairedit: Pairedit,
    rooms: Rooms,
    picture: Path,
    saved: Path,
    save_edit: Callable[..., Path],
    command: str,
) -> None:
    save_edit(saved / "far.safetensors", base="far/away", precision="nf4")
    subject = ("--prompt", "a") if command == "generate" else (picture,)
    words = (command, *subject, "--edit", "far", "-o", "x.png")
    assert pairedit(*words).exit_code == 0
    assert pairedit(*words, "--base", "near", "--precision", "bf16").exit_code == 0
    loaded = [(call["name_or_path"], call["precision"]) for call in rooms.of("load_model")]
    assert loaded == [("far/away", "nf4"), ("near", "bf16")]


@pytest.mark.parametrize(
    ("word", "given", "noted"),
    [
        ("--limit-scale", True, ""),
        ("--no-limit-scale", False, ""),
        ("--even", True, "Note: --even is now --limit-scale.\n"),
        ("--no-even", False, "Note: --no-even is now --no-limit-scale.\n"),
    ],
)
def test_the_scale_limit_and_its_former_name(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, word: str, given: bool, noted: str
) -> None:
    words = ("edit", picture, "--edit", "glasses", word, "-o", "x.png")
    result = pairedit(*words, "--json")
    assert json.loads(result.stdout)["path"] == "x.png"
    assert result.stderr.startswith(noted)
    assert ("Note:" in result.stderr) == bool(noted)
    assert rooms.of("edit_image")[0]["options"].limit_scale is given
    assert pairedit(*words, "-q").output == ""
    assert "--even" not in pairedit("edit", "--help").stdout


@pytest.mark.parametrize("option", ["--base", "--model"])
def test_the_model_has_two_options(
    pairedit: Pairedit, rooms: Rooms, picture: Path, saved: Path, option: str
) -> None:
    words = ("--edit", "glasses", option, "some/model", "-o", "x.png")
    assert pairedit("edit", picture, *words).exit_code == 0
    assert rooms.of("load_model")[0]["name_or_path"] == "some/model"
