"""Drawing a picture anew, with the picture as the reference: what a Kontext pipeline does."""

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline

from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.editing.edit_images import edit_images
from pairedit_sdk.editing.edit_latents import edit_latents, sweep_latents
from pairedit_sdk.editing.options import EditOptions
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.images.image import to_image, to_tensor
from pairedit_sdk.lora.adapters import is_bare
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.loading import load_model

METHOD = {"method": "from-noise", "steps": 3}


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def x(model):
    return torch.randn(2, *model.latent_shape(64, 64), generator=torch.Generator().manual_seed(1))


def _edit(model, seed, *, sees=True):
    """A random edit, which changes much."""
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for name in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(name).weight.shape
        down = torch.randn(2, wide, generator=generator) * 0.2
        layers[name] = LoraLayer(down, torch.randn(high, 2, generator=generator) * 0.2)
    editor = EditorSettings(steps=5, n_avg=2, threshold=0.1, reference=sees)
    info = EditInfo(
        f"e{seed}", base=model.name, base_fingerprint=model.fingerprint, guidance=2.5,
        editor=editor,
    )  # fmt: skip
    return Edit(layers, info)


@pytest.mark.parametrize("size", [(128, 128), (160, 96)])
def test_it_is_the_picture_of_stock_diffusers_with_the_edit_as_its_lora(
    model, tiny_kontext_folder, face_pairs, tmp_path, size
):
    edit = _edit(model, 0)
    face = face_pairs({"hat": "beanie"}, 1)[0].before.resize(size)
    width, height = size
    pipeline = FluxKontextPipeline.from_pretrained(tiny_kontext_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    asked = {
        "image": face, "prompt": "", "width": width, "height": height,
        "max_area": width * height, "_auto_resize": False, "num_inference_steps": 5,
        "guidance_scale": 2.5, "max_sequence_length": 32,
    }  # fmt: skip

    def stock():
        noise = torch.Generator("cpu").manual_seed(4)
        packed = pipeline(**asked, generator=noise, output_type="latent").images
        return pipeline._unpack_latents(packed, height, width, pipeline.vae_scale_factor)

    without = stock()
    pipeline.load_lora_weights(str(edit.save(tmp_path / "edit.safetensors")))
    wanted = stock()
    x = model.encode(to_tensor(face)).float()
    ours = edit_latents(model, x, edit, method="from-noise", steps=5, seed=4)
    assert (wanted - without).abs().max() > 0.05
    assert torch.allclose(ours, wanted, atol=1e-4)
    picture = edit_image(
        model, face, edit, method="from-noise", steps=5, seed=4, detail="off",
        resolution=round((width * height) ** 0.5),
    )  # fmt: skip
    drawn = to_image(model.decode(wanted))
    assert picture.size == drawn.size == size
    assert np.abs(np.asarray(picture, np.int16) - np.asarray(drawn, np.int16)).max() <= 1


@pytest.mark.parametrize("mode", ["merged", "guided", "sequential"])
def test_scale_0_is_the_picture_itself(model, x, mode):
    edit = _edit(model, 0)
    half, nothing = sweep_latents(model, x, edit, [0.5, 0.0], mode=mode, **METHOD)
    assert nothing is x
    assert not torch.allclose(half, x, atol=1e-2)
    assert torch.equal(edit_latents(model, x, edit @ 0, mode=mode, **METHOD), x)


@pytest.mark.parametrize("method", ["flowedit", "from-noise"])
def test_an_edit_and_its_opposite_are_nothing(model, x, method):
    edit = _edit(model, 0)
    assert torch.equal(edit_latents(model, x, edit @ 1 + edit @ -1, method=method), x)


def test_every_scale_of_a_sweep_is_what_that_scale_alone_gives(model, x):
    edit, seen = _edit(model, 0), []
    swept = sweep_latents(model, x, edit, [0.5, 1.0], on_step=lambda *at: seen.append(at), **METHOD)
    assert seen == [(k + 1, 6) for k in range(6)]
    for scale, found in zip((0.5, 1.0), swept, strict=True):
        assert torch.equal(found, edit_latents(model, x, edit @ scale, **METHOD))
    assert not torch.allclose(*swept, atol=1e-2)
    assert is_bare(model.transformer)


def test_the_picture_and_the_seed_decide_what_is_drawn(model, x):
    edit = _edit(model, 0)
    drawn = edit_latents(model, x, edit, **METHOD)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, edit_latents(model, x, edit, **METHOD))
    assert not torch.allclose(drawn, edit_latents(model, x, edit, seed=1, **METHOD), atol=1e-2)
    other = edit_latents(model, torch.stack([x[0], -x[1]]), edit, **METHOD)
    assert torch.allclose(other[0], drawn[0], atol=1e-5)
    assert not torch.allclose(other[1], drawn[1], atol=1e-3)


def test_pictures_in_a_batch_come_out_as_alone(model, x):
    edit = _edit(model, 0)
    pictures = [to_image(model.decode(row[None])) for row in x]
    together = edit_images(model, pictures, edit, **METHOD)
    for one, picture in zip(together, pictures, strict=True):
        assert np.array_equal(one.image, edit_image(model, picture, edit, **METHOD))
    same = EditOptions(**METHOD).resolved(edit @ 1)
    both = edit_latents(model, x, edit, same)
    assert torch.allclose(both[:1], edit_latents(model, x[:1], edit, **METHOD), atol=1e-4)


def test_two_edits_act_together_in_every_mode(model, x):
    one, two = _edit(model, 0), _edit(model, 1)
    stack = one @ 0.8 + two @ 0.5

    def drawn(stack, **settings):
        return edit_latents(model, x, stack, **METHOD, **settings)

    by_hand = edit_latents(model, drawn(one @ 0.8), two @ 0.5, **METHOD)
    assert torch.equal(drawn(stack, mode="sequential"), by_hand)
    assert torch.equal(drawn(stack), drawn(stack, mode="merged"))
    swapped = two @ 0.5 + one @ 0.8
    for mode in ("merged", "guided"):
        assert torch.allclose(drawn(stack, mode=mode), drawn(swapped, mode=mode), atol=1e-3)
        assert not torch.allclose(drawn(stack, mode=mode), drawn(one @ 0.8, mode=mode), atol=1e-2)
    assert not torch.allclose(drawn(stack), drawn(stack, mode="guided"), atol=1e-2)


def test_what_flowedit_is_told_by_the_edit_says_nothing_of_it(model):
    found = EditOptions(method="from-noise").resolved(_edit(model, 0) @ 1)
    assert (found.steps, found.n_avg, found.threshold, found.mode) == (28, 1, 0, "merged")
    with pytest.raises(UsageError, match="Only FlowEdit has n_avg, and the method is from-noise"):
        EditOptions(method="from-noise", n_avg=2).resolved(_edit(model, 0) @ 1)


def test_an_edit_that_does_not_see_the_picture_is_refused(model, tiny_model, x):
    sees, blind = _edit(model, 0), _edit(model, 1, sees=False)
    for stack in (blind @ 1, sees @ 1 + blind @ 0.5):
        with pytest.raises(UsageError, match=r"edit 'e1' does not see it.*Use the method flowedit"):
            edit_latents(model, x, stack, **METHOD)
    found = edit_latents(model, x, sees @ 1 + blind @ 0, **METHOD)
    assert torch.allclose(found, edit_latents(model, x, sees, **METHOD), atol=1e-5)
    with pytest.raises(EditError, match="sees the picture that it edits"):
        edit_latents(tiny_model, x, sees.with_info(base="", base_fingerprint=""), **METHOD)
