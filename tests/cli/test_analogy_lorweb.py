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
        result = run("--lorweb", "web", *words)
        assert result.exit_code == 0, result.output
        return _pixels(out)

    result = run("--lorweb", "web", "--scale", "2", "--detail", "off", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["sentence"] == "The basis has no edits. The LoRWeB basis web answers it."
    assert (said["known"], said["similarities"], said["found_words"]) == (False, {}, None)
    assert set(said["lorweb"]["coefficients"]) == {"1", "2"}
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
    assert "Answered by the LoRWeB basis web." in run("--lorweb", "web").stdout


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
        ([], "is empty"),
    ):
        result = run(*words)
        assert result.exit_code == 2, result.output
        assert message in " ".join(result.stderr.split())
        assert not (tmp_path / "out.png").exists()
