"""The Kontext model against stock diffusers; without condition images it is any other FLUX."""

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline, FluxTransformer2DModel

from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_base


@pytest.fixture(scope="module")
def base(tiny_kontext_folder):
    return load_base(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def faces(face_pairs):
    return [pair.before for pair in face_pairs({"hat": "beanie"}, 2)]


def test_the_class_follows_from_the_folder(base, tiny_model):
    assert base.takes_references
    assert not tiny_model.takes_references
    assert (base.architecture, tiny_model.architecture) == ("flux-1-mini-kontext", "flux-1-mini")


@pytest.mark.parametrize("size", [(128, 128), (160, 96)])
def test_an_instruction_on_a_picture_gives_stock_diffusers_picture(
    base, tiny_kontext_folder, faces, size
):
    pipeline = FluxKontextPipeline.from_pretrained(tiny_kontext_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    face = faces[0].resize(size)
    width, height = size
    stock = pipeline(
        image=face, prompt="remove the hat", width=width, height=height,
        max_area=width * height, _auto_resize=False, num_inference_steps=5, guidance_scale=2.5,
        max_sequence_length=32, generator=torch.Generator("cpu").manual_seed(4),
    ).images[0]  # fmt: skip
    ours = generate(base, "remove the hat", seed=4, steps=5, guidance=2.5, references=[face])
    assert ours.size == size
    difference = np.asarray(stock, np.int16) - np.asarray(ours, np.int16)
    assert np.abs(difference).max() <= 1


def test_every_condition_image_has_its_own_place_and_matters(base, faces):
    x = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    one, two = (
        torch.randn(1, 16, 16, k, generator=torch.Generator().manual_seed(k)) for k in (16, 8)
    )
    sigma = torch.tensor(0.5)

    def velocity(*references):
        with torch.no_grad():
            return base.velocity(x, sigma, base.looking_at("", references), 2.5)

    nothing = velocity()
    assert nothing.shape == x.shape
    with torch.no_grad():
        assert torch.equal(nothing, base.velocity(x, sigma, base.condition(""), 2.5))
    assert velocity(one, two).shape == x.shape
    for changed in (velocity(one), velocity(two), velocity(one, two), velocity(two, one)):
        assert not torch.allclose(changed, nothing, atol=1e-4)
    assert not torch.allclose(velocity(one, one), velocity(one), atol=1e-4)
    # A picture may be one for all rows, or one for each.
    assert torch.allclose(velocity(torch.cat([one, one])), velocity(one), atol=1e-6)


def test_edits_work_on_it_as_on_any_base(base):
    assert isinstance(base.transformer, FluxTransformer2DModel)
    layers = {
        name: LoraLayer(torch.randn(2, 64) * 0.1, torch.randn(64, 2) * 0.1)
        for name in base.lora_targets("attention")
        if base.transformer.get_submodule(name).weight.shape == (64, 64)
    }
    x = torch.randn(1, 16, 16, 16)
    edited = edit_latents(base, x, Edit(layers, EditInfo("e")), steps=3, n_max=2)
    assert edited.shape == x.shape
    assert not torch.allclose(edited, x)


def test_a_base_that_takes_no_pictures_says_so(tiny_model, faces):
    with pytest.raises(UsageError, match=r"takes no condition images\. Expected an edit model"):
        generate(tiny_model, "remove the hat", steps=1, references=faces[:1])
