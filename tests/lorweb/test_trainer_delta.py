"""A training with a delta network, or with more weight where the pictures differ."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.flow.schedule import row_noise
from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.images.image import read_image
from pairedit_sdk.lorweb import trainer as module
from pairedit_sdk.lorweb.answering import answer
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.mixture import Mixture
from pairedit_sdk.lorweb.relations import Relation, Relations
from pairedit_sdk.lorweb.rows import AnalogyRows, change_weights
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.lorweb.shown import shown_change
from pairedit_sdk.lorweb.trainer import BasisTask, train_basis
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_base

ALONE = BasisSettings(
    count=0, layout="alone", delta_tokens=2, delta_width=8, delta_layers=1, resolution=64,
    steps=4, batch=2, checkpoint_every=2,
)  # fmt: skip
BOTH = ALONE.with_values(
    count=2, rank=2, key_width=4, targets="attention", layout="sequence", on_change=0.5
)


@pytest.fixture(scope="module")
def base(tiny_kontext_folder):
    return load_base(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def relations(face_pairs):
    found = []
    for change, caption in (({"hat": "beanie"}, "add a beanie"), ({"age": "old"}, "")):
        pairs = [(pair.before, pair.after) for pair in face_pairs(change, 2)]
        found.append(Relation(pairs, caption))
    return Relations(found)


def _tensors(basis):
    found = {f"delta.{n}": t for n, t in basis.delta.state_dict().items()}
    for name, layer in basis.layers.items():
        found |= {f"{name}.down": layer.down, f"{name}.up": layer.up}
    return found | {"keys": basis.router.keys, "projection": basis.router.projection}


def _same(one, other):
    ours, theirs = _tensors(one), _tensors(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("settings", [ALONE, BOTH], ids=["alone", "both"])
def test_it_learns_is_reproducible_and_resumes_bit_for_bit(base, relations, tmp_path, settings):
    weights = {n: p.clone() for n, p in base.transformer.named_parameters()}
    begun = train_basis(base, relations, replace(settings, steps=1), name="b")
    whole = train_basis(base, relations, settings, name="b", run_dir=tmp_path / "whole")
    assert all(torch.equal(p, weights[n]) for n, p in base.transformer.named_parameters())
    _same(whole, train_basis(base, relations, settings, name="b"))

    class StopError(Exception):
        pass

    def stop(info):
        if info.step == 3:
            raise StopError

    with pytest.raises(StopError):
        train_basis(base, relations, settings, name="b", run_dir=tmp_path / "run", on_step=stop)
    _same(
        whole,
        train_basis(base, relations, settings, name="b", run_dir=tmp_path / "run", resume=True),
    )
    first, last = _tensors(begun), _tensors(whole)
    # Measured, not learned; and a basis of no LoRAs has a router of nothing.
    fixed = {"delta.scales"} | (set() if settings.count else {"keys", "projection"})
    assert {name for name in last if torch.equal(first[name], last[name])} == fixed
    assert whole.delta.out.weight.abs().max() > 0
    assert len(whole.layers) == (0 if not settings.count else len(begun.layers))


def test_at_first_the_tokens_are_the_mean_of_the_empty_prompt_s(base, relations):
    encoder = load_encoder(str(base.name))
    rows = AnalogyRows(base, encoder, relations, ALONE)
    said = base.condition("")
    network = module._delta_network(rows, said)
    assert network.shape.tokens == 2
    seen = [rows[k].features for k in range(2)]
    whole = torch.cat([one.whole for one in seen]) * network.scales[0][:, None]
    assert 0.2 < float(whole.square().mean()) < 5
    for one in seen:
        tokens, pooled = network(one)
        wanted = said.prompt_embeds.mean(dim=1, keepdim=True)
        assert torch.allclose(tokens, wanted.expand(-1, 2, -1), atol=1e-6)
        assert pooled is None or not pooled.any()
    assert (
        module._delta_network(AnalogyRows(base, encoder, relations, BasisSettings()), said) is None
    )


def test_what_is_learned_answers_and_is_an_edit_after_it_was_read_again(base, relations, tmp_path):
    seen = replace(ALONE, preview_every=4)
    basis = train_basis(base, relations, seen, name="b", run_dir=tmp_path / "run")
    _same(basis, train_basis(base, relations, ALONE, name="b"))
    (path,) = (tmp_path / "run" / "previews").iterdir()
    assert read_image(path).width > 5 * 64
    again = LoRWeBBasis.load(basis.save(tmp_path / "b.safetensors"))
    _same(again, basis)
    one, encoder = relations[0], load_encoder(str(base.name))
    found = [
        answer(base, b, one.a, one.a_prime, one.b, encoder=encoder, steps=2) for b in (basis, again)
    ]
    assert found[0].b_prime.tobytes() == found[1].b_prime.tobytes()
    assert found[0].b_prime.size == one.b.size
    assert found[0].coefficients == {}
    change = shown_change(base, again, one.a, one.a_prime, one.b, encoder=encoder)
    assert (dict(change.mix), change.references, change.tokens.shape[1]) == ({}, (), 2)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_loss_is_the_flow_loss_with_its_share_where_the_pictures_differ(base, relations, share):
    """Written out again, with no LoRA that does anything yet."""
    settings = BOTH.with_values(on_change=share, delta_tokens=0, caption_dropout=0.0)
    rows = AnalogyRows(base, load_encoder(str(base.name)), relations, settings)
    captions = {text: base.condition(text) for text in ("", "add a beanie")}
    mixture = Mixture(base, settings, len(rows[0].query))
    try:
        task = BasisTask(mixture, rows, captions)
        with torch.no_grad():
            found = sum(float(part["loss"]) for part in task.losses(3, range(2)))
    finally:
        mixture.close()
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, 3))
    chosen = torch.randint(len(rows), (2,), generator=generator).tolist()
    torch.rand(2, generator=generator)
    levels = torch.randint(1000, (2,), generator=generator)
    wanted = 0.0
    for k, index in enumerate(chosen):
        row = rows[index]
        noise = row_noise(row.target, settings.seed, 3, k)
        sigma = base.sigmas(1000, *base.image_size(row.target))[levels[k]]
        condition = replace(captions[row.caption], references=row.references)
        with torch.no_grad():
            v = base.velocity(
                (1 - sigma) * row.target + sigma * noise, sigma, condition, settings.guidance
            )
        error = (v - (noise - row.target)).square()
        if share:
            error = error * change_weights([row], share)
        wanted += float(error.mean()) / 2
    assert found == pytest.approx(wanted, rel=1e-4)


def test_a_gradient_reaches_the_network_through_the_frozen_model(base, relations):
    rows = AnalogyRows(base, load_encoder(str(base.name)), relations, ALONE)
    captions = {text: base.condition(text) for text in ("", "add a beanie")}
    mixture = Mixture(base, ALONE, len(rows[0].query), module._delta_network(rows, captions[""]))
    try:
        assert all(name.startswith("delta.") for name in mixture.parameters)
        assert "delta.scales" not in mixture.parameters
        for part in BasisTask(mixture, rows, captions).losses(0, range(2)):
            part["loss"].backward()
        assert mixture.parameters["delta.out.weight"].grad.abs().max() > 0
        assert mixture.parameters["delta.out.bias"].grad.abs().max() > 0
    finally:
        mixture.close()
