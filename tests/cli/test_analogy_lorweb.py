"""``pairedit analogy --lorweb``: a LoRWeB basis answers what no own edit does, on a real, small
Kontext model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import Result

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.builtin.faces import analogies
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.metadata import EditorSettings
from pairedit_sdk.images.metadata import read_made
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.pairs.pair_set import PairSet
from pairedit_sdk.words.finding import FoundWords, judged

Pairedit = Callable[..., Result]
SETTINGS = [
    word
    for setting in (
        "count=2", "rank=2", "key_width=4", "targets=attention", "steps=2", "batch=2",
        "delta.tokens=2", "delta.width=8", "delta.layers=1",
    )
    for word in ("--set", setting)
]  # fmt: skip


@pytest.fixture
def run(
    pairedit: Pairedit, tiny_kontext_folder: Path, library: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Result]:  # fmt: skip
    """Call the command on the first drawn analogy, with bases web (sequence) and grid at hand."""
    monkeypatch.setattr(analogies, "SEEN", analogies.SEEN[:3])
    assert pairedit("lorweb", "draw", "data", "--each", "1").exit_code == 0
    train = ("lorweb", "train", "data", "--base", tiny_kontext_folder, *SETTINGS)
    for name, layout in (("web", "sequence"), ("grid", "grid")):
        made = pairedit(*train, "--name", name, "--set", f"layout={layout}")
        assert made.exit_code == 0, made.output
    sides = [next((tmp_path / "data" / side).glob("*.png")) for side in ("a", "a_prime", "b")]
    return lambda *words: pairedit("analogy", *sides, "-o", "out.png", "--steps", "2", *words)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_it_answers_as_an_edit_with_scale_mask_detail_and_method(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    b = _pixels(next((tmp_path / "data" / "b").glob("*.png")))
    out = tmp_path / "out.png"

    def made(*words: str) -> np.ndarray:
        result = run("--lorweb", "web", "--no-words", *words)
        assert result.exit_code == 0, result.output
        return _pixels(out)

    silent = ("--lorweb", "web", "--no-words")
    result = run(*silent, "--scale", "2", "--detail", "off", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["sentence"] == "The basis has no edits. The LoRWeB basis web answers it."
    assert (said["known"], said["similarities"], said["found_words"]) == (False, {}, None)
    assert set(said["lorweb"]["coefficients"]) == {"1", "2"}
    assert said["lorweb"]["prompt"] == ""
    assert read_made(out)["edits"] == [{"name": "web", "scale": 2.0}]
    double, single = _pixels(out), made("--detail", "off")
    # b's own pixels, at 0 and where a mask is black.
    assert (made("--scale", "0") == b).all()
    Image.fromarray(np.repeat([[0, 255]], 64, 0).repeat(32, 1).astype(np.uint8)).save(
        tmp_path / "m.png"
    )
    masked = made("--mask", "m.png", "--scale", "2")
    assert (masked[:, :64] == b[:, :64]).all()
    drawn = made("--method", "from-noise", "--detail", "off")
    assert not (drawn == single).all()
    assert not (double == single).all()
    assert "The LoRWeB basis web answers it.\n" in run(*silent).stdout


def test_a_basis_that_is_chosen_is_told_the_words_that_are_found(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged({"make the hair red": (0.2, 1.5), "add a cap": (0.9, 1.0)}, 1.0, 0.1, 2)
    monkeypatch.setattr("pairedit_sdk.words.finding.find_words", lambda *asked, **how: found)
    result = run("--lorweb", "web")
    said = "answers it, with the words 'make the hair red'. --no-words does without."
    assert f"The LoRWeB basis web {said}" in " ".join(result.stdout.split())
    given = json.loads(run("--lorweb", "web", "--json").stdout)
    assert (given["lorweb"]["prompt"], given["words"]) == ("make the hair red", [])
    assert given["found_words"]["phrases"][0]["phrase"] == "make the hair red"


def test_the_built_in_model_answers_with_its_own(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {"make the hair red": 0.95, "add a cap": 0.95}

    def found(*asked: object, **how: object) -> FoundWords:
        return judged({phrase: (loss, 1.5) for phrase, loss in losses.items()}, 1.0, 0.1, 2)

    monkeypatch.setattr("pairedit_sdk.words.finding.find_words", found)

    def answer(*words: str) -> tuple[str | None, str]:
        given = json.loads(run(*words, "--json").stdout)
        lorweb = given["lorweb"]
        return (None, given["words"][0]["phrase"]) if lorweb is None else (
            lorweb["name"], lorweb["prompt"],
        )  # fmt: skip

    assert answer() == ("world", "")
    losses["make the hair red"] = 0.2
    assert answer() == (None, "make the hair red")
    assert answer("--no-words") == ("world", "")
    losses["add a cap"] = 0.1
    assert answer() == ("world", "add a cap")  # which says no colour


def test_own_edits_that_know_the_change_come_first(
    run: Callable[..., Result], library: Path, tmp_path: Path, tiny_kontext_folder: Path
) -> None:
    model = load_model(str(tiny_kontext_folder), device="cpu")
    layers = {"x_embedder": LoraLayer(torch.ones(1, 64) * 0.1, torch.ones(64, 1) * 0.1)}
    info = EditInfo(
        "mine", base=model.name, base_fingerprint=model.fingerprint,
        editor=EditorSettings(reference=True),
    )  # fmt: skip
    paths = [next((tmp_path / "data" / side).glob("*.png")) for side in ("a", "a_prime")]
    images = [Image.open(path).convert("RGB") for path in paths]
    EditBasis(library).place(Edit(layers, info), PairSet.from_images([tuple(images)]))
    said = json.loads(run("--lorweb", "web", "--json").stdout)
    assert (said["known"], said["lorweb"], set(said["coefficients"])) == (True, None, {"mine"})


def test_a_mistake_is_one_sentence(run: Callable[..., Result], tmp_path: Path) -> None:
    for words, message in (
        (["--lorweb", "grid"], "sees an analogy as a grid"),
        (["--lorweb", "wbe"], "There is no LoRWeB basis 'wbe'"),
        (["--lorweb", "web", "--method", "rf-inversion"], "cannot be used with the method"),
        (["--lorweb", "web", "--basis", "web"], "--lorweb cannot be used with a LoRWeB basis"),
        (["--method", "rf-inversion"], "is empty"),
    ):
        result = run(*words)
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.stderr.split())
        assert not (tmp_path / "out.png").exists()
