"""Solvers against problems whose solution is known."""

import pytest
import torch

from pairedit_sdk.flow.solvers import damped, euler, last_state, rf_inversion

SIGMAS = torch.linspace(1, 0, 29)
SHAPE = (1, 2, 4, 4)


def _draw(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def test_euler_is_exact_for_a_straight_flow():
    x_0, noise = _draw(0), _draw(1)
    result = euler(noise, SIGMAS, lambda x, sigma, step: noise - x_0)
    assert torch.allclose(result, x_0, atol=1e-5)


def test_euler_tells_every_step():
    seen = []
    euler(_draw(0), SIGMAS, lambda x, s, i: x * 0, lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 28) for k in range(28)]


def test_damping_keeps_what_is_strong_and_halves_what_is_at_the_threshold():
    change = torch.zeros(2, 3, 16, 16)
    change[0, :, 2:7, 2:7] = 1.0
    change[0, :, 9:14, 9:14] = 0.2
    result = damped(change, 0.2)
    assert result[0, 0, 4, 4] == pytest.approx(1 / 1.04)
    assert result[0, 0, 11, 11] == pytest.approx(0.2 / 2)
    assert torch.equal(result[1], change[1])  # no change at all stays exactly that
    assert torch.allclose(damped(3 * change, 0.2), 3 * result)


def test_damping_takes_next_to_nothing_from_a_change_of_everything():
    change = _draw(0).sign()
    assert torch.allclose(damped(change, 0.1), change / 1.01)


def test_rf_inversion_with_full_control_returns_the_input():
    x, noise = _draw(0), _draw(1)

    def velocity(z, sigma):
        return z.tanh()

    full = {"gamma": 1.0, "eta": 1.0, "controlled": 1.0}
    states = list(rf_inversion(x, SIGMAS, velocity, velocity, noise, **full))
    assert len(states) == 2 * 28
    assert torch.allclose(states[27], noise, atol=1e-4)
    assert torch.allclose(states[-1], x, atol=1e-4)


def test_rf_inversion_follows_a_straight_flow_there_and_back():
    x, noise = _draw(0), _draw(1)

    def straight(z, sigma):
        return noise - x

    result = last_state(rf_inversion(x, SIGMAS, straight, straight, noise))
    assert torch.allclose(result, x, atol=1e-4)


def test_the_last_state_is_told_of_every_step():
    seen = []
    states = [_draw(k) for k in range(3)]
    assert torch.equal(last_state(iter(states), seen.append), states[2])
    assert seen == [1, 2, 3]
    with pytest.raises(ValueError, match="without steps"):
        last_state([])
