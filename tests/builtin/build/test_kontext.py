"""What the Kontext model is taught: rows that say what they show."""

import copy

import numpy as np
import pytest
import torch

from pairedit_sdk.builtin.build import clip, mini_kontext, parts
from pairedit_sdk.builtin.build.assemble import text_tower
from pairedit_sdk.builtin.build.clip import Changes
from pairedit_sdk.builtin.build.flow import CaptionedFlow
from pairedit_sdk.builtin.build.kontext import train_kontext
from pairedit_sdk.builtin.build.kontext_data import KontextData
from pairedit_sdk.builtin.build.turns import ROWS, turn_of
from pairedit_sdk.builtin.faces.analogies import UNSEEN
from pairedit_sdk.builtin.faces.instructions import instruction
from pairedit_sdk.builtin.faces.numbered import change_at
from pairedit_sdk.errors import UsageError
from pairedit_sdk.models.folders import mini_folder
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


def _steps(data, kind, count=1):
    """The first ``count`` steps of a turn."""
    return [step for step in range(400) if turn_of(step, data.shares) == kind][:count]


def test_a_picture_becomes_what_its_text_says(data):
    unsaid = 0
    for step in _steps(data, "one", 6):
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
    assert 0 < unsaid < 24


def test_every_turn_has_its_own_pictures(data):
    shapes = {kind: data.draw(_steps(data, kind)[0]) for kind in ROWS}
    assert [len(shapes[k].references) for k in ("one", "three", "caption", "grid")] == [1, 3, 0, 1]
    assert shapes["three"].target.shape[0] == 4
    grid = shapes["grid"]
    assert grid.target.shape == grid.references[0].shape == (2, 16, 8, 8)
    corners = grid.target[:, 0, ::4, ::4].flatten(1)
    for row, text in zip(corners, grid.texts, strict=True):
        assert text in {"", *(_said(data, value) for value in row.tolist())}


def _analogies(data, steps):
    """Text, and number and side of b, a, a′ and b′, of all rows of these steps."""
    for step in steps:
        example = data.draw(step)
        for row, text in enumerate(example.texts):
            pictures = (*example.references, example.target)
            values = [float(picture[row, 0, 0, 0]) for picture in pictures]
            yield text, [(int(value), int(value % 1 * 2)) for value in values]


def test_an_exemplar_shows_the_change_of_the_picture_on_another_person(data):
    told = untold = still = 0
    for text, (b, a, shown, b_prime) in _analogies(data, _steps(data, "three", 20)):
        assert b[0] == b_prime[0] != a[0] == shown[0]
        name = data.changes.attributes[b[0]]
        face, other = (data.changes.faces[number][side] for number, side in (b_prime, shown))
        assert data.changes.attributes[a[0]] == name
        assert getattr(face, name) == getattr(other, name)
        assert (a == shown) == (b == b_prime)  # no change shown, none aimed at
        values = {getattr(face, name) for face in data.changes.faces[b[0]]}
        assert not {(name, value) for value in values} & set(UNSEEN)
        assert text in ("", instruction(face, name))
        still += b == b_prime
        told += text != ""
        untold += text == "" and b != b_prime
        assert text == "" or b != b_prime
    assert 0 < still < told + untold
    assert told / (told + untold) == pytest.approx(0.5, abs=0.2)


def test_a_step_is_drawn_alike_each_time(data):
    for kind in ROWS:
        step = _steps(data, kind)[0]
        one, other = data.draw(step), data.draw(step)
        assert one.texts == other.texts
        pictures = ((e.target, *e.references) for e in (one, other))
        assert all(torch.equal(*both) for both in zip(*pictures, strict=True))


def test_captions_have_the_share_that_is_asked_for(data):
    with_captions = KontextData(
        data.latents, data.changes, text_tower(parts.clip()), 2, "cpu", captions=0.6
    )
    kinds = [with_captions.plan(step).kind for step in range(50)]
    assert kinds.count("caption") == pytest.approx(30, abs=1)
    assert set(kinds) == set(ROWS)


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


def _moved_by_captions(data, folder, teacher_of):
    """How far one step of captions with this teacher takes a model's weights, relative."""
    torch.manual_seed(0)
    model = CaptionedFlow(parts.transformer(64, 1, 1), parts.t5())
    begun = torch.cat([value.detach().flatten() for value in model.transformer.parameters()])
    latents, clip_text = torch.randn(COUNT, 2, 16, 4, 4), text_tower(parts.clip())
    captions = KontextData(latents, data.changes, clip_text, 4, "cpu", captions=1)
    train_kontext(model, captions, folder, minutes=1e-6, teacher=teacher_of(model))
    ended = torch.cat([value.detach().flatten() for value in model.transformer.parameters()])
    return float((ended - begun).norm() / begun.norm())


def test_what_is_drawn_from_captions_is_kept_as_the_teacher_has_it(data, tmp_path):
    # A model that is its own teacher has nothing to learn.
    kept = _moved_by_captions(data, tmp_path / "kept", copy.deepcopy)
    learned = _moved_by_captions(data, tmp_path / "learned", lambda _: None)
    assert kept < learned / 10


def test_a_teacher_with_another_autoencoder_is_refused(tiny_folder, tmp_path):
    given = ["--start", str(tiny_folder), "--folder", str(tmp_path / "folder")]
    with pytest.raises(UsageError, match="another autoencoder"):
        mini_kontext.main([*given, "--teacher", str(mini_folder())])
    assert not list(tmp_path.iterdir())


def test_the_whole_build(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(mini_kontext, "BATCH", 4)
    monkeypatch.setattr(
        clip, "picture_pool", lambda _, count, *__: np.zeros((count, 128, 128, 3), np.uint8)
    )
    words = ["--changes", "60", "--minutes", "0.0001", "--start", str(tiny_folder)]
    out = ["--folder", str(tmp_path / "folder"), "--output", str(tmp_path / "out")]
    mini_kontext.main([*words, *out, "--device", "cpu", "--captions", "0.5"])
    base = load_base(str(tmp_path / "out"), device="cpu")
    assert base.takes_references
    assert not torch.equal(
        base.condition("add round glasses").prompt_embeds,
        base.condition("remove round glasses").prompt_embeds,
    )


def test_a_share_that_is_none_is_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(UsageError, match="share of captions"):
        mini_kontext.main(["--captions", "2", "--folder", str(tmp_path / "folder")])
    assert not list(tmp_path.iterdir())
