"""An edit learned in a basis: under its references, at its share, and nothing else is changed."""

import json
from dataclasses import replace

import pytest
import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.errors import BaseModelError, EditError, UsageError
from pairedit_sdk.images.image import read_image
from pairedit_sdk.lora.adapters import attached, lora_layers
from pairedit_sdk.lorweb import rows
from pairedit_sdk.lorweb.answering import answer
from pairedit_sdk.lorweb.basis import OWN_SHARE, LoRWeBBasis
from pairedit_sdk.lorweb.learning import learn_edit, own_analogies, own_shares
from pairedit_sdk.lorweb.own_element import OwnElement
from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo
from pairedit_sdk.lorweb.rows import AnalogyRows
from pairedit_sdk.lorweb.settings import BasisSettings, OwnEditSettings, own_edit_settings
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_base

COUNT, RANK, KEY = 2, 2, 8
SMALL = OwnEditSettings(steps=3, batch=2, rank=2, checkpoint_every=2)


@pytest.fixture(scope="module")
def base(tiny_kontext_folder):
    return load_base(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def encoder(base):
    return load_encoder(str(base.name))


@pytest.fixture(scope="module")
def pairs(face_pairs):
    return face_pairs({"hat": "beanie"}, 3)


@pytest.fixture(scope="module")
def make(base, encoder):
    """Bases of random LoRAs and keys, on the attention of the small Kontext."""

    def made(layout="sequence", activation="softmax", shared=False):
        generator = torch.Generator().manual_seed(0)
        layers = {}
        for name in base.lora_targets("attention"):
            linear = base.transformer.get_submodule(name)
            layers[name] = BasisLayer(
                torch.randn(COUNT, RANK, linear.in_features, generator=generator) / 8,
                torch.randn(COUNT, linear.out_features, RANK, generator=generator) / 8,
            )
        weights = 1 if shared else len(layers)
        width = 3 * len(encoder.embed([_black()], normalised=True).flatten())
        router = Router(
            torch.randn(weights, KEY, width, generator=generator),
            torch.randn(weights, COUNT, KEY, generator=generator),
            KEY**0.5,
            False,
            activation,
        )
        settings = BasisSettings(
            count=COUNT, rank=RANK, key_width=KEY, layout=layout, unit_embeddings=True
        )
        known = (str(base.name), base.fingerprint, base.architecture, str(base.name))
        return LoRWeBBasis(layers, router, LearnedInfo("b", *known, settings, 1))

    return made


def _black():
    from PIL import Image

    return Image.new("RGB", (64, 64))


def _layers(basis, name):
    return next(own.edit.layers for own in basis.joined if own.edit.name == name)


def _same(one, other):
    assert one.elements == other.elements
    for mine, theirs in zip(one.joined, other.joined, strict=True):
        assert torch.equal(mine.keys, theirs.keys)
        for name, layer in mine.edit.layers.items():
            assert torch.equal(layer.down, theirs.edit.layers[name].down)
            assert torch.equal(layer.up, theirs.edit.layers[name].up)


def test_every_pair_is_answered_with_every_other_as_the_example(pairs, face_pairs):
    found = own_analogies(pairs)
    assert len(found) == 6
    for analogy in found:
        assert analogy.a.tobytes() != analogy.b.tobytes()
    afters = {pair.before.tobytes(): pair.after.tobytes() for pair in pairs}
    for analogy in found:
        assert afters[analogy.a.tobytes()] == analogy.a_prime.tobytes()
        assert afters[analogy.b.tobytes()] == analogy.b_prime.tobytes()
    assert len({(one.a.tobytes(), one.b.tobytes()) for one in found}) == 6
    (alone,) = own_analogies(face_pairs({"hat": "beanie"}, 1))
    assert (alone.a, alone.a_prime) == (alone.b, alone.b_prime)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "tanh"])
def test_the_rows_of_a_batch_are_the_mixes_that_answer(
    base, make, encoder, pairs, shared, activation
):
    """In training a scale for each row and LoRA; in use one ordinary LoRA. They are the same."""
    basis = make(activation=activation, shared=shared)
    settings = OwnEditSettings(rank=3, alpha=2.0)
    queries, nothing = basis.asked(encoder, pairs)
    # Another edit has joined before.
    basis = learn_edit(base, basis, list(_pictures(pairs)), SMALL, name="earlier")
    e = torch.stack([basis.coefficients(q, basis.key_for(queries, nothing)) for q in queries[:2]])
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 16, 8, 8, generator=generator)
    condition = base.looking_at("", [x, x, x])
    sigma = torch.tensor(0.5)
    element = OwnElement(base, basis, settings)
    try:
        with torch.no_grad():
            for name, parameter in element.parameters.items():
                if name.endswith("lora_B"):
                    parameter.copy_(torch.randn(parameter.shape, generator=generator))
            element.mix(e)
            together = base.velocity(x, sigma, condition, 1.0)
            element.rest()
            alone = base.velocity(x, sigma, condition, 1.0)
        learned = element.finished()
    finally:
        from pairedit_sdk.lora.adapters import detach_all

        detach_all(base.transformer)
    with torch.no_grad():
        assert torch.equal(alone, base.velocity(x, sigma, condition, 1.0))
    edit = _edit(basis, learned)
    joined = basis.join(edit, queries, nothing)
    for row in range(2):
        own = base.looking_at("", [x[row : row + 1]] * 3)
        mix = joined.mixed(joined.coefficients(queries[row]))
        with torch.no_grad(), attached(base.transformer, {"mix": mix.layers}):
            used = base.velocity(x[row : row + 1], sigma, own, 1.0)
        assert torch.allclose(together[row : row + 1], used, atol=1e-3)


def _pictures(pairs):
    return [(pair.before, pair.after) for pair in pairs]


def _edit(basis, layers):
    from pairedit_sdk.edits.edit import Edit, EditInfo

    info = basis.info
    return Edit(layers, EditInfo("mine", info.base, base_fingerprint=info.base_fingerprint, rank=3))


@pytest.mark.parametrize("layout", ["grid", "sequence"])
@pytest.mark.parametrize("changed", [{}, {"objective": "flow", "hidden": 0.5}, {"in_mix": False}])
def test_an_edit_is_learned_and_nothing_else_is_changed(base, make, pairs, layout, changed, caplog):
    basis = make(layout)
    weights = {n: p.clone() for n, p in base.transformer.named_parameters()}
    caplog.clear()
    joined = learn_edit(base, basis, pairs, replace(SMALL, **changed), name="hat")
    assert list(lora_layers(base.transformer)) == []
    assert all(torch.equal(p, weights[n]) for n, p in base.transformer.named_parameters())
    assert caplog.text == ""
    assert basis.elements == ["1", "2"]
    assert joined.elements == ["1", "2", "hat"]
    assert all(layer.up.abs().max() > 0 for layer in _layers(joined, "hat").values())
    for name, layer in basis.layers.items():
        assert torch.equal(layer.up, joined.layers[name].up)
    assert torch.equal(basis.router.keys, joined.router.keys)


def test_the_basis_is_part_of_what_is_learned_only_in_the_mix(base, make, pairs):
    basis = make()
    louder = LoRWeBBasis(
        {n: BasisLayer(one.down, 2 * one.up) for n, one in basis.layers.items()},
        basis.router,
        basis.info,
    )
    inside, outside = SMALL, replace(SMALL, in_mix=False)
    learned = [
        [_layers(learn_edit(base, one, pairs, how, name="hat"), "hat") for one in (basis, louder)]
        for how in (inside, outside)
    ]
    name = next(iter(basis.layers))
    assert not torch.equal(learned[0][0][name].up, learned[0][1][name].up)
    assert torch.equal(learned[1][0][name].up, learned[1][1][name].up)


def test_the_gain_is_in_the_edit_of_several_pairs_and_not_in_that_of_one(base, make, pairs):
    basis, one = make(), _pictures(pairs)[:1]
    plain, more = (replace(SMALL, gain=gain) for gain in (1.0, 2.0))
    for given, factor in ((pairs, 2.0), (one, 1.0)):
        first, second = (
            _layers(learn_edit(base, basis, given, how, name="hat"), "hat") for how in (plain, more)
        )
        for name, layer in first.items():
            assert torch.allclose(second[name].up, factor * layer.up)


def test_the_after_picture_of_a_single_pair_is_not_seen(base, make, pairs):
    basis, (pair,) = make(), _pictures(pairs)[:1]
    found = [
        _layers(learn_edit(base, basis, [pair], replace(SMALL, hidden=hidden), name="hat"), "hat")
        for hidden in (0.0, 1.0)
    ]
    assert all(torch.equal(layer.up, found[1][name].up) for name, layer in found[0].items())


def test_the_share_in_learning_is_that_of_an_example_that_the_key_does_not_know(
    base, make, encoder, pairs
):
    basis = make()
    seen = AnalogyRows(base, encoder, own_analogies(pairs), basis.info.settings)
    queries, nothing = basis.asked(encoder, pairs)
    shares = own_shares(basis, seen, queries, nothing)
    assert shares.shape == (6, len(basis.layers), 3)
    assert torch.allclose(shares.sum(dim=-1), torch.ones(6, len(basis.layers)), atol=1e-5)
    # The first row shows the second pair: its key is that of the first and the third.
    key = basis.key_for(queries[[0, 2]], nothing[[0, 2]])
    assert torch.allclose(shares[0], basis.coefficients(seen[0].query, key))


def test_a_single_pair_has_the_share_that_it_gets_when_it_is_shown(base, make, encoder, face_pairs):
    basis, one = make(), face_pairs({"hat": "beanie"}, 1)
    seen = AnalogyRows(base, encoder, own_analogies(one), basis.info.settings)
    shares = own_shares(basis, seen, *basis.asked(encoder, one))
    assert shares.shape[0] == 1
    assert shares[0, :, -1].mean() == pytest.approx(OWN_SHARE, abs=0.05)


def test_the_same_seed_gives_the_same_edit_and_a_resumed_run_too(base, make, pairs, tmp_path):
    basis, seen = make(), replace(SMALL, preview_every=3)
    whole = learn_edit(base, basis, pairs, seen, name="hat", run_dir=tmp_path / "whole")
    (path,) = (tmp_path / "whole" / "previews").iterdir()
    assert read_image(path).width > 5 * base.resolution

    class StopError(Exception):
        pass

    def stop(info):
        if info.step == 3:
            raise StopError

    with pytest.raises(StopError):
        learn_edit(base, basis, pairs, SMALL, name="hat", run_dir=tmp_path / "run", on_step=stop)
    again = {"name": "hat", "run_dir": tmp_path / "run", "resume": True}
    with pytest.raises(UsageError, match="was on other pictures"):
        learn_edit(base, make("grid"), pairs, SMALL, **again)
    _same(whole, learn_edit(base, basis, pairs, SMALL, **again))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def test_a_preview_is_drawn_of_more_analogies_than_are_kept(
    base, make, pairs, tmp_path, monkeypatch
):
    drawn = []
    for kept in (6, 1):
        monkeypatch.setattr(rows, "KEPT", kept)
        run = tmp_path / str(kept)
        seen = replace(SMALL, preview_every=3)
        learn_edit(base, make(), pairs, seen, name="hat", run_dir=run)
        (path,) = (run / "previews").iterdir()
        drawn.append(read_image(path).tobytes())
    assert drawn[0] == drawn[1]


def test_what_is_learned_is_saved_and_answers(base, make, encoder, pairs, tmp_path):
    joined = learn_edit(base, make(), pairs, SMALL, name="hat")
    read = LoRWeBBasis.load(joined.save(tmp_path / "b.safetensors"))
    _same(joined, read)
    one, two = list(pairs)[:2]
    found = answer(base, read, one.before, one.after, two.before, encoder=encoder, steps=2)
    assert found.coefficients["hat"] > 1 / 3
    assert read.without("hat").elements == ["1", "2"]
    assert read.without("other").elements == read.elements


def test_what_cannot_be_learned_is_said(base, make, pairs, tiny_model):
    basis = make()
    with pytest.raises(BaseModelError, match="takes no condition images"):
        learn_edit(tiny_model, basis, pairs, SMALL, name="hat")
    with pytest.raises(UsageError, match="has an element 1 already"):
        learn_edit(base, basis, pairs, SMALL, name="1")
    with pytest.raises(UsageError, match="rank is 80, above the width"):
        learn_edit(base, basis, pairs, replace(SMALL, rank=80), name="hat")
    with pytest.raises(EditError, match="mixes all its elements alike"):
        learn_edit(base, make(activation="uniform"), pairs, SMALL, name="hat")
    with pytest.raises(UsageError, match="pairs"):
        learn_edit(base, basis, [], SMALL, name="hat")
    with pytest.raises(UsageError, match=r"unknown key 'stesp' \(Did you mean steps\)"):
        own_edit_settings(["stesp=1"])
    with pytest.raises(UsageError, match=r"objective is .*lag is"):
        own_edit_settings(["lag=2", "objective=pairedit"])
    assert list(lora_layers(base.transformer)) == []
