"""Several analogies answered in one pass are what each is by itself."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.images.image import to_image, to_tensor
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.answering import answer, answer_rows, answer_with, drawn_latents
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.delta import DeltaNetwork, DeltaShape
from pairedit_sdk.lorweb.mixing import empty_router
from pairedit_sdk.lorweb.parts import BasisLayer, Joined, LearnedInfo
from pairedit_sdk.lorweb.relations import Relation, Relations
from pairedit_sdk.lorweb.rows import AnalogyRows
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_base

PROMPTS = ["", "add a beanie"]


@pytest.fixture(scope="module")
def base(tiny_kontext_folder):
    return load_base(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini")


@pytest.fixture(scope="module")
def asked(face_pairs):
    relations = Relations(
        [
            Relation([(_small(pair.before), _small(pair.after)) for pair in face_pairs(change, 2)])
            for change in ({"hat": "beanie"}, {"age": "old"})
        ]
    )
    return [relations[0], relations[2]]


def _small(picture):
    return picture.resize((64, 64))


def _near(picture, wanted):
    """Whether a picture is the one of these values, in whole steps of 1 / 255."""
    return (to_tensor(picture)[0] - wanted.clamp(-1, 1)).abs().max() < 1.5 * 2 / 255


def _basis(model, encoder, asked, *, layout="sequence", count=3, delta=False, shared=False):
    generator = torch.Generator().manual_seed(0)
    embeddings, patches = encoder.features([asked[0].a])
    width = 3 * embeddings.shape[1]
    layers, router = {}, empty_router(width)
    if count:
        for name in model.lora_targets("attention"):
            high, wide = model.transformer.get_submodule(name).weight.shape
            down = 0.2 * torch.randn(count, 2, wide, generator=generator)
            layers[name] = BasisLayer(down, 0.2 * torch.randn(count, high, 2, generator=generator))
        weights = 1 if shared else len(layers)
        projection = 5 * torch.randn(weights, 4, width, generator=generator)
        router = Router(projection, torch.randn(weights, count, 4, generator=generator), 2.0, False)
    network = None
    if delta:
        said = model.condition("")
        shape = DeltaShape(
            3, 8, 1, embeddings.shape[1], *patches.shape[1:], said.prompt_embeds.shape[-1],
            said.extras["pooled"].shape[-1],
        )  # fmt: skip
        network = DeltaNetwork(shape).requires_grad_(False)
        network.out.weight.normal_(generator=generator)
        network.pooled.weight.normal_(generator=generator)
    settings = BasisSettings(
        count=count, rank=2, key_width=4, layout=layout, resolution=64, unit_embeddings=True,
        delta_tokens=3 if delta else 0,
    )  # fmt: skip
    info = LearnedInfo(
        "web", model.name, model.fingerprint, model.architecture, "mini", settings, 7
    )
    return LoRWeBBasis(layers, router, info, delta=network)


@pytest.mark.parametrize(
    "made",
    [{}, {"shared": True}, {"delta": True}, {"layout": "alone", "count": 0, "delta": True}],
    ids=str,
)
def test_answers_in_one_pass_are_those_one_by_one(base, encoder, asked, made):
    basis = _basis(base, encoder, asked, **made)
    settings = basis.info.settings
    shown = AnalogyRows(base, encoder, asked, settings)
    rows = [shown[k] for k in range(2)]
    how = {"layout": settings.layout, "steps": 2, "seed": 3}
    together = answer_rows(base, basis, rows, PROMPTS, **how)
    assert together.shape == (2, 3, 64, 64)
    assert (together[0] - together[1]).abs().max() > 0.01
    nothing = answer_rows(base, None, rows, PROMPTS, **how)
    assert all(change.abs().max() > 1e-3 for change in together - nothing)
    for number, (row, prompt) in enumerate(zip(rows, PROMPTS, strict=True)):
        alone = answer_rows(base, basis, [row], [prompt], **how)
        assert torch.allclose(alone[0], together[number], atol=1e-4)
        one = asked[number]
        single = answer(
            base, basis, one.a, one.a_prime, one.b, encoder=encoder, prompt=prompt, **how
        )
        assert _near(single.b_prime, together[number])
    other = answer_rows(base, basis, rows, PROMPTS[::-1], **how)
    assert (other - together).abs().max() > 1e-4


def test_the_model_alone_is_that_of_answer_with(base, encoder, asked):
    settings = BasisSettings(layout="sequence", resolution=64)
    row = AnalogyRows(base, encoder, asked, settings)[0]
    found = answer_rows(base, None, [row], [""], layout="sequence", steps=2)
    one = asked[0]
    wanted = answer_with(base, None, one.a, one.a_prime, one.b, layout="sequence", steps=2)
    assert _near(wanted, found[0])


def test_what_cannot_be_answered_together_is_refused(base, encoder, asked):
    basis = _basis(base, encoder, asked)
    row = AnalogyRows(base, encoder, asked, basis.info.settings)[0]
    with pytest.raises(ValueError, match="no grid"):
        answer_rows(base, basis, [row], [""], layout="grid")
    own = Joined(
        Edit({"x_embedder": LoraLayer(torch.ones(1, 64), torch.ones(64, 1))}, EditInfo("own")),
        torch.zeros(len(basis.layers), 4),
    )
    joined = LoRWeBBasis(basis.layers, basis.router, basis.info, [own])
    with pytest.raises(ValueError, match="its own LoRAs alone"):
        answer_rows(base, joined, [row], [""], layout="sequence")


def test_all_rows_are_drawn_from_the_noise_of_one(base, encoder, asked):
    row = AnalogyRows(base, encoder, asked, BasisSettings(layout="alone", resolution=64))[0]
    condition = replace(base.condition(""), references=row.references)
    done = []
    one = drawn_latents(
        base, condition, row.target.shape, steps=2, on_step=lambda *given: done.append(given)
    )
    assert done == [(1, 2), (2, 2)]
    twice = replace(
        condition,
        prompt_embeds=condition.prompt_embeds.expand(2, -1, -1),
        references=tuple(seen.expand(2, -1, -1, -1) for seen in row.references),
    )
    both = drawn_latents(base, twice, row.target.shape, steps=2, rows=2)
    assert torch.allclose(both, one.expand_as(both), atol=1e-4)
    other = drawn_latents(base, condition, row.target.shape, steps=2, seed=1)
    assert (other - one).abs().max() > 0.1
    assert to_image(base.decode(other)).size == (64, 64)
