"""The latents of the pairs, computed once and kept in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.images.image import fit_size, to_tensor
from pairedit_sdk.io.tensor_cache import key, read_kept, write_kept

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

    Args:
        model: whose autoencoder is used.
        pairs: the training pairs.
        resolution: side of the square with the wanted area; ``None`` is the model's own.
        folder: where to keep the latents; ``None`` keeps them in memory only.
    """
    budget = resolution or model.resolution
    result = []
    for pair in pairs:
        size = fit_size(*pair.before.size, budget, model.multiple)
        x_a = _encode(model, pair.before, size, folder)
        x_b = _encode(model, pair.after, size, folder)
        result.append(PairLatents(pair.name, x_a, x_b))
    return result


def _encode(
    model: FlowModel, image: Image.Image, size: tuple[int, int], folder: Path | None
) -> torch.Tensor:
    from PIL import Image as PILImage

    fitted = image if image.size == size else image.resize(size, PILImage.Resampling.LANCZOS)
    path = None
    if folder is not None:
        name = key("latents", model.fingerprint, model.precision, str(size), fitted.tobytes())
        path = folder / f"latents-{name}.safetensors"
        kept = read_kept(path, "latents")
        if kept is not None:
            return kept["latents"].to(model.device)
    latents = model.encode(to_tensor(fitted)).float()
    if path is not None:
        write_kept(path, {"latents": latents})
    return latents
