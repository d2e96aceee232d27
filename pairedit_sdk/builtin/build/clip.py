"""Training of CLIP's image tower: pictures against their partial captions, and changes.

The text tower is frozen, as :mod:`~.text` left it. Partial captions say little of a picture, and
a batch holds few faces; so a linear probe reads every attribute from the image's embedding as
well. And since the basis tells edits apart by the *direction* E(a′) − E(a), directions are
contrasted too: the same change on two people should point the same way, other changes elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.ahead import Ahead, workers_for
from pairedit_sdk.builtin.build.autoencoder import to_pixels
from pairedit_sdk.builtin.build.classifier import labels_of, probe_loss, shifted
from pairedit_sdk.builtin.build.loop import Rates, Stage, half_precision, on_cuda, on_device
from pairedit_sdk.builtin.build.pool import picture_pool
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.captions import caption
from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.builtin.faces.numbered import change_at, changed_face_at
from pairedit_sdk.models.half_products import half_products

#: What CLIP's image processors subtract and divide by, on 0 … 1.
IMAGE_MEAN, IMAGE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
PROBE_SCALE = 8.0  # the embedding's length before the probe, about that of 64 normal numbers
DIRECTION_TEMPERATURE = 0.07
#: Different changes in a step. More are more to tell apart, and a GPU takes no longer for them.
KINDS, GPU_KINDS = 24, 48


@dataclass(frozen=True)
class Changes:
    """Pairs of pictures that differ in one attribute.

    Attributes:
        pictures: uint8 [N, 2, H, W, 3].
        faces: the N pairs of records, of :func:`~.data.change_at`.
        attributes: which one each changes.
    """

    pictures: NDArray[np.uint8]
    faces: Sequence[tuple[Face, Face]]
    attributes: Sequence[str]

    @cached_property
    def kinds(self) -> dict[str, list[list[int]]]:
        """By attribute, for any two of its values, the numbers of their pairs, if there are two."""
        found: dict[tuple[str, str, str], list[int]] = {}
        for number, name in enumerate(self.attributes):
            values = (getattr(face, name) for face in self.faces[number])
            found.setdefault((name, *values), []).append(number)
        kinds: dict[str, list[list[int]]] = {}
        for (name, _, _), numbers in found.items():
            if len(numbers) > 1:
                kinds.setdefault(name, []).append(numbers)
        return kinds

    def draw(self, rng: random.Random, count: int) -> list[int]:
        """Two pairs of each of ``count`` different changes, next to each other.

        The attributes are equally likely. Where there are fewer changes, all of them.
        """
        chosen: list[int] = []
        names = list(self.kinds)
        taken: set[tuple[int, ...]] = set()
        while len(taken) < min(count, sum(map(len, self.kinds.values()))):
            numbers = rng.choice(self.kinds[rng.choice(names)])
            if tuple(numbers) not in taken:
                taken.add(tuple(numbers))
                chosen += rng.sample(numbers, 2)
        return chosen


def drawn_changes(folder: Path, count: int, workers: int) -> Changes:
    """The first ``count`` changes, drawn in parallel and kept in ``folder``."""
    pictures = picture_pool(
        folder / "changes", 2 * count, parts.IMAGE_SIZE, workers, changed_face_at
    )
    found = [change_at(i) for i in range(count)]
    pairs = [(one, other) for _, one, other in found]
    return Changes(pictures.reshape(count, 2, *pictures.shape[1:]), pairs, [n for n, _, _ in found])


class ProbedClip(nn.Module):
    """CLIP with a probe of the image embedding, which is not part of the model."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.probe = nn.Linear(clip.config.projection_dim, sum(map(len, VALUES.values())))


def direction_loss(embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast of directions, and the share of them whose nearest one is of the same change.

    Args:
        embeddings: [2 T, 2, D]: two pairs of each of T changes, each before and after.
    """
    directions = F.normalize(embeddings[:, 1] - embeddings[:, 0], dim=-1)
    logits = directions[::2] @ directions[1::2].T / DIRECTION_TEMPERATURE
    target = torch.arange(len(logits), device=logits.device)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return loss, (logits.argmax(1) == target).float().mean()


def _contrast(logits: torch.Tensor) -> torch.Tensor:
    """CLIP's loss on logits [B, B] of pictures and their captions."""
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_clip(
    model: CLIPModel,
    changes: Changes,
    folder: Path,
    *,
    minutes: float,
    kinds: int | None = None,
    device: str = "cpu",
    parent: str = "",
) -> None:
    """Train all but the text tower of ``model`` in place; its averaged weights stay in it.

    Args:
        model: its text tower is kept as it is.
        changes: what it sees.
        folder: of the checkpoint.
        minutes: time budget.
        kinds: different changes in a step, each on two people: four pictures each; if not given,
            what suits the device.
        device: "cpu" or "cuda".
        parent: see :class:`Stage`.
    """
    count = kinds or (GPU_KINDS if on_cuda(device) else KINDS)
    model.text_model.requires_grad_(False)
    probed = ProbedClip(model).to(device)
    sides = [labels_of([pair[side] for pair in changes.faces]) for side in (0, 1)]
    labels = torch.stack(sides, dim=1).to(device)
    tok = parts.tokenizer(begin=True)
    rates = Rates(lr=1e-3, matrix_lr=3e-3, ema=0.995, decay_from=0.2)
    stage = Stage("clip", probed, folder, minutes=minutes, rates=rates, parent=parent)

    def draw(step: int) -> tuple[list[int], NDArray[np.int64], random.Random]:
        rng = random.Random(f"clip-{step}")
        chosen = changes.draw(rng, count)
        captions = [caption(changes.faces[i][0], rng, parts.CAPTION_PHRASES) for i in chosen]
        return chosen, parts.tokens(captions, tok, parts.TEXT_LENGTH).numpy(), rng

    def loss(step: int) -> dict[str, torch.Tensor]:
        # The pictures are moved here: that takes less time than to bring them from elsewhere.
        chosen, ids, rng = drawn(step)
        images = to_pixels(_moved(changes.pictures[chosen], rng), device)
        with half_precision(device):
            out = model(input_ids=on_device(ids, device), pixel_values=images)
        embeddings = out.image_embeds.float().unflatten(0, (-1, 2))
        contrast = _contrast(out.logits_per_image.float()[::2])  # captions are of the first ones
        read = probe_loss(
            probed.probe(embeddings.flatten(0, 1) * PROBE_SCALE),
            labels[on_device(torch.tensor(chosen), device)].flatten(0, 1),
        )
        direction, right = direction_loss(embeddings)
        terms = {"contrast": contrast, "read": read, "direction": direction}
        return {"loss": contrast + read + direction, **terms, "same": right}

    with half_products(model, device), Ahead(draw, stage.step, workers_for(device)) as drawn:
        stage.run(loss)
    stage.use_average()


def _moved(pairs: NDArray[np.uint8], rng: random.Random) -> NDArray[np.uint8]:
    """Both pictures of each pair [B, 2, …] moved alike, some mirrored; [2 B, …]."""
    wide = np.concatenate([pairs[:, 0], pairs[:, 1]], axis=-1)
    wide = shifted(wide, np.random.default_rng(rng.getrandbits(32)))
    flip = np.array([rng.random() < 0.5 for _ in wide])
    wide[flip] = wide[flip, :, ::-1]
    return np.stack([wide[..., :3], wide[..., 3:]], axis=1).reshape(-1, *wide.shape[1:3], 3)
