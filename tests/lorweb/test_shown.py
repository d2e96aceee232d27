"""What a LoRWeB basis makes of an analogy, as an edit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.errors import BaseModelError, EditError, UsageError
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.delta import DeltaNetwork, DeltaShape
from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.lorweb.shown import SHIPPED, default_lorweb, shown_change
from pairedit_sdk.models.folders import BUILT_IN, fingerprint
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_model


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini")


@pytest.fixture
def pictures(face_pairs):
    one, two = face_pairs({"hat": "beanie"}, 2)
    return one.before, one.after, two.before


def _basis(model, encoder, pictures, *, layout="sequence", delta=True) -> LoRWeBBasis:
    generator = torch.Generator().manual_seed(0)
    embeddings, patches = encoder.features(pictures[:2])
    layers = {}
    for name in model.lora_targets("attention"):
        high, wide = model.transformer.get_submodule(name).weight.shape
        down = torch.randn(3, 2, wide, generator=generator) * 0.2
        layers[name] = BasisLayer(down, torch.randn(3, high, 2, generator=generator) * 0.2)
    width = 3 * embeddings.shape[1]
    projection = torch.randn(1, 4, width, generator=generator)
    keys = torch.randn(1, 3, 4, generator=generator)
    settings = BasisSettings(
        count=3, rank=2, key_width=4, shared=True, layout=layout, resolution=96,
        unit_embeddings=True,
    )  # fmt: skip
    info = LearnedInfo(
        "web", model.name, model.fingerprint, model.architecture, "mini", settings, 7
    )
    network = None
    if delta:
        said = model.condition("")
        shape = DeltaShape(
            3, 8, 1, embeddings.shape[1], *patches.shape[1:], said.prompt_embeds.shape[-1],
            said.extras["pooled"].shape[-1],
        )  # fmt: skip
        network = DeltaNetwork(shape, said.prompt_embeds[0, 0].cpu()).requires_grad_(False)
        network.out.weight.normal_(generator=generator)
    return LoRWeBBasis(layers, Router(projection, keys, 2.0, False), info, delta=network)


def test_it_is_the_mix_the_tokens_and_both_pictures(model, encoder, pictures):
    basis = _basis(model, encoder, pictures)
    change = shown_change(model, basis, *pictures, encoder=encoder, name="hat")
    coefficients = basis.coefficients(basis.embed(encoder, *pictures))
    mix = basis.mixed(coefficients)
    assert change.mix.keys() == mix.layers.keys()
    assert all(torch.equal(change.mix[n].up, layer.up) for n, layer in mix.layers.items())
    tokens, pooled = basis.tokens_for(encoder, *pictures[:2])
    assert torch.equal(change.tokens, tokens)
    assert torch.equal(change.pooled, pooled)
    assert change.tokens.shape[:2] == (1, 3)
    for seen, picture in zip(change.references, pictures[:2], strict=True):
        wanted = model.encode(to_tensor(picture.resize((96, 96), 1))).float()
        assert seen.shape == wanted.shape
        assert (seen - wanted).abs().mean() < 0.1 * wanted.abs().mean()
    assert not torch.equal(*change.references)
    info = change.info
    assert (change.name, info.base_fingerprint, info.guidance) == ("hat", model.fingerprint, 2.5)
    assert [name for name, _ in info.parts] == ["1", "2", "3"]
    assert sum(share for _, share in info.parts) == pytest.approx(1, abs=1e-5)


def test_alone_the_model_sees_the_picture_only(model, encoder, pictures):
    basis = _basis(model, encoder, pictures, layout="alone", delta=False)
    change = shown_change(model, basis, *pictures, encoder=encoder)
    assert (change.name, change.references, change.tokens, change.pooled) == (
        "lorweb",
        (),
        None,
        None,
    )
    x = model.encode(to_tensor(pictures[2])).float()
    same = Edit(change.mix, change.info)
    found, wanted = (edit_latents(model, x, e, steps=3, n_max=2) for e in (change, same))
    assert torch.allclose(found, wanted, atol=1e-4)


def test_it_is_added_to_own_edits(model, encoder, pictures):
    change = shown_change(model, _basis(model, encoder, pictures), *pictures, encoder=encoder)
    x = model.encode(to_tensor(pictures[2])).float()
    name, layer = next(iter(change.mix.items()))
    own = Edit({name: LoraLayer(layer.down, -layer.up)}, replace(change.info, name="own"))
    small = {"steps": 3, "n_max": 2, "threshold": 0.0}
    parts = [edit_latents(model, x, part, **small) - x for part in (own @ 0.5, change @ 0.7)]
    assert all(part.abs().max() > 1e-3 for part in parts)
    both = edit_latents(model, x, own @ 0.5 + change @ 0.7, **small)
    assert torch.allclose(both, x + sum(parts), atol=1e-4)


def test_what_cannot_be_an_edit_is_refused(model, tiny_model, encoder, pictures):
    grid = _basis(model, encoder, pictures, layout="grid")
    with pytest.raises(UsageError, match=r"as a grid.*pairedit lorweb answer"):
        shown_change(model, grid, *pictures, encoder=encoder)
    basis = _basis(model, encoder, pictures)
    with pytest.raises(BaseModelError, match="takes no condition images"):
        shown_change(tiny_model, basis, *pictures, encoder=encoder)
    basis.info = replace(basis.info, base_fingerprint="other", architecture="")
    with pytest.raises(EditError, match="was learned on another model"):
        shown_change(model, basis, *pictures, encoder=encoder)


def test_a_prompt_is_told_beside_it(model, encoder, pictures):
    basis = _basis(model, encoder, pictures)
    said, silent = (
        shown_change(model, basis, *pictures, encoder=encoder, prompt=prompt)
        for prompt in ("make the hat", "")
    )
    assert (said.prompt, silent.prompt) == ("make the hat", "")
    x = model.encode(to_tensor(pictures[2])).float()
    one, other = (edit_latents(model, x, c, steps=3, threshold=0.0) for c in (said, silent))
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["mini", "klein-4b", "some/folder", "."])
def test_other_models_have_no_basis_of_their_own(name):
    assert default_lorweb(name) is None


def test_the_shipped_basis_is_small_and_of_the_shipped_model():
    basis = default_lorweb("mini-kontext")
    assert default_lorweb(str(BUILT_IN["mini-kontext"])) is basis
    folder = BUILT_IN["mini-kontext"]
    own = fingerprint(folder, "transformer", "vae")
    info = basis.info
    assert (info.name, info.base, info.base_fingerprint) == ("world", "mini-kontext", own)
    assert (info.encoder, info.settings.layout) == ("mini-kontext", "sequence")
    assert SHIPPED.stat().st_size < 3e6
    tensors, header = read_tensors(SHIPPED)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert "/" not in header["learned_basis"]
