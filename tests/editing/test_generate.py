"""Generating: the late-step window, other sizes, numbers out of range."""

import numpy as np
import pytest
import torch

from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.edits.metadata import EditWords
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.image import to_image
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train


@pytest.fixture(scope="module")
def trained(tiny_folder, face_pairs):
    base = load_model(str(tiny_folder), device="cpu")
    config = TrainConfig(steps=8, rank=4, sigma_count=8, lr=2e-2)
    return base, train(base, face_pairs({"hat": "beanie"}, 2), config, name="hat")


def _array(image):
    return np.asarray(image, np.int16)


def test_generate_keeps_the_layout_steps_untouched(trained):
    base, edit = trained
    plain = generate(base, "a person", seed=2, steps=6)
    late = generate(base, "a person", edit, seed=2, steps=6, start_step=6)
    early = generate(base, "a person", edit, seed=2, steps=6, start_step=2)
    assert np.array_equal(_array(plain), _array(late))
    assert not np.array_equal(_array(plain), _array(early))


def test_generate_takes_other_sizes_of_the_grid(trained):
    base, _ = trained
    assert generate(base, "", steps=1, width=96, height=64, start_step=0).size == (96, 64)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda b: generate(b, "", width=100), "100 x 128 pixels do not fit"),
        (lambda b: generate(b, "", steps=4, start_step=5), "start_step 5 of 4"),
    ],
)
def test_numbers_out_of_range_are_refused(trained, call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call(trained[0])


SIZE = {"width": 64, "height": 64, "steps": 3, "seed": 4}


@pytest.fixture(scope="module")
def seeing(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


def _edit(model, seed, *, sees=True, words=()):
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for layer in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(layer).weight.shape
        down = torch.randn(2, wide, generator=generator) * 0.2
        layers[layer] = LoraLayer(down, torch.randn(high, 2, generator=generator) * 0.2)
    known = {"base": model.name, "base_fingerprint": model.fingerprint, "guidance": 2.5}
    editor = EditorSettings(steps=2, n_avg=1, reference=sees)
    return Edit(layers, EditInfo(f"e{seed}", **known, editor=editor, words=list(words)))


def _applied(model, drawn, edits, **settings):
    """The picture of drawn latents with edits on it."""
    return to_image(model.decode(edit_latents(model, drawn, edits, seed=4, **settings)))


@pytest.fixture
def drawn(seeing, monkeypatch):
    """Draws without edits, and gives the latents of the picture."""
    latents = []
    decode = seeing.decode

    def draw(*edits):
        with monkeypatch.context() as patch:
            patch.setattr(seeing, "decode", lambda x: latents.append(x) or decode(x))
            generate(seeing, "an old person", *edits, **SIZE)
        return latents[-1].float()

    return draw


@pytest.mark.parametrize("mode", ["merged", "guided", "sequential"])
def test_an_edit_that_sees_its_picture_is_applied_to_what_the_model_alone_draws(
    seeing, drawn, mode
):
    stack = _edit(seeing, 0) @ 0.8 + _edit(seeing, 1, words=[EditWords("add a cap", 0.5)]) @ 1
    shown = []
    found = generate(
        seeing, "an old person", stack, mode=mode, on_step=lambda *at: shown.append(at), **SIZE
    )
    assert found.tobytes() == _applied(seeing, drawn(), stack, mode=mode).tobytes()
    without = _applied(seeing, drawn(), stack, mode=mode, words=False)
    assert found.tobytes() != without.tobytes()  # the words of the second one act
    shares = [done / total for done, total in shown]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_at_scale_0_it_is_what_the_model_alone_draws(seeing):
    plain = generate(seeing, "an old person", **SIZE)
    assert generate(seeing, "an old person", _edit(seeing, 0) @ 0, **SIZE).tobytes() == (
        plain.tobytes()
    )


def test_edits_that_do_not_see_it_draw_and_the_others_follow(seeing, drawn):
    sees, blind = _edit(seeing, 0), _edit(seeing, 1, sees=False, words=[EditWords("add a cap")])
    expected = _applied(seeing, drawn(blind), sees)
    for mode, stack in (("merged", sees + blind), ("sequential", blind + sees)):
        assert generate(seeing, "an old person", stack, mode=mode, **SIZE).tobytes() == (
            expected.tobytes()
        )
    # In turn, the plain edit is applied to a picture here, and does without its words.
    both = sees @ 1 + blind.with_info(words=[]) @ 1
    in_turn = generate(seeing, "an old person", sees + blind, mode="sequential", **SIZE)
    assert in_turn.tobytes() == _applied(seeing, drawn(), both, mode="sequential").tobytes()


def test_different_guidance_is_refused_before_anything_is_drawn(seeing):
    other = _edit(seeing, 1).with_info(guidance=4.0)
    shown = []
    with pytest.raises(UsageError, match=r"different guidance.*Say which to use"):
        generate(seeing, "", _edit(seeing, 0) + other, on_step=lambda *at: shown.append(at), **SIZE)
    assert shown == []
    assert generate(seeing, "", _edit(seeing, 0) + other, guidance=2.5, **SIZE).size == (64, 64)
