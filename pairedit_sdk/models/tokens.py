"""Tokens of latents' patches, and where in which picture each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

#: Image tokens in one forward pass, so that a large model is not given everything at once.
TOKENS = 8192


def token_count(model: FlowModel, width: int, height: int) -> int:
    """How many tokens a model makes of a picture of this size in pixels."""
    return (height // model.multiple) * (width // model.multiple)


def latent_tokens(model: FlowModel, latents: torch.Tensor) -> int:
    """The same of the picture behind latents [B, C, h, w]."""
    height, width = model.image_size(latents)
    return token_count(model, width, height)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] to tokens of 2×2 patches [B, h·w/4, 4C]."""
    b, c, h, w = latents.shape
    patches = latents.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(b, h * w // 4, c * 4)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of :func:`pack`, for latents of ``height`` × ``width``."""
    b, _, channels = tokens.shape
    patches = tokens.reshape(b, height // 2, width // 2, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(b, channels // 4, height, width)


def position_ids(rows: int, columns: int, picture: int = 0) -> torch.Tensor:
    """Position ids [rows · columns, 3] of a grid of tokens: (picture, row, column)."""
    ids = torch.zeros(rows, columns, 3)
    ids[..., 0] = picture
    ids[..., 1] = torch.arange(rows)[:, None]
    ids[..., 2] = torch.arange(columns)[None, :]
    return ids.view(-1, 3)
