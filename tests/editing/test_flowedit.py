"""FlowEdit's loop against changes whose sum is known."""

import pytest
import torch

from pairedit_sdk.editing.flowedit import flowedit, flowedit_step
from pairedit_sdk.flow.solvers import last_state

SIGMAS = torch.linspace(1, 0, 29)
SHAPE = (1, 2, 4, 4)


def _draw(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def _noise(step: int, repeat: int) -> torch.Tensor:
    return _draw(100 * step + repeat)


def test_flowedit_without_an_effect_returns_the_input_bit_for_bit():
    x = _draw(0)

    def same(x_edited, x_plain, sigma):
        assert torch.equal(x_edited, x_plain)
        return x_edited.sin(), x_plain.sin()

    states = list(flowedit(x, SIGMAS, same, _noise, n_max=24, n_avg=2))
    assert len(states) == 24
    assert all(torch.equal(state, x) for state in states)


@pytest.mark.parametrize("n_max", [1, 14, 28])
def test_flowedit_integrates_a_constant_change_over_its_window(n_max):
    x, delta = _draw(0), _draw(1)
    constant = lambda e, p, s: (p * 0 + delta, p * 0)  # noqa: E731
    result = last_state(flowedit(x, SIGMAS, constant, _noise, n_max=n_max))
    assert torch.allclose(result - x, -delta * n_max / 28, atol=1e-5)


def test_flowedit_averages_its_noises():
    x = torch.zeros(SHAPE)
    one_step = torch.tensor([1.0, 0.0])
    (result,) = flowedit(x, one_step, lambda e, p, s: (e, p * 0), _noise, n_max=1, n_avg=4)
    assert torch.allclose(result, -sum(_noise(0, k) for k in range(4)) / 4, atol=1e-6)


def test_every_row_gets_the_mean_over_its_own_noises():
    x = torch.cat([_draw(1), _draw(2), _draw(3)])
    one_step = torch.tensor([0.6, 0.0])

    def noise(step, repeat):
        return torch.cat([_noise(row, repeat) for row in range(3)])

    passes = []

    def velocities(edited, plain, sigma):
        passes.append(len(edited))
        return edited.sin(), plain * 0

    (result,) = flowedit(x, one_step, velocities, noise, n_max=1, n_avg=2)
    assert passes == [6]
    for row in range(3):
        states = [0.4 * x[row] + 0.6 * noise(0, k)[row] for k in range(2)]
        change = (states[0].sin() + states[1].sin()) / 2
        assert torch.allclose(result[row], x[row] - 0.6 * change, atol=1e-6)


def test_it_goes_on_from_a_state_as_if_it_had_never_stopped():
    x = _draw(0)

    def velocities(edited, plain, sigma):
        return edited.tanh() * 2, plain.sin()

    whole = list(flowedit(x, SIGMAS, velocities, _noise, n_max=10, n_avg=2))
    rest = list(flowedit(x, SIGMAS, velocities, _noise, n_max=4, n_avg=2, z=whole[5]))
    assert len(rest) == 4
    assert all(torch.equal(one, two) for one, two in zip(rest, whole[6:], strict=True))


def test_who_looks_half_way_computes_no_more_than_half():
    passes = []

    def velocities(edited, plain, sigma):
        passes.append(float(sigma))
        return edited, plain

    states = flowedit(_draw(0), SIGMAS, velocities, _noise, n_max=10)
    next(states)
    next(states)
    assert passes == SIGMAS[18:20].tolist()


def test_a_step_without_an_effect_returns_the_state_bit_for_bit():
    x, z = _draw(0), _draw(1)

    def same(x_edited, x_plain, sigma):
        assert torch.allclose(x_edited - x_plain, (z - x).repeat_interleave(2, dim=0), atol=1e-6)
        return x_plain.sin(), x_plain.sin()

    step = flowedit_step(x, z, (SIGMAS[4], SIGMAS[5]), same, [_noise(4, 0), _noise(4, 1)])
    assert torch.equal(step, z)


def test_a_step_follows_the_mean_over_its_noises():
    x, noises = torch.zeros(SHAPE), [_noise(0, k) for k in range(4)]
    last = (torch.tensor(1.0), torch.tensor(0.0))
    result = flowedit_step(x, x, last, lambda e, p, s: (e, p * 0), noises)
    assert torch.allclose(result, -sum(noises) / 4, atol=1e-6)
