"""The latents of the pairs, computed once and kept in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.images.image import fit_size, resized, to_tensor
from pairedit_sdk.io.tensor_cache import key, read_kept, write_kept
from pairedit_sdk.models.round_trip import warn_if_unlike

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.pair_set import PairSet


@dataclass(frozen=True)
class PairLatents:
    """A pair as the model sees it: latents [1, C, h, w] in float32 on the model's device."""

    name: str
    x_a: torch.Tensor
    x_b: torch.Tensor


def encode_pairs(
    model: FlowModel, pairs: PairSet, resolution: int | None = None, folder: Path | None = None
) -> list[PairLatents]:
    """Encode every picture of the pairs once, keeping its aspect ratio.

    Says, once, if the model does not know such pictures.

    Args:
        model: whose autoencoder is used.
        pairs: the training pairs.
        resolution: side of the square with the wanted area; ``None`` is the model's own.
        folder: where to keep the latents; ``None`` keeps them in memory only.
    """
    budget = resolution or model.resolution
    result, befores = [], []
    for pair in pairs:
        size = fit_size(*pair.before.size, budget, model.multiple)
        before, after = (resized(image, size) for image in (pair.before, pair.after))
        x_a, x_b = (_encode(model, image, folder) for image in (before, after))
        result.append(PairLatents(pair.name, x_a, x_b))
        befores.append(before)
    warn_if_unlike(model, map(to_tensor, befores), [pair.x_a for pair in result])
    return result


def _encode(model: FlowModel, fitted: Image.Image, folder: Path | None) -> torch.Tensor:
    path = None
    if folder is not None:
        name = key(
            "latents", model.fingerprint, model.precision, str(fitted.size), fitted.tobytes()
        )
        path = folder / f"latents-{name}.safetensors"
        kept = read_kept(path, "latents")
        if kept is not None:
            return kept["latents"].to(model.device)
    latents = model.encode(to_tensor(fitted)).float()
    if path is not None:
        write_kept(path, {"latents": latents})
    return latents
