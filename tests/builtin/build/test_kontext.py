"""What the Kontext model is taught: rows that say what they show."""

import numpy as np
import pytest
import torch

from pairedit_sdk.builtin.build import clip, mini_kontext, parts
from pairedit_sdk.builtin.build.assemble import text_tower
from pairedit_sdk.builtin.build.clip import Changes
from pairedit_sdk.builtin.build.kontext_data import TURNS, KontextData
from pairedit_sdk.builtin.faces.instructions import instruction
from pairedit_sdk.builtin.faces.numbered import change_at
from pairedit_sdk.models.families.kontext import KontextModel
from pairedit_sdk.models.loading import load_base

COUNT = 120


@pytest.fixture(scope="module")
def data():
    found = [change_at(i) for i in range(COUNT)]
    pictures = np.zeros((COUNT, 2, 4, 4, 3), dtype=np.uint8)
    changes = Changes(pictures, [(a, b) for _, a, b in found], [name for name, _, _ in found])
    # Latents that say whose they are: the pair's number, and one half more for the second.
    number = torch.arange(COUNT).view(-1, 1) + torch.tensor([0.0, 0.5])
    latents = number.view(COUNT, 2, 1, 1, 1).expand(-1, -1, 16, 4, 4)
    return KontextData(latents, changes, text_tower(parts.clip()), 8, "cpu")


def _said(data, value):
    """The instruction that leads to the picture with this latent."""
    number, side = int(value), int(value % 1 * 2)
    return instruction(data.changes.faces[number][side], data.changes.attributes[number])


def test_a_picture_becomes_what_its_text_says(data):
    unsaid = 0
    for step in (0, 1, 10):
        example = data.draw(step)
        for row in range(8):
            after, before = (
                float(t[row, 0, 0, 0]) for t in (example.target, example.references[0])
            )
            text = example.texts[row]
            unsaid += text == ""
            assert int(after) == int(before)
            assert (after == before) == (text == "")
            assert text in ("", _said(data, after))
    assert 0 < unsaid < 12


def test_every_turn_has_its_own_pictures(data):
    shapes = {kind: data.draw(TURNS.index(kind)) for kind in set(TURNS)}
    assert [len(shapes[k].references) for k in ("one", "three", "caption", "grid")] == [1, 3, 0, 1]
    assert shapes["three"].target.shape[0] == 4
    grid = shapes["grid"]
    assert grid.target.shape == grid.references[0].shape == (2, 16, 8, 8)
    corners = grid.target[:, 0, ::4, ::4].flatten(1)
    for row, text in zip(corners, grid.texts, strict=True):
        assert text in {"", *(_said(data, value) for value in row.tolist())}


def test_the_loss_lies_where_the_picture_changes(data):
    before = torch.zeros(1, 16, 4, 4)
    after = before.clone()
    after[..., 0, 0] = 1
    even = torch.ones(16, 4, 4)
    from pairedit_sdk.builtin.build.kontext_data import _Rows, _weights

    weights = _weights(_Rows(before, after, even))
    assert weights.mean() == pytest.approx(1)
    assert weights[0, 0, 0, 0] == pytest.approx(0.5 + 0.5 * 16)
    assert torch.equal(_weights(_Rows(before, before, even)), even[None])


def test_the_whole_build(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(mini_kontext, "BATCH", 4)
    monkeypatch.setattr(
        clip, "picture_pool", lambda _, count, *__: np.zeros((count, 128, 128, 3), np.uint8)
    )
    words = ["--changes", "60", "--minutes", "0.0001", "--start", str(tiny_folder)]
    out = ["--folder", str(tmp_path / "folder"), "--output", str(tmp_path / "out")]
    mini_kontext.main([*words, *out, "--device", "cpu"])
    base = load_base(str(tmp_path / "out"), device="cpu")
    assert isinstance(base, KontextModel)
    assert not torch.equal(
        base.condition("add round glasses").prompt_embeds,
        base.condition("remove round glasses").prompt_embeds,
    )
