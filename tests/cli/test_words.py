"""Words on the command line: asked for a pair, in a training, and for an unknown analogy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from typer.testing import Result

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.metadata import EditInfo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.words.finding import WORDS_ALONE

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


@pytest.fixture
def sides(pairs: Path) -> tuple[Path, Path]:
    return pairs / "source" / "0.png", pairs / "target" / "0.png"


def test_the_words_of_a_pair(pairedit: Pairedit, rooms: Rooms, sides: tuple[Path, Path]) -> None:
    result = pairedit("words", *sides)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Phrase", "Ratio", "Explained"]
    assert lines[1].split() == ["add", "a", "hat", "0.20", "89%"]
    assert lines[-1] == "The change is 'add a hat' (ratio 0.20), next 'add a cap' (0.60)."
    (call,) = rooms.of("find_words")
    assert (len(call["pairs"]), call["vocabulary"], call["seed"]) == (1, None, 0)
    assert rooms.of("load_model")[0]["name_or_path"] == "mini-kontext"


def test_a_folder_of_pairs_and_options(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, tmp_path: Path
) -> None:
    (tmp_path / "v.txt").write_text("add a hat\nadd a cap")
    given = ("--vocabulary", tmp_path / "v.txt", "--encoder", "clip", "--seed", "3", "--count", "1")
    said = json.loads(pairedit("words", pairs, *given, "--base", "b", "--json").stdout)
    assert set(said) == {"phrases", "none", "sureness", "asked", "seed"}
    (first,) = said["phrases"]
    assert (first["phrase"], first["ratio"], said["none"]) == ("add a hat", 0.2, False)
    assert first["explained"] == pytest.approx(8 / 9)
    (call,) = rooms.of("find_words")
    assert (len(call["pairs"]), call["seed"], call["encoder"]) == (2, 3, "clip")
    assert call["vocabulary"] == tmp_path / "v.txt"
    pairedit("words", pairs, "--words", "monocle")
    assert rooms.of("find_words")[1]["vocabulary"] == "monocle;"


def test_that_none_explains_it_is_an_answer(
    pairedit: Pairedit, rooms: Rooms, sides: tuple[Path, Path]
) -> None:
    rooms.losses = {"add a hat": 0.9, "add a cap": 0.95}
    result = pairedit("words", *sides)
    assert result.exit_code == 0
    assert "None of 3 phrases explains the change; the nearest is 'add a hat'" in result.stdout
    assert json.loads(pairedit("words", *sides, "--json").stdout)["none"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--words", "a", "--vocabulary", "v.txt"), "--words and --vocabulary both say"),
        (("--vocabulary", "v.txt"), "There is no vocabulary v.txt"),
        (("--vocabulary", "absent"), "There is no vocabulary absent"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(
    pairedit: Pairedit, rooms: Rooms, sides: tuple[Path, Path], pairs: Path, words: tuple[str, ...],
    message: str,
) -> None:  # fmt: skip
    for line in (("words", *sides), ("train", pairs, "--name", "x")):
        result = pairedit(*line, *words)
        assert result.exit_code == 2
        assert message in result.stderr
    assert rooms.calls == []
    assert "is one picture" in pairedit("words", sides[0]).stderr


def test_a_training_asks_for_words(
    pairedit: Pairedit, rooms: Rooms, pairs: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("train", pairs, "--set", "steps=2", "--force", "--name", "x")
    silent = ("--base", "mini-kontext", "--recipe", "kontext-dev")
    result = pairedit(*line, "--words", "add a hat; make it: red")
    assert result.exit_code == 0, result.output
    assert "Words:       none explains the pairs" in result.stdout
    assert "Words:       none explains the pairs" in pairedit(*line).stdout  # by default
    assert "Words:" not in pairedit(*line, *silent).stdout
    assert "Words:" not in pairedit(*line, "--no-words").stdout
    pairedit(*line, *silent, "--find-words")
    pairedit(*line, "--set", "words.find=true", "--no-words")
    configs = [call["config"].words for call in rooms.of("train")]
    assert [one.find for one in configs] == [True, True, False, False, True, False]
    assert configs[0].vocabulary == "add a hat; make it: red"
    assert configs[1].vocabulary is None
    (pairs.parent / "own; v.txt").write_text("add a hat")
    pairedit(*line, "--vocabulary", pairs.parent / "own; v.txt")
    assert rooms.of("train")[-1]["config"].words.vocabulary == "add a hat;"
    refused = pairedit(*line, "--no-words", "--words", "add a hat")
    assert "--no-words and --words contradict each other" in refused.stderr

    real = rooms.train

    def train(*given: Any, **named: Any) -> Edit:
        return real(*given, **named).with_info(words=[EditWords("add a hat", 0.6, 0.25, 0.5)])

    monkeypatch.setattr("pairedit_sdk.training.trainer.train", train)
    found = pairedit(*line, "--find-words")
    assert "Words:       add a hat (ratio 0.25); acts at 0.6, and what was learned" in found.stdout
    said = json.loads(pairedit(*line, "--find-words", "--json").stdout)
    assert said["words"] == [{"phrase": "add a hat", "scale": 0.6, "ratio": 0.25, "lora": 0.5}]


@pytest.fixture
def placed(
    library: Path, face_pairs: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A basis of one edit of an edit model that no LoRWeB basis comes with, and pictures of another
    change."""
    monkeypatch.setattr("pairedit_sdk.lorweb.shown.default_lorweb", lambda model: None)
    layers = {"x_embedder": LoraLayer(torch.ones(1, 64), torch.ones(192, 1))}
    edit = Edit(layers, EditInfo("hat", base="mini-kontext", base_fingerprint="one", rank=1))
    edit.save(library / "hat.safetensors")
    EditBasis.open(library).place(edit, face_pairs({"hat": "beanie"}, 2))
    (pair,) = face_pairs({"background": "pink"}, 1, background="green")
    pair.before.save(tmp_path / "a.png")
    pair.after.save(tmp_path / "a2.png")
    return library


def test_an_unknown_analogy_is_answered_by_words_and_says_so(
    pairedit: Pairedit, rooms: Rooms, placed: Path
) -> None:
    line = ("analogy", "a.png", "a2.png", "a.png", "-o", "x.png")
    result = pairedit(*line, "--scale", "0.5")
    assert result.exit_code == 0, result.output
    assert "like none of the edits" in result.stdout
    assert "Answered by words: The change is 'add a hat'" in result.stdout
    assert "Words: add a hat @ 0.6." in result.stdout
    (call,) = rooms.of("edit_image")
    assert (rooms.named(call["edits"]), call["edits"].words) == (
        [("add a hat", pytest.approx(0.5 * WORDS_ALONE))],
        {"add a hat": pytest.approx(0.5 * WORDS_ALONE)},
    )
    said = json.loads(pairedit(*line, "--words", "add a hat; add a cap", "--json").stdout)
    assert said["words"] == [{"phrase": "add a hat", "scale": WORDS_ALONE}]
    assert said["found_words"]["phrases"][0]["phrase"] == "add a hat"
    assert said["known"] is False


def test_it_is_refused_without_words_or_where_none_fits(
    pairedit: Pairedit, rooms: Rooms, placed: Path
) -> None:
    line = ("analogy", "a.png", "a2.png", "a.png", "-o", "x.png")
    without = pairedit(*line, "--no-words")
    assert without.exit_code == 2
    assert without.stderr.startswith("Error: This analogy is like none of the edits")
    assert pairedit(*line, "--base", "mini").exit_code == 2  # not an edit model
    assert rooms.of("find_words") == []
    rooms.losses = {"add a hat": 0.9, "add a cap": 0.95}
    none = pairedit(*line)
    assert none.exit_code == 2
    assert "and words do not say it either: None of 3 phrases explains the change" in none.stderr
    assert rooms.of("edit_image") == []
    both = pairedit(*line, "--no-words", "--words", "a")
    assert "--no-words and --words contradict each other" in both.stderr


@pytest.mark.parametrize("method", ["from-noise", "rf-inversion", "inversion-lora"])
def test_a_method_that_follows_no_words_is_asked_for_none(
    pairedit: Pairedit, rooms: Rooms, placed: Path, method: str
) -> None:
    line = ("analogy", "a.png", "a2.png", "a.png", "-o", "x.png", "--method", method)
    unknown = pairedit(*line)
    assert unknown.exit_code == 2
    assert unknown.stderr.startswith("Error: This analogy is like none of the edits")
    said = pairedit(*line, "--words", "add a hat")
    assert said.exit_code == 2
    assert f"--method {method} cannot follow --words" in said.stderr
    assert rooms.calls == []
