from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


@pytest.fixture
def useless(tmp_path: Path) -> Path:
    """A pair whose pictures have nothing to do with each other."""
    from pairedit_sdk.builtin.faces.numbered import face_at

    folder = tmp_path / "useless"
    for index, side in enumerate(("source", "target")):
        (folder / side).mkdir(parents=True)
        face_at(index).draw(128).save(folder / side / "a.png")
    return folder


def test_trains_and_saves(pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path) -> None:
    result = pairedit(
        "train", pairs, "--name", "glasses", "--set", "steps=20", "--set", "loss.eta=3"
    )
    assert result.exit_code == 0
    assert Edit.load(library / "glasses.safetensors").name == "glasses"
    assert "pairedit sweep PICTURE --edit glasses" in result.stdout
    (call,) = rooms.of("train")
    assert call["model"].name == "mini-kontext"
    assert (call["config"].steps, call["config"].eta, call["config"].base) == (
        20,
        3,
        "mini-kontext",
    )
    assert call["run_dir"] == library / "runs" / "glasses"
    assert (len(call["pairs"]), call["resume"]) == (2, False)


def test_progress_is_on_standard_error_with_both_losses(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path
) -> None:
    result = pairedit("train", pairs, "--name", "glasses", "--set", "steps=20")
    lines = [line for line in result.stderr.splitlines() if line.startswith("training glasses:")]
    assert len(lines) == 10
    assert lines[0].startswith("training glasses: 2 of 20")
    assert lines[-1].endswith("content 0.5000  semantic 0.2500")


def test_json(pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path) -> None:
    result = pairedit("train", pairs, "--name", "glasses", "--set", "steps=3", "--json")
    said = json.loads(result.stdout)
    assert said["train_seconds"] >= 0
    assert said["semantic_loss"] == pytest.approx(0.25)
    assert (said["name"], said["steps"], said["pairs"]) == ("glasses", 3, ["0", "1"])
    assert said["path"] == str(library / "glasses.safetensors")


def test_quiet(pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path) -> None:
    result = pairedit("train", pairs, "--name", "glasses", "--set", "steps=3", "-q")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("option", "variable", "recipe", "base", "steps"),
    [
        (None, None, None, "mini-kontext", "mini-kontext"),
        ("mini", None, None, "mini", "mini"),
        (None, None, "mini", "mini", "mini"),
        ("x/kontext", None, None, "x/kontext", "kontext-dev"),
        ("x/y", None, None, "x/y", "flux-dev"),
        (None, "x/z", None, "x/z", "flux-dev"),
        ("x/y", "x/z", None, "x/y", "flux-dev"),
        (None, None, "own.yaml", "from/recipe", "own.yaml"),
        (None, "x/z", "own.yaml", "x/z", "own.yaml"),
        ("mini", "x/z", "own.yaml", "mini", "own.yaml"),
        (None, None, "plain.yaml", "mini", "plain.yaml"),
    ],
)
def test_base_and_recipe(
    monkeypatch: pytest.MonkeyPatch, pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path,
    tmp_path: Path, option: str | None, variable: str | None, recipe: str | None, base: str,
    steps: str,
) -> None:  # fmt: skip
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    known = {"mini": 3, "flux-dev": 4, "own.yaml": 5, "plain.yaml": 6}
    known |= {"mini-kontext": 7, "kontext-dev": 8}
    (recipes / "mini.yaml").write_text("steps: 3\nbase: mini")
    (recipes / "mini-kontext.yaml").write_text("steps: 7\nbase: mini-kontext")
    (recipes / "kontext-dev.yaml").write_text("steps: 8\nbase: black-forest-labs/FLUX.1-Kontext")
    (recipes / "flux-dev.yaml").write_text("steps: 4\nbase: black-forest-labs/FLUX.1-dev")
    (tmp_path / "own.yaml").write_text("steps: 5\nbase: from/recipe")
    (tmp_path / "plain.yaml").write_text("steps: 6")
    monkeypatch.setattr("pairedit_sdk.training.config.recipes_dir", lambda: recipes)
    if variable:
        monkeypatch.setenv("PAIREDIT_BASE", variable)
    words = ["--base", option] if option else []
    words += ["--recipe", recipe] if recipe else []
    result = pairedit("train", pairs, "--name", "glasses", *words)
    assert result.exit_code == 0, result.stderr
    assert rooms.of("load_model")[0]["name_or_path"] == base
    assert rooms.of("train")[0]["config"].steps == known[steps]
    assert rooms.of("train")[0]["config"].base == base


def test_precision_is_a_setting_of_the_run(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path
) -> None:
    words = ("--set", "steps=1", "--precision", "bf16", "--device", "cpu")
    assert pairedit("train", pairs, "--name", "glasses", *words).exit_code == 0
    loaded = rooms.of("load_model")[0]
    assert (loaded["precision"], loaded["device"]) == ("bf16", "cpu")
    assert rooms.of("train")[0]["config"].precision == "bf16"


@pytest.mark.parametrize("word", ["--force", "--yes"])
def test_force_replaces(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, saved: Path, word: str
) -> None:
    (saved / "smile.safetensors").write_text("old")
    checkpoint = saved / "runs" / "smile" / "checkpoints" / "step-000001.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    result = pairedit("train", pairs, "--name", "smile", "--set", "steps=1", word)
    assert result.exit_code == 0
    assert Edit.load(saved / "smile.safetensors").name == "smile"
    assert not checkpoint.exists()  # training would refuse a folder that holds a run


def test_useless_pairs_are_trained_on_only_when_told_to(
    pairedit: Pairedit, rooms: Rooms, useless: Path, library: Path
) -> None:
    words = ("train", useless, "--name", "x", "--set", "steps=1")
    result = pairedit(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: Training on {useless} would be a waste (a: ")
    assert result.stderr.endswith("or train all the same with --skip-check.\n")
    assert rooms.calls == []
    assert pairedit(*words, "--skip-check").exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on_and_saves_nothing(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path, number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # A shell's background jobs ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    handled = signal.getsignal(signal.SIGTERM)
    rooms.on_train = lambda: signal.raise_signal(number)
    words = ("train", pairs, "--name", "glasses", "--set", "steps=2")
    result = pairedit(*words)
    signal.signal(signal.SIGINT, before)
    assert result.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert signal.getsignal(signal.SIGTERM) is handled
    run_dir = library / "runs" / "glasses"
    assert result.stderr.splitlines()[-1] == (
        "Error: Training glasses was stopped before its first checkpoint. Go on with "
        f"`pairedit train {pairs} --name glasses --library {library} --set steps=2 --resume`."
    )
    assert not (library / "glasses.safetensors").exists()

    rooms.on_train = lambda: None
    checkpoint = run_dir / "checkpoints" / "step-000001.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert pairedit(*words, "--resume").exit_code == 0
    assert rooms.of("train")[-1]["resume"] is True
    assert checkpoint.exists()


def test_a_picture_of_another_size_is_no_obstacle(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path
) -> None:
    for side in ("source", "target"):
        path = pairs / side / "0.png"
        with Image.open(path) as image:
            image.resize((192, 192)).save(path)
    assert pairedit("train", pairs, "--name", "glasses", "--set", "steps=1").exit_code == 0


def test_track_is_the_setting_of_that_name(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairedit_sdk.training import trackers

    words = ("train", pairs, "--name", "glasses", "--set", "steps=2", "--force")
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", ("json",))  # installed everywhere
    assert pairedit(*words, "--track", "tensorboard").exit_code == 0
    assert pairedit(*words, "--set", "track=tensorboard").exit_code == 0
    assert [call["config"].track for call in rooms.of("train")] == ["tensorboard", "tensorboard"]


def test_a_tracker_is_checked_before_anything_is_loaded(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairedit_sdk.training import trackers

    monkeypatch.setitem(trackers.TRACKERS, "swanlab", ("no_such_package",))
    for words in (
        ("train", pairs, "--name", "glasses"), ("basis", "train", pairs, "--name", "glasses"),
    ):  # fmt: skip
        result = pairedit(*words, "--track", "swanlab")
        assert result.exit_code == 2
        assert "Install it with `pip install no_such_package`" in result.stderr
        result = pairedit(*words, "--track", "swanlap")
        assert result.exit_code == 2
        assert "track is 'swanlap', expected one of aim, clearml" in result.stderr
    assert rooms.calls == []
    assert list(library.iterdir()) == []


def test_a_pair_of_two_sizes_is_trained_on_and_it_is_said(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path
) -> None:
    path = pairs / "target" / "0.png"
    with Image.open(path) as image:
        image.resize((256, 256)).save(path)
    result = pairedit("train", pairs, "--name", "glasses", "--set", "steps=1")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == (
        "0: The after picture is 256 x 256, and is brought to the size of the before picture, "
        "128 x 128."
    )
