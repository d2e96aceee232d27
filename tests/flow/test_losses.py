"""The losses against the formulae, written out once more by hand."""

import torch

from pairedit_sdk.flow.losses import (
    Losses,
    content_loss,
    difference_target,
    flowedit_state,
    flowedit_target,
    guidance_target,
    linear_progress,
    semantic_loss,
    slider_loss,
)
from pairedit_sdk.flow.schedule import content_preserving_noising, standard_noising


def _draw(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


SIGMA = torch.tensor([0.2, 0.7])


def test_content_loss_is_equation_3():
    v, x_a, noise, beta = _draw(0), _draw(1), _draw(2), 3.0
    loss = content_loss(v, content_preserving_noising(x_a, noise, SIGMA, beta))
    assert torch.allclose(loss, ((v - beta * noise) ** 2).mean())


def test_semantic_loss_is_equation_10():
    v, x_a, x_b, noise, eta = _draw(0), _draw(1), _draw(2), _draw(3), 4.0
    noised = content_preserving_noising(x_a, noise, SIGMA)
    loss = semantic_loss(v, guidance_target(noised, x_a, x_b, eta))
    assert torch.allclose(loss, ((v - (noise + eta * (x_a - x_b))) ** 2).mean())


def test_standard_noising_aims_at_the_usual_velocity():
    v, x_a, x_b, noise = _draw(0), _draw(1), _draw(2), _draw(3)
    noised = standard_noising(x_a, noise, SIGMA)
    assert torch.allclose(content_loss(v, noised), ((v - (noise - x_a)) ** 2).mean())
    target = guidance_target(noised, x_a, x_b, 2.0)
    assert torch.allclose(target, noise - x_a + 2 * (x_a - x_b))


def test_difference_target_takes_no_gradient_to_the_content_branch():
    v_content = _draw(0).requires_grad_()
    v_semantic = _draw(1).requires_grad_()
    x_a, x_b = _draw(2), _draw(3)
    target = difference_target(v_content, x_a, x_b, 4.0)
    semantic_loss(v_semantic, target).backward()
    assert v_content.grad is None
    expected = 2 * (v_semantic - v_content - 4 * (x_a - x_b)) / v_semantic.numel()
    assert torch.allclose(v_semantic.grad, expected)


def test_slider_loss_fits_each_sign_to_its_image():
    x_a, x_b, noise = _draw(0), _draw(1), _draw(2)
    on_a = content_preserving_noising(x_a, noise, SIGMA)
    on_b = content_preserving_noising(x_b, noise, SIGMA)
    assert slider_loss(noise, noise, on_b, on_a) == 0
    assert torch.allclose(slider_loss(noise + 1, noise - 2, on_b, on_a), torch.tensor(2.5))


def test_flowedit_s_target_is_the_whole_edit_in_the_picture_seen():
    """x̂ = x − σ v of the edited model is the plain model's plus x_B − x_A, wherever z is."""
    v, x_a, x_b, noise = _draw(0), _draw(1), _draw(2), _draw(3)
    noised, s = standard_noising(x_a, noise, SIGMA), SIGMA.view(-1, 1, 1, 1)
    for progress in (torch.zeros(2), torch.tensor([0.3, 1.2])):
        z_tar = flowedit_state(noised, x_a, x_b, progress)
        seen = z_tar - s * flowedit_target(v, x_a, x_b, SIGMA, progress)
        assert torch.allclose(seen, noised.x - s * v + x_b - x_a, atol=1e-5)
    assert torch.allclose(
        linear_progress(torch.tensor([0.8, 0.4, 0.0]), 0.8), torch.tensor([0, 0.5, 1])
    )


def test_a_weight_counts_for_its_row():
    v, target, weight = _draw(0), _draw(1), torch.tensor([0.5, 2.0])
    wanted = (0.5 * (v[0] - target[0]) ** 2 + 2 * (v[1] - target[1]) ** 2).mean() / 2
    assert torch.allclose(semantic_loss(v, target, weight), wanted)


def test_the_total_is_the_sum():
    losses = Losses(torch.tensor(1.5), torch.tensor(2.0))
    assert losses.total == 3.5
