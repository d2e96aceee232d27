"""Noise, and the two ways of noising an image.

x_0 clean latents, ε standard normal noise, σ in [0, 1] the noise level; any leading shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pairedit_sdk.flow.seeds import derive_seed


@dataclass(frozen=True)
class Noised:
    """A noisy state and what it is made of.

    Attributes:
        x: the noisy latents at σ.
        velocity: the velocity that a perfect model of this one image would predict there.
    """

    x: torch.Tensor
    velocity: torch.Tensor


def standard_noising(x_0: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> Noised:
    """The model's own interpolation x_σ = (1 − σ) x_0 + σ ε, with velocity ε − x_0."""
    s = column(sigma, x_0)
    return Noised((1 - s) * x_0 + s * noise, noise - x_0)


def content_preserving_noising(
    x_0: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor, beta: float = 1.0
) -> Noised:
    """PairEdit's x_t = x_0 + σ β ε, which does not shrink the image; velocity β ε (Eq. 3)."""
    scaled = beta * noise
    return Noised(x_0 + column(sigma, x_0) * scaled, scaled)


def row_noise(like: torch.Tensor, seed: int, *path: int) -> torch.Tensor:
    """ε shaped like ``like``, on the CPU, with a seed of its own for whatever ``path`` numbers: of
    several processes each draws the noise of its rows alone."""
    generator = torch.Generator().manual_seed(derive_seed(seed, *path))
    return torch.randn(like.shape, generator=generator)


def stratified(count: int, levels: int, generator: torch.Generator) -> list[int]:
    """Numbers of ``count`` noise levels out of ``levels``, one in each equal part, in any order."""
    parts = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    picks = (parts * levels).long().clamp(max=levels - 1)
    found: list[int] = picks[torch.randperm(count, generator=generator)].tolist()
    return found


def schedule_shift(
    tokens: int, least: int, most: int, least_shift: float, most_shift: float
) -> float:
    """μ of FLUX's schedule: on a line through two numbers of image tokens and their shifts."""
    slope = (most_shift - least_shift) / (most - least)
    return tokens * slope + (least_shift - slope * least)


def column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """``values`` [B] or a scalar, such as σ, shaped to multiply ``like`` [B, …]."""
    values = values.to(like.dtype)
    return values if values.ndim == 0 else values.view(-1, *([1] * (like.ndim - 1)))


def starting_noise(
    shape: Sequence[int], seed: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """ε at σ = 1, on the CPU: what a diffusers pipeline draws from
    ``torch.Generator("cpu").manual_seed(seed)``.

    Args:
        shape: of the latents, [B, C, h, w].
        seed: of the generator.
        dtype: the model's; a draw in bf16 is not a rounded one in float32.
    """
    return torch.randn(*shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=dtype)


def noise_source(x: torch.Tensor, seed: int, count: int = 1) -> Callable[[int, int], torch.Tensor]:
    """ε for (step, repeat), shaped like x [B, …], or the same ε ``count`` times, [count · B, …].

    Drawn on the CPU, so that a seed means the same on every device.
    """

    def noise(step: int, repeat: int) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed((seed * 1000 + step) * 100 + repeat)
        drawn = torch.randn(x.shape, generator=generator).to(x.device)
        return drawn if count == 1 else torch.cat([drawn] * count)

    return noise
