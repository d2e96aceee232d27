"""Classifier-free guidance (arXiv 2207.12598): two velocities at one state as one.

Tensors are velocities [B, C, h, w].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def classifier_free(
    conditional: torch.Tensor, unconditional: torch.Tensor, scale: float
) -> torch.Tensor:
    """v = v_uncond + s (v_cond − v_uncond), in float32.

    s = 1 is v_cond. Whoever writes v_cond + g (v_cond − v_uncond) has g = s − 1.

    Args:
        conditional: with the prompt.
        unconditional: with the negative prompt, or the empty one.
        scale: s.
    """
    base = unconditional.float()
    return base + scale * (conditional.float() - base)


def with_token_norms(
    velocity: torch.Tensor, like: torch.Tensor, patch: int, least: float = 1e-12
) -> torch.Tensor:
    """The velocity with each token's norm that of the same token of ``like``.

    A token is a patch of all channels. One that is zero stays zero.

    Args:
        velocity: [B, C, h, w], with sides that are multiples of ``patch``.
        like: of the same shape.
        patch: the side of a token's patch in latents.
        least: norms of the velocity below it are taken for it.
    """
    ratio = _token_norms(like, patch) / _token_norms(velocity, patch).clamp(min=least)
    return velocity * F.interpolate(ratio, scale_factor=patch, mode="nearest")


def _token_norms(velocity: torch.Tensor, patch: int) -> torch.Tensor:
    """‖v‖ of each token, [B, 1, h / patch, w / patch]."""
    tokens = F.pixel_unshuffle(velocity, patch)
    norms: torch.Tensor = torch.linalg.vector_norm(tokens, dim=1, keepdim=True)
    return norms
