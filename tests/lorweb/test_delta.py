"""The delta network: the same for all pairs at first, and a file of it is checked."""

import pytest
import torch

from pairedit_sdk.lorweb.delta import DeltaNetwork, DeltaShape, PairFeatures, network_of

SHAPE = DeltaShape(
    tokens=3, width=8, layers=2, embedding=6, patches=5, features=4, prompt=10, pooled=7
)


def _seen(count=4, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return PairFeatures(
        scale * torch.randn(count, 2, SHAPE.embedding, generator=generator),
        scale * torch.randn(count, 2, SHAPE.patches, SHAPE.features, generator=generator),
    )


def _learned(shape=SHAPE):
    """A network whose outputs depend on the pair."""
    generator = torch.Generator().manual_seed(1)
    network = DeltaNetwork(shape, torch.arange(float(shape.prompt))).requires_grad_(False)
    for part in (network.out, network.pooled):
        if part is not None:
            part.weight.normal_(generator=generator)
    return network


def test_at_first_every_pair_gives_the_start_and_no_change_of_the_pooled():
    start = torch.arange(10.0)
    tokens, pooled = DeltaNetwork(SHAPE, start)(_seen())
    assert torch.equal(tokens, start.expand(4, 3, 10))
    assert torch.equal(pooled, torch.zeros(4, 7))


def test_pairs_differ_once_it_has_learned_and_rows_do_not_see_each_other():
    network, seen = _learned(), _seen()
    tokens, pooled = network(seen)
    assert tokens.shape == (4, 3, 10)
    assert (tokens[0] - tokens[1]).abs().max() > 0.1
    assert (tokens[0, 0] - tokens[0, 1]).abs().max() > 0.1
    assert (pooled[0] - pooled[1]).abs().max() > 0.1
    alone = [network(PairFeatures(seen.whole[[k]], seen.patches[[k]])) for k in range(4)]
    assert torch.allclose(torch.cat([one for one, _ in alone]), tokens, atol=1e-5)
    assert torch.allclose(torch.cat([two for _, two in alone]), pooled, atol=1e-5)


def test_it_sees_where_something_changed():
    network, seen = _learned(), _seen(1)
    moved = PairFeatures(seen.whole, seen.patches.flip(2))
    assert not torch.allclose(network(seen)[0], network(moved)[0], atol=1e-3)


def test_the_same_seed_is_the_same_network_and_draws_nothing_of_others():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = DeltaNetwork(SHAPE), DeltaNetwork(SHAPE), DeltaNetwork(SHAPE, seed=1)
    assert torch.equal(torch.rand(3), wanted)
    assert all(torch.equal(t, two.state_dict()[n]) for n, t in one.state_dict().items())
    assert not torch.equal(one.queries, other.queries)


def test_scale_0_is_what_it_says_of_every_pair_and_1_is_all():
    network, seen = _learned(), _seen()
    network.pooled.bias.normal_(generator=torch.Generator().manual_seed(2))
    tokens, pooled = network.scaled(seen, 0.0)
    assert torch.allclose(tokens, network.out.bias.expand_as(tokens))
    assert torch.allclose(pooled, network.pooled.bias.expand_as(pooled))
    for found, wanted in zip(network.scaled(seen, 1.0), network(seen), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)
    for half, none, whole in zip(
        network.scaled(seen, 0.5), (tokens, pooled), network(seen), strict=True
    ):
        assert torch.allclose(half, (none + whole) / 2, atol=1e-5)


def test_a_model_without_a_pooled_embedding_gets_no_change_of_one():
    network = _learned(DeltaShape(**{**SHAPE.__dict__, "pooled": 0}))
    assert network(_seen())[1] is None
    assert network.scaled(_seen(), 0.5)[1] is None


def test_measured_differences_and_features_have_a_mean_square_of_1():
    network = DeltaNetwork(SHAPE)
    seen = _seen(50)
    seen = PairFeatures(
        seen.whole * torch.tensor([0.01, 3.0])[:, None],
        seen.patches * torch.tensor([20.0, 0.5])[:, None, None],
    )
    network.measure(seen)
    whole = seen.whole * network.scales[0][:, None]
    patches = seen.patches * network.scales[1][:, None, None]
    assert torch.allclose(whole.square().mean(dim=(0, 2)), torch.ones(2), atol=1e-4)
    assert torch.allclose(patches.square().mean(dim=(0, 2, 3)), torch.ones(2), atol=1e-4)
    assert not network.scales.requires_grad


def test_pairs_that_show_no_difference_leave_finite_numbers():
    network, nothing = DeltaNetwork(SHAPE), _seen(scale=0.0)
    network.measure(nothing)
    assert all(part.isfinite().all() for part in network(nothing))


def test_batches_are_joined_in_order():
    seen = _seen()
    parts = [PairFeatures(seen.whole[s], seen.patches[s]) for s in (slice(1), slice(1, 4))]
    joined = PairFeatures.joined(parts).to(torch.device("cpu"))
    assert torch.equal(joined.whole, seen.whole)
    assert torch.equal(joined.patches, seen.patches)


def test_a_network_is_made_of_its_tensors_and_learns_no_further():
    network = _learned()
    network.measure(_seen(seed=3))
    again = network_of(SHAPE, network.state_dict())
    for found, wanted in zip(again(_seen()), network(_seen()), strict=True):
        assert torch.equal(found, wanted)
    assert not any(p.requires_grad for p in again.parameters())
    half = network_of(SHAPE, {n: t.half() for n, t in network.state_dict().items()})
    assert all(p.dtype == torch.float32 for p in half.parameters())
    assert torch.allclose(half(_seen())[0], network(_seen())[0], atol=0.05)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("queries"), "delta/queries is missing"),
        (lambda t: t.update(strange=torch.ones(1)), "delta/strange is not known"),
        (lambda t: t.update({"out.weight": torch.ones(10, 9)}), r"delta/out.weight is \[10, 9\]"),
        (lambda t: t.update(scales=torch.ones(2, 2, dtype=torch.int)), r"delta/scales is \[2, 2\]"),
        (lambda t: t["place"][0].fill_(torch.nan), "delta/place is not of finite numbers"),
        (lambda t: t["place"][0].fill_(torch.inf), "delta/place is not of finite numbers"),
    ],
)
def test_tensors_of_another_network_are_refused(change, said):
    tensors = {name: tensor.clone() for name, tensor in DeltaNetwork(SHAPE).state_dict().items()}
    change(tensors)
    with pytest.raises(ValueError, match=said):
        network_of(SHAPE, tensors)
