"""Training of CLIP's image tower: pictures against their partial captions.

The text tower is frozen, as :mod:`~.text` left it. Partial captions say little of a picture, and
a batch holds few faces; so a linear probe reads every attribute from the image's embedding as
well, since the basis's encoder must tell edits apart by what small parts of a picture show.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPModel

from pairedit_sdk.bases.mini.attributes import VALUES
from pairedit_sdk.bases.mini.building import parts
from pairedit_sdk.bases.mini.building.autoencoder import to_pixels
from pairedit_sdk.bases.mini.building.classifier import labels_of, probe_loss
from pairedit_sdk.bases.mini.building.loop import Stage, half_precision, half_products
from pairedit_sdk.bases.mini.faces import Face

#: What CLIP's image processors subtract and divide by, on 0 … 1.
IMAGE_MEAN, IMAGE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
PROBE_SCALE = 8.0  # the embedding's length before the probe, about that of 64 normal numbers


class ProbedClip(nn.Module):
    """CLIP with a probe of the image embedding, which is not part of the base."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.probe = nn.Linear(clip.config.projection_dim, sum(map(len, VALUES.values())))


def train_clip(
    model: CLIPModel, pictures: NDArray[np.uint8], faces: Sequence[Face], folder: Path, *,
    minutes: float, batch: int = 96, device: str = "cpu", parent: str = "",
) -> None:  # fmt: skip
    """Train all but the text tower of ``model`` in place; its averaged weights stay in it.

    Args:
        model: its text tower is kept as it is.
        pictures: uint8 [N, 128, 128, 3].
        faces: the N records of the pictures.
        folder: of the checkpoint.
        minutes: time budget.
        batch: pictures in a step.
        device: "cpu" or "cuda".
        parent: see :class:`Stage`.
    """
    model.text_model.requires_grad_(False)
    probed = ProbedClip(model).to(device)
    labels = labels_of(faces).to(device)
    tok = parts.tokenizer(begin=True)
    stage = Stage(
        "clip", probed, folder, minutes=minutes, lr=1e-3, matrix_lr=3e-3, ema=0.995,
        decay_from=0.2, parent=parent,
    )  # fmt: skip

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
        contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        read = probe_loss(probed.probe(out.image_embeds.float() * PROBE_SCALE), labels[chosen])
        right = (logits.argmax(1) == target).float().mean()
        return {"loss": contrast + read, "contrast": contrast, "read": read, "top1": right}

    with half_products(model, device):
        stage.run(loss)
    stage.use_average()
