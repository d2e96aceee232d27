"""Contrastive training of the small CLIP: pictures against their partial captions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import CLIPModel

from pairedit_sdk.bases.mini.building import parts
from pairedit_sdk.bases.mini.building.autoencoder import to_pixels
from pairedit_sdk.bases.mini.building.loop import Stage, half_precision
from pairedit_sdk.bases.mini.faces import Face

#: What CLIP's image processors subtract and divide by, on 0 … 1.
IMAGE_MEAN, IMAGE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def train_clip(
    model: CLIPModel, pictures: NDArray[np.uint8], faces: Sequence[Face], folder: Path, *,
    minutes: float, batch: int = 96, device: str = "cpu",
) -> None:  # fmt: skip
    """Train ``model`` in place with the symmetric contrastive loss."""
    model.to(device)
    tok = parts.tokenizer(begin=True)
    stage = Stage("clip", model, folder, minutes=minutes, lr=1e-3, matrix_lr=3e-3)

    def loss(step: int) -> dict[str, torch.Tensor]:
        rng = random.Random(f"clip-{step}")
        chosen = rng.sample(range(len(faces)), batch)
        captions = [faces[i].caption(rng, parts.CAPTION_PHRASES) for i in chosen]
        ids = parts.tokens(captions, tok, parts.TEXT_LENGTH).to(device)
        images = to_pixels(pictures[chosen], device)
        with half_precision(device):
            out = model(input_ids=ids, pixel_values=images)
        logits = out.logits_per_image.float()
        target = torch.arange(batch, device=device)
        value = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        right = (logits.argmax(1) == target).float().mean()
        return {"loss": value, "top1": right}

    stage.run(loss)
    stage.use_average()
