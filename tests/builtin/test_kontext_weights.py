"""The shipped Kontext base: small, stock diffusers runs it, and it does what it is told."""

import json

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FluxKontextPipeline

from pairedit_sdk import generate, load_base
from pairedit_sdk.builtin.faces.analogies import CHANGES, drawn_analogy
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.images import metrics
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.models.folders import BUILT_IN

TOLD = (
    ("glasses", "round"), ("hat", "top"), ("hair_color", "red"), ("style", "night"),
    ("background", "blue"), ("age", "old"), ("lipstick", "red"), ("mouth", "smiling"),
)  # fmt: skip


@pytest.fixture(scope="module")
def base():
    return load_base("mini-kontext", device="cpu")


def _told(base, change, index, steps=14):
    """The change's success and accuracy on a face that no training has seen."""
    drawn = drawn_analogy(change, index, "told")
    b, b_prime = drawn.b.draw(), drawn.b_prime.draw()
    out = to_tensor(
        generate(base, drawn.caption, seed=index, steps=steps, guidance=2.5, references=[b])
    )
    before, after = to_tensor(b), to_tensor(b_prime)
    rb, wanted = (base.decode(base.encode(x).float()) for x in (before, after))
    read = load_attribute_classifier().predict(out)
    mask = metrics.edit_mask(before, after)
    right = float(metrics.success(read, change[0], change[1])[0])
    return right, float(metrics.edit_accuracy(out, rb, wanted, mask)[0])


def test_both_bases_together_are_small():
    files = [f for folder in BUILT_IN.values() for f in folder.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 48e6


def test_stock_diffusers_makes_the_same_picture(base):
    assert base.takes_references
    pipeline = FluxKontextPipeline.from_pretrained(BUILT_IN["mini-kontext"], dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    face = drawn_analogy(("hat", "cap"), 0, "told").b.draw()
    stock = pipeline(
        image=face, prompt="add a cap", width=128, height=128, max_area=128 * 128,
        _auto_resize=False, num_inference_steps=8, guidance_scale=2.5, max_sequence_length=32,
        generator=torch.Generator("cpu").manual_seed(2),
    ).images[0]  # fmt: skip
    ours = generate(base, "add a cap", seed=2, steps=8, guidance=2.5, references=[face])
    assert np.abs(np.asarray(stock, np.int16) - np.asarray(ours, np.int16)).max() <= 1


def test_instructions_are_followed(base):
    found = [_told(base, change, 0) for change in TOLD]
    assert sum(right for right, _ in found) >= 6


@pytest.mark.slow
def test_instructions_of_every_kind_are_followed(base):
    """Of each change that can be named, on two faces."""
    found = [_told(base, change, index, 28) for change in CHANGES for index in (0, 1)]
    assert sum(right for right, _ in found) / len(found) >= 0.7


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_config_says_where_its_part_once_was(name):
    for config in BUILT_IN[name].glob("*/config.json"):
        assert "_name_or_path" not in json.loads(config.read_text(encoding="utf-8")), config


@pytest.mark.parametrize("name", BUILT_IN)
def test_stock_diffusers_runs_it_without_being_told_a_type(name):
    pipeline = DiffusionPipeline.from_pretrained(BUILT_IN[name])
    kinds = {part.dtype for part in pipeline.components.values() if hasattr(part, "dtype")}
    assert kinds == {torch.float32}
    pipeline.set_progress_bar_config(disable=True)
    size = {"height": 128, "width": 128}
    if name == "mini-kontext":
        face = drawn_analogy(("hat", "cap"), 0, "told").b.draw()
        size = {"image": face, "max_area": 128 * 128, "_auto_resize": False, **size}
    picture = pipeline(prompt="a person", num_inference_steps=2, **size).images[0]
    assert picture.size == (128, 128)
    assert np.asarray(picture).std() > 5
