"""Solvers against problems whose solution is known."""

import pytest
import torch

from pairedit_sdk.flow.solvers import damped, euler, flowedit, rf_inversion

SIGMAS = torch.linspace(1, 0, 29)
SHAPE = (1, 2, 4, 4)


def _draw(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def _noise(step: int, repeat: int) -> torch.Tensor:
    return _draw(100 * step + repeat)


def test_euler_is_exact_for_a_straight_flow():
    x_0, noise = _draw(0), _draw(1)
    result = euler(noise, SIGMAS, lambda x, sigma, step: noise - x_0)
    assert torch.allclose(result, x_0, atol=1e-5)


def test_euler_tells_every_step():
    seen = []
    euler(_draw(0), SIGMAS, lambda x, s, i: x * 0, lambda done, total: seen.append((done, total)))
    assert seen == [(k + 1, 28) for k in range(28)]


def test_flowedit_without_an_effect_returns_the_input_bit_for_bit():
    x = _draw(0)

    def same(x_edited, x_plain, sigma):
        assert torch.equal(x_edited, x_plain)
        return x_edited.sin(), x_plain.sin()

    assert torch.equal(flowedit(x, SIGMAS, same, _noise, n_max=24, n_avg=2), x)


@pytest.mark.parametrize("n_max", [1, 14, 28])
def test_flowedit_integrates_a_constant_change_over_its_window(n_max):
    x, delta = _draw(0), _draw(1)
    result = flowedit(x, SIGMAS, lambda e, p, s: (p * 0 + delta, p * 0), _noise, n_max=n_max)
    assert torch.allclose(result - x, -delta * n_max / 28, atol=1e-5)


def test_flowedit_averages_its_noises():
    x = torch.zeros(SHAPE)
    one_step = torch.tensor([1.0, 0.0])
    result = flowedit(x, one_step, lambda e, p, s: (e, p * 0), _noise, n_max=1, n_avg=4)
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

    result = flowedit(x, one_step, velocities, noise, n_max=1, n_avg=2)
    assert passes == [6]
    for row in range(3):
        states = [0.4 * x[row] + 0.6 * noise(0, k)[row] for k in range(2)]
        change = (states[0].sin() + states[1].sin()) / 2
        assert torch.allclose(result[row], x[row] - 0.6 * change, atol=1e-6)


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


def test_flowedit_damps_the_whole_change_at_the_end():
    x, delta = _draw(0), _draw(1)
    given = (x, SIGMAS, lambda e, p, s: (p * 0 + delta, p * 0), _noise)
    plain = flowedit(*given, n_max=24)
    result = flowedit(*given, n_max=24, threshold=0.3)
    assert torch.allclose(result, x + damped(plain - x, 0.3), atol=1e-6)


def test_rf_inversion_with_full_control_returns_the_input():
    x, noise = _draw(0), _draw(1)

    def velocity(z, sigma):
        return z.tanh()

    result = rf_inversion(x, SIGMAS, velocity, velocity, noise, gamma=1.0, eta=1.0, controlled=1.0)
    assert torch.allclose(result, x, atol=1e-4)


def test_rf_inversion_follows_a_straight_flow_there_and_back():
    x, noise = _draw(0), _draw(1)

    def straight(z, sigma):
        return noise - x

    assert torch.allclose(rf_inversion(x, SIGMAS, straight, straight, noise), x, atol=1e-4)
