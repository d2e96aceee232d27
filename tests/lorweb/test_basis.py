"""A learned basis is its formula: one LoRA of it an ordinary LoRA, a mix of all the mean."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from PIL import Image

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.io.files import read_tensors, write_tensors
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.delta import DeltaNetwork, DeltaShape, network_of
from pairedit_sdk.lorweb.mixing import empty_router
from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo
from pairedit_sdk.lorweb.query import grid_of, query_of
from pairedit_sdk.lorweb.settings import BasisSettings, basis_settings
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_base
from pairedit_sdk.models.protocol import Condition

SHAPES = {"transformer_blocks.0.attn.to_q": (64, 64), "x_embedder": (64, 48)}
WIDTH, KEY = 12, 8


def _basis(count=3, rank=2, shared=False, seed=0, **router):
    generator = torch.Generator().manual_seed(seed)
    layers = {
        name: BasisLayer(
            torch.randn(count, rank, inside, generator=generator),
            torch.randn(count, out, rank, generator=generator),
        )
        for name, (out, inside) in SHAPES.items()
    }
    weights = 1 if shared else len(SHAPES)
    projection = torch.randn(weights, KEY, WIDTH, generator=generator)
    keys = torch.randn(weights, count, KEY, generator=generator)
    settings = BasisSettings(count=count, rank=rank, key_width=KEY)
    info = LearnedInfo("b", "mini-kontext", "f", "flux-1-mini-kontext", "mini", settings, 7)
    return LoRWeBBasis(layers, Router(projection, keys, KEY**0.5, False, **router), info)


def _query(seed=5):
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "tanh"])
def test_the_mix_is_the_weighted_sum_of_the_updates(shared, activation):
    basis = _basis(shared=shared, activation=activation)
    e = basis.coefficients(_query())
    assert e.shape == (1 if shared else 2, 3)
    mix = basis.mixed(e)
    for index, (name, layer) in enumerate(basis.layers.items()):
        q = basis.router.projection[0 if shared else index] @ _query()
        scores = basis.router.keys[0 if shared else index] @ q / KEY**0.5
        own = scores.softmax(0) if activation == "softmax" else scores.tanh()
        wanted = sum(own[i] * layer.up[i] @ layer.down[i] for i in range(3))
        update = mix.layers[name].up @ mix.layers[name].down
        assert torch.allclose(update, wanted, atol=1e-4)
        assert mix.layers[name].rank == 6


def test_one_lora_is_that_lora_bit_for_bit():
    basis = _basis(count=1)
    e = basis.coefficients(_query())
    assert torch.equal(e, torch.ones(2, 1))
    for name, layer in basis.mixed(e).layers.items():
        assert torch.equal(layer.down, basis.layers[name].down[0])
        assert torch.equal(layer.up, basis.layers[name].up[0])


def test_equal_keys_are_the_uniform_mix():
    basis = _basis()
    basis.router.keys.copy_(basis.router.keys[:, :1].expand_as(basis.router.keys).clone())
    e = basis.coefficients(_query())
    assert torch.allclose(e, torch.full((2, 3), 1 / 3))


@pytest.mark.parametrize("shared", [False, True])
def test_an_edit_that_joins_is_chosen_for_its_own_pairs(shared):
    basis = _basis(shared=shared)
    layers = {
        name: LoraLayer(torch.randn(5, i), torch.randn(o, 5)) for name, (o, i) in SHAPES.items()
    }
    own = _query(9) + 0.05 * torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    nothing = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(2)).expand(3, -1)
    mine = Edit(layers, EditInfo("mine", rank=5, base_fingerprint="f"))
    joined = basis.join(mine, own, nothing)
    # What all queries have in common does not speak for the edit.
    still = joined.coefficients(nothing[0])[:, 3]
    assert (still < 0.5).all()
    assert joined.elements == ["1", "2", "3", "mine"]
    e = joined.coefficients(_query(9))
    assert torch.allclose(e[:, 3], torch.full_like(e[:, 3], 0.9), atol=0.05)
    mix = joined.mixed(e)
    name = "x_embedder"
    at = 0 if shared else 1
    wanted = e[at, 3] * layers[name].up @ layers[name].down
    wanted = wanted + sum(
        e[at, i] * basis.layers[name].up[i] @ basis.layers[name].down[i] for i in range(3)
    )
    assert torch.allclose(mix.layers[name].up @ mix.layers[name].down, wanted, atol=1e-4)
    other = Edit(layers, EditInfo("other", rank=5, base="flux", base_fingerprint="g"))
    with pytest.raises(EditError, match=r"'other' was learned on another model than the basis b"):
        basis.join(other, own, nothing)
    strange = {"x_embedder": LoraLayer(torch.ones(1, 7), torch.ones(64, 1))}
    with pytest.raises(EditError, match=r"Layer x_embedder of edit 'far' has another shape"):
        basis.join(Edit(strange, EditInfo("far", rank=1)), own, nothing)
    with pytest.raises(EditError, match="mixes all its elements alike"):
        _basis(activation="uniform").join(mine, own, nothing)


def test_what_is_saved_is_read_again(tmp_path):
    layers = {
        name: LoraLayer(torch.randn(5, i), torch.randn(o, 5)) for name, (o, i) in SHAPES.items()
    }
    basis = _basis(activation="tanh").join(
        Edit(layers, EditInfo("mine", rank=5, pairs=["anna"], settings={"base": "/home/anna/m"})),
        torch.stack([_query(9), _query(10)]),
        torch.stack([_query(3), _query(4)]),
    )
    again = LoRWeBBasis.load(basis.save(tmp_path / "b.safetensors"))
    assert again.info == basis.info
    assert again.elements == basis.elements
    assert torch.equal(again.coefficients(_query()), basis.coefficients(_query()))
    for name, layer in basis.mixed(basis.coefficients(_query())).layers.items():
        assert torch.equal(again.mixed(again.coefficients(_query())).layers[name].up, layer.up)
    said = json.loads((tmp_path / "b.json").read_text())
    assert (said["settings"]["count"], said["activation"]) == (3, "tanh")
    # Only what is read again: nothing of the folders of who learned it.
    assert said["joined"][0]["name"] == "mine"
    assert again.joined[0].edit.info == EditInfo("mine", rank=5)
    assert not any(b"anna" in path.read_bytes() for path in tmp_path.iterdir())


def test_what_is_no_basis_is_said_to_be_so(tmp_path):
    layers = {"x_embedder": LoraLayer(torch.ones(1, 48), torch.ones(64, 1))}
    edit = Edit(layers, EditInfo("hat", rank=1)).save(tmp_path / "hat.safetensors")
    for path in (edit, tmp_path / "nothing.safetensors"):
        with pytest.raises(EditError, match="is no LoRWeB basis"):
            LoRWeBBasis.load(path)


def _delta(pooled=5):
    """A network that says something of a pair, for the built-in encoder's patches."""
    generator = torch.Generator().manual_seed(1)
    pair = [Image.new("RGB", (8, 8))] * 2
    embeddings, patches = load_encoder("mini").features(pair)
    shape = DeltaShape(2, 8, 1, embeddings.shape[1], *patches.shape[1:], 6, pooled)
    network = DeltaNetwork(shape, torch.arange(6.0)).requires_grad_(False)
    network.out.weight.normal_(generator=generator)
    network.scales.uniform_(generator=generator)
    return network


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_a_delta_network_is_saved_and_read_again(tmp_path, face_pairs, alone, kind):
    basis = _basis()
    if alone:
        info = replace(basis.info, settings=BasisSettings(count=0, delta_tokens=2, layout="alone"))
        basis = LoRWeBBasis({}, empty_router(WIDTH), info)
    basis.delta = _delta()
    path = basis.save(tmp_path / "b.safetensors")
    tensors, header = read_tensors(path)
    write_tensors(path, {name: tensor.to(kind) for name, tensor in tensors.items()}, header)
    again = LoRWeBBasis.load(path)
    assert again.info == basis.info
    assert again.elements == basis.elements == ([] if alone else ["1", "2", "3"])
    assert again.delta.shape == basis.delta.shape
    near = {"atol": 0, "rtol": 0} if kind == torch.float32 else {"atol": 5e-3, "rtol": 5e-3}
    for name, tensor in basis.delta.state_dict().items():
        assert again.delta.state_dict()[name].dtype == torch.float32
        assert torch.allclose(again.delta.state_dict()[name], tensor, **near)
    pair = face_pairs({"hat": "beanie"}, 1)[0]
    found, wanted = (
        one.tokens_for(load_encoder("mini"), pair.before, pair.after) for one in (again, basis)
    )
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=10 * near["atol"] or 1e-6)
    assert again.mixed(again.coefficients(_query())).layers.keys() == basis.layers.keys()


def test_a_basis_is_told_of_a_pair_only_with_a_delta_network(face_pairs):
    encoder, pair = load_encoder("mini"), face_pairs({"hat": "beanie"}, 1)[0]
    said = Condition(torch.zeros(1, 4, 6), {"pooled": torch.ones(1, 5)})
    assert _basis().tokens_for(encoder, pair.before, pair.after) is None
    assert _basis().condition(encoder, pair.before, pair.after, said) is said
    basis = _basis()
    basis.delta = _delta()
    tokens, pooled = basis.tokens_for(encoder, pair.before, pair.after)
    found = basis.condition(encoder, pair.before, pair.after, said)
    assert torch.equal(found.prompt_embeds, torch.cat([said.prompt_embeds, tokens], dim=1))
    assert torch.equal(found.extras["pooled"], 1 + pooled)
    nothing, _ = basis.tokens_for(encoder, pair.before, pair.after, scale=0.0)
    assert torch.allclose(nothing, torch.arange(6.0).expand(1, 2, 6), atol=1e-6)
    basis.delta = network_of(replace(basis.delta.shape, patches=3), {
        **basis.delta.state_dict(), "place": basis.delta.place[:3]
    })  # fmt: skip
    with pytest.raises(EditError, match=r"does not fit the basis b\. Expected 3 patches of"):
        basis.tokens_for(encoder, pair.before, pair.after)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "tanh", "uniform"])
def test_coefficients_of_several_queries_are_those_of_each(shared, activation):
    basis = _basis(shared=shared, activation=activation)
    if activation != "uniform":
        own = Edit({"x_embedder": LoraLayer(torch.ones(1, 48), torch.ones(64, 1))}, EditInfo("own"))
        basis = basis.join(own, torch.stack([_query(9)]), torch.stack([_query(3)]))
    queries = torch.stack([_query(k) for k in range(4)])
    found = basis.coefficients_of(queries)
    assert found.shape == (4, 1 if shared else 2, len(basis.elements))
    for query, e in zip(queries, found, strict=True):
        assert torch.allclose(basis.coefficients(query), e, atol=1e-6)
    for number, weight in enumerate(SHAPES):
        wanted = found[:, 0 if shared else number]
        assert torch.equal(basis.of_weight(found, weight), wanted)
    assert torch.equal(basis.of_weight(found, "other"), found.mean(dim=1))


def test_nothing_joins_a_basis_without_loras():
    info = replace(_basis().info, settings=BasisSettings(count=0, delta_tokens=2))
    basis = LoRWeBBasis({}, empty_router(WIDTH), info, delta=_delta())
    layers = {"x_embedder": LoraLayer(torch.ones(1, 48), torch.ones(64, 1))}
    queries = torch.stack([_query()])
    with pytest.raises(EditError, match=r"The basis b has no LoRAs.*count above 0"):
        basis.join(Edit(layers, EditInfo("mine", rank=1)), queries, queries)
    assert basis.without("mine").delta is basis.delta


def test_an_encoder_of_another_width_is_refused(face_pairs):
    pair = face_pairs({"hat": "beanie"}, 1)[0]
    with pytest.raises(EditError, match=r"does not fit the basis b\. Expected 12 numbers"):
        _basis().embed(load_encoder("mini"), pair.before, pair.after, pair.before)


def test_another_base_is_refused(tiny_kontext_folder):
    base = load_base(str(tiny_kontext_folder), device="cpu")
    with pytest.raises(EditError, match="was learned on another model"):
        _basis().require_base(base)


def test_a_sibling_uses_a_basis_and_adds_nothing_to_it(
    tiny_kontext_folder, face_pairs, monkeypatch, caplog
):
    from pairedit_sdk.edits import learned_on
    from pairedit_sdk.lorweb.learning import learn_edit
    from pairedit_sdk.models.families.flux1 import Flux1Kontext

    kinds = frozenset({"flux-1-mini-kontext", "flux-1-mini-kontext-base"})
    monkeypatch.setattr(Flux1Kontext, "siblings", (kinds,))
    monkeypatch.setattr(learned_on, "_noted", set())
    base = load_base(str(tiny_kontext_folder), device="cpu")
    monkeypatch.setitem(SHAPES, "x_embedder", (64, 64))  # the tiny model's own
    basis = _basis()
    basis.info = replace(basis.info, architecture="flux-1-mini-kontext-base")
    with caplog.at_level(logging.WARNING, logger="pairedit_sdk"):
        basis.require_base(base)
    assert f"Edit {basis.info.name} was learned on" in caplog.text
    with pytest.raises(EditError, match="was learned on another model"):
        learn_edit(base, basis, face_pairs({"hat": "beanie"}, 1), name="hat")


def test_a_query_is_three_embeddings_or_one_of_a_grid(face_pairs):
    one, two = face_pairs({"hat": "beanie"}, 2)
    encoder = load_encoder("mini")
    parts = encoder.embed([one.before, one.after, two.before], normalised=False)
    query = query_of(encoder, "pictures", one.before, one.after, two.before)
    assert torch.equal(query, parts.flatten())
    assert torch.allclose(
        torch.nn.functional.normalize(parts, dim=-1),
        encoder.embed([one.before, one.after, two.before]),
    )
    grid = grid_of(one.before, one.after, two.before, two.before)
    assert grid.size == (256, 256)
    assert grid.crop((128, 0, 256, 128)).tobytes() == one.after.tobytes()
    assert len(query_of(encoder, "grid", one.before, one.after, two.before)) == parts.shape[1]


def test_settings_are_the_published_ones_and_checked():
    settings = basis_settings(["steps=100", "lr=2e-3"])
    assert (settings.count, settings.rank, settings.key_width, settings.batch) == (32, 4, 128, 6)
    assert (settings.steps, settings.lr, settings.scaling) == (100, 2e-3, 1.0)
    assert basis_settings(["optim.lr=2e-3", "steps=100"]) == settings
    with pytest.raises(UsageError, match=r"unknown key 'cuont'.*count"):
        basis_settings(["cuont=3"])
    with pytest.raises(UsageError, match="layout is 'row', expected one of grid, sequence"):
        basis_settings(["layout=row"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["count=0"], "count=0 needs delta.tokens above 0"),
        (["count=-1"], "count is -1"),
        (["on_change=1.5"], "on_change is 1.5, expected 0 to 1"),
        (["delta.width=10"], "delta.width is 10, expected a multiple of 4"),
        (["delta.tokens=257"], "delta.tokens is 257, expected 0 to 256"),
        (["delta.layers=0"], "delta.layers is 0, expected 1 to 16"),
    ],
)
def test_settings_of_a_delta_network_are_checked(words, said):
    with pytest.raises(UsageError, match=said):
        basis_settings(words)
    found = basis_settings(["count=0", "delta.tokens=4", "layout=alone"])
    assert (found.count, found.delta_tokens, found.delta.width) == (0, 4, 128)


def test_a_basis_s_file_holds_the_settings_as_earlier_versions_read_them():
    values = BasisSettings().as_dict()
    assert set(values) == {
        "count", "rank", "alpha", "key_width", "activation", "shared", "unit_embeddings", "start",
        "query", "layout", "targets", "encoder", "resolution", "guidance", "caption_dropout",
        "steps", "batch", "accumulate", "lr", "beta1", "beta2", "weight_decay", "optimizer",
        "seed", "gradient_checkpointing", "checkpoint_every", "preview_every", "track",
    }  # fmt: skip
    newer = BasisSettings(keep=3, lr_schedule="cosine", on_change=0.5, delta_tokens=4)
    added = {"keep": 3, "lr_schedule": "cosine", "on_change": 0.5, "delta_tokens": 4}
    assert newer.as_dict() == values | added
    assert BasisSettings(**newer.as_dict()) == newer
