"""The router is its formula; fitting helps or is not kept."""

import torch
import torch.nn.functional as F

from pairedit_sdk.basis import router as router_module
from pairedit_sdk.basis.router import Router, difference_projection, fit, key_of, top, unfitted

WIDTH = 16


def _pairs(edits, count, noise, seed=0, versions=3):
    """Embeddings of pairs: each edit a direction of its own, each pair with noise of its own."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(edits, WIDTH, generator=generator)
    found = []
    for direction in directions:
        a = torch.randn(count, versions, WIDTH, generator=generator)
        change = direction + noise * torch.randn(count, versions, WIDTH, generator=generator)
        found.append(torch.stack([a, a + change], dim=2))
    return found


def test_the_formula_of_a_learned_basis():
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(8, 3 * WIDTH, generator=generator)
    keys = torch.randn(5, 8, generator=generator)
    given = torch.randn(3 * WIDTH, generator=generator)
    router = Router(projection, keys, temperature=8**0.5, normalised=False)
    wanted = torch.softmax((projection @ given) @ keys.T / 8**0.5, dim=0)
    assert torch.allclose(router.coefficients(given), wanted, atol=1e-6)


def test_keys_per_weight_are_one_more_dimension():
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(7, 8, 3 * WIDTH, generator=generator)
    keys = torch.randn(7, 5, 8, generator=generator)
    given = torch.randn(3 * WIDTH, generator=generator)
    whole = Router(projection, keys).coefficients(given)
    assert whole.shape == (7, 5)
    for weight in range(7):
        one = Router(projection[weight], keys[weight]).coefficients(given)
        assert torch.allclose(whole[weight], one, atol=1e-6)


def test_the_unfitted_query_is_the_direction_from_a_to_a_prime():
    a, b, other = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    router = Router(difference_projection(WIDTH), torch.eye(WIDTH))
    query = router.query(torch.cat([a, b, other]))
    assert torch.allclose(query, F.normalize(b - a, dim=0), atol=1e-6)


def test_an_edit_s_key_is_the_mean_direction_of_its_pairs():
    pairs = torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(2))
    directions = F.normalize(pairs[:, 1] - pairs[:, 0], dim=-1)
    assert torch.allclose(key_of(pairs), F.normalize(directions.sum(0), dim=0), atol=1e-6)


def test_the_largest_coefficients_take_the_place_of_all():
    kept = top(torch.tensor([0.1, 0.5, 0.15, 0.25]), 2)
    assert torch.allclose(kept, torch.tensor([0.0, 2 / 3, 0.0, 1 / 3]))
    assert torch.allclose(top(torch.tensor([0.4, 0.6]), 5), torch.tensor([0.4, 0.6]))


def test_clear_edits_are_found_without_fitting_and_fitting_makes_the_choice_clearer():
    pairs = _pairs(6, 3, noise=0.1)
    result = fit(pairs)
    assert (result.before, result.after, result.asked, result.kept) == (1.0, 1.0, 18, True)
    new = [own[0, 0] for own in _pairs(6, 1, noise=0.1)]
    for i, (a, b) in enumerate(new):
        given = torch.cat([a, b, a])
        clearer = result.router.coefficients(given)[i]
        assert clearer >= unfitted(pairs).coefficients(given)[i]


def test_a_fit_that_learns_its_own_pairs_by_heart_is_not_kept(monkeypatch):
    monkeypatch.setattr(router_module, "LEARNING_RATE", 0.1)
    monkeypatch.setattr(router_module, "DRIFT", 0.0)
    pairs = _pairs(6, 3, noise=0.4)
    result = fit(pairs)
    assert not result.kept
    assert torch.equal(result.router.keys, unfitted(pairs).keys)


def test_fitting_learns_to_leave_out_what_says_nothing():
    """A few loud dimensions have nothing to do with the edit."""
    pairs = _pairs(6, 3, noise=0.1)
    generator = torch.Generator().manual_seed(5)
    for own in pairs:
        own[..., 1, :3] += 8 * torch.randn((*own.shape[:2], 3), generator=generator)
    result = fit(pairs)
    assert result.kept
    assert result.after > result.before
    given = torch.cat([pairs[2][0, 0, 0], pairs[2][0, 0, 1], pairs[2][0, 0, 0]])
    assert int(result.router.coefficients(given).argmax()) == 2


def test_single_pairs_cannot_be_left_out():
    result = fit(_pairs(3, 1, noise=0.1))
    assert (result.asked, result.kept) == (0, False)
