import pytest
import torch

from pairedit_sdk.flow.schedule import (
    content_preserving_noising,
    schedule_shift,
    standard_noising,
    starting_noise,
)


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_noise_of_a_seed_is_that_of_diffusers_and_of_the_model_s_own_dtype():
    wanted = torch.randn(2, 3, 4, 4, generator=torch.Generator("cpu").manual_seed(7))
    assert torch.equal(starting_noise((2, 3, 4, 4), 7), wanted)
    halved = starting_noise((1, 3, 4, 4), 7, torch.bfloat16)
    assert halved.dtype == torch.bfloat16
    assert not torch.equal(starting_noise((2, 3, 4, 4), 8), wanted)


def test_standard_noising_ends_at_image_and_noise():
    x_0, noise = _draw(2, 3, 4, 4), _draw(2, 3, 4, 4) * 2
    noised = standard_noising(x_0, noise, torch.tensor([0.0, 1.0]))
    assert torch.equal(noised.x[0], x_0[0])
    assert torch.equal(noised.x[1], noise[1])
    assert torch.equal(noised.velocity, noise - x_0)


def test_standard_noising_has_its_velocity_as_derivative():
    x_0, noise = _draw(1, 2, 2, 2).double(), _draw(1, 2, 2, 2).double() + 1
    low, high = (standard_noising(x_0, noise, torch.tensor(s)).x for s in (0.3, 0.4))
    assert torch.allclose((high - low) / 0.1, noise - x_0, atol=1e-6)


def test_content_preserving_noising_does_not_shrink_the_image():
    x_0, noise = _draw(2, 3, 4, 4), _draw(2, 3, 4, 4) - 1
    noised = content_preserving_noising(x_0, noise, torch.tensor([0.25, 1.0]), beta=3.0)
    assert torch.allclose(noised.x[0], x_0[0] + 0.75 * noise[0])
    assert torch.allclose(noised.x[1], x_0[1] + 3 * noise[1])
    assert torch.equal(noised.velocity, 3 * noise)


@pytest.mark.parametrize("tokens", [16, 256, 1024, 4096, 9000])
@pytest.mark.parametrize("line", [(256, 4096, 0.5, 1.15), (16, 64, 0.2, 0.9)])
def test_the_schedules_shift_is_that_of_diffusers(tokens, line):
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    assert schedule_shift(tokens, *line) == calculate_shift(tokens, *line)
