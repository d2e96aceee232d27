"""PairEdit's losses and our variants, as plain targets for the two branches' velocities.

The content branch θ_c sees only the image a; the semantic branch θ_c + θ_s must differ from it
by the pair's change. All tensors are latents [B, C, H, W]; losses are means over all elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pairedit_sdk.flow.schedule import Noised, column


@dataclass(frozen=True)
class Losses:
    """The two terms of a step. ``total`` is what is differentiated."""

    content: torch.Tensor
    semantic: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        return self.content + self.semantic


def content_loss(velocity: torch.Tensor, noised: Noised) -> torch.Tensor:
    """L_c = ‖v_θc(x_t, σ) − β ε‖² (Eq. 3), or against ε − x_A under standard noising."""
    return (velocity - noised.velocity).square().mean()


def guidance_target(
    noised: Noised, x_a: torch.Tensor, x_b: torch.Tensor, eta: float
) -> torch.Tensor:
    """The semantic target β ε + η (x_A − x_B) (Eq. 10)."""
    return noised.velocity + eta * (x_a - x_b)


def difference_target(
    content_velocity: torch.Tensor, x_a: torch.Tensor, x_b: torch.Tensor, eta: float
) -> torch.Tensor:
    """sg[v_θc] + η (x_A − x_B): the content branch's own error leaves the semantic gradient."""
    return content_velocity.detach() + eta * (x_a - x_b)


def linear_progress(sigma: torch.Tensor, first_sigma: float) -> torch.Tensor:
    """1 − σ / σ_max: the progress from x_A to x_B that is made at σ in equal steps, 0 to 1."""
    return 1 - sigma / first_sigma


def flowedit_state(
    noised: Noised, x_a: torch.Tensor, x_b: torch.Tensor, progress: torch.Tensor
) -> torch.Tensor:
    """FlowEdit's z_tar = z_src + (z − x_A), where z = x_A + progress · (x_B − x_A).

    Args:
        noised: z_src = (1 − σ) x_A + σ ε.
        x_a: before, [B, …].
        x_b: after.
        progress: of z from x_A to x_B, [B].
    """
    return noised.x + column(progress, x_a) * (x_b - x_a)


def flowedit_target(
    plain_velocity: torch.Tensor,
    x_a: torch.Tensor,
    x_b: torch.Tensor,
    sigma: torch.Tensor,
    progress: torch.Tensor,
) -> torch.Tensor:
    """sg[v(z_src)] + (z − x_B) / σ: from wherever z is, straight to x_B.

    FlowEdit moves by dz/dσ = v_edit(z_tar) − v(z_src). This target leads to x_B within
    the σ that is left, and pulls a z that lags behind harder. Read as a denoiser: whatever has
    been done to z, the edited model sees in it the plain model's picture with the whole edit,
    x̂_edit(z_tar) = x̂(z_src) + (x_B − x_A).

    Args:
        plain_velocity: the plain model's at z_src, [B, …].
        x_a: before.
        x_b: after.
        sigma: [B].
        progress: of z from x_A to x_B, [B].
    """
    return plain_velocity.detach() + column((1 - progress) / sigma, x_a) * (x_a - x_b)


def semantic_loss(
    velocity: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """L_s = ‖v_θc+θs(x_t, σ) − target‖² (Eq. 10), each row times its ``weight`` [B] if given."""
    error = (velocity - target).square()
    return error.mean() if weight is None else (column(weight, error) * error).mean()


def slider_loss(
    plus_on_b: torch.Tensor, minus_on_a: torch.Tensor, noised_b: Noised, noised_a: Noised
) -> torch.Tensor:
    """Ablation A, visual Concept Sliders: +θ_s must fit the after image, −θ_s the before image.

    Args:
        plus_on_b: velocity with the semantic LoRA at scale +1 on the noised after image.
        minus_on_a: velocity with it at scale −1 on the noised before image, same ε and σ.
        noised_b: the noised after image.
        noised_a: the noised before image.
    """
    plus = (plus_on_b - noised_b.velocity).square().mean()
    minus = (minus_on_a - noised_a.velocity).square().mean()
    return (plus + minus) / 2
