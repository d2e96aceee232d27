"""Training of the attribute classifier on disturbed drawings, and its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pairedit_sdk.builtin.build.autoencoder import to_pixels
from pairedit_sdk.builtin.build.loop import Rates, Stage, half_precision, on_cuda, on_device
from pairedit_sdk.builtin.build.optim import hold_as_matrices, release_matrices
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES, AttributeClassifier
from pairedit_sdk.builtin.faces.face import Face, visible
from pairedit_sdk.images.metrics import gaussian_blur

#: The label of an attribute that cannot be seen.
HIDDEN = -1
SHIFT = 3  # pixels
#: Pictures in a step; a GPU is not busy with those of the CPU.
BATCH, GPU_BATCH = 64, 128

RoundTrip = Callable[[torch.Tensor], torch.Tensor]


def labels_of(faces: Sequence[Face]) -> torch.Tensor:
    """Index of each attribute's value, or :data:`HIDDEN`; int64 [N, attributes]."""
    return torch.tensor(
        [
            [v.index(getattr(f, n)) if visible(f, n) else HIDDEN for n, v in VALUES.items()]
            for f in faces
        ]
    )


def attribute_loss(logits: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy summed over attributes, each a mean over the faces that show it."""
    if labels.device.type != "cpu":
        return loss_at_once(torch.cat([logits[name] for name in VALUES], dim=1), labels)
    terms = [
        F.cross_entropy(logits[name], label, ignore_index=HIDDEN, reduction="sum")
        / (label != HIDDEN).sum().clamp(min=1)
        for name, label in zip(VALUES, labels.unbind(dim=1), strict=True)
    ]
    return torch.stack(terms).sum()


def loss_at_once(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """:func:`attribute_loss` of logits [B, all values], for all attributes in a dozen operations.

    One attribute after the other, the flow model's two probes take half as many operations as its
    forward pass, and again backwards, with nothing for a GPU to do in them. The sums are the same
    in another order.
    """
    most = max(map(len, VALUES.values()))
    wide = logits.new_full((len(logits), len(VALUES) * most), float("-inf"))
    wide = wide.index_copy(1, _columns(most, logits.device), logits)
    wide = torch.unflatten(wide, 1, (-1, most))
    seen = labels != HIDDEN
    of_label = wide.gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
    cost = torch.where(seen, wide.logsumexp(dim=2) - of_label, 0.0)
    return (cost.sum(dim=0) / seen.sum(dim=0).clamp(min=1)).sum()


@lru_cache
def _columns(most: int, device: torch.device) -> torch.Tensor:
    """Where the values lie when every attribute has ``most`` columns."""
    rows = [range(k * most, k * most + len(values)) for k, values in enumerate(VALUES.values())]
    return torch.tensor([column for row in rows for column in row], device=device)


def probe_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits [B, all values] against labels [B, attributes], mean over both."""
    parts = torch.split(logits, [len(values) for values in VALUES.values()], dim=1)
    return attribute_loss(dict(zip(VALUES, parts, strict=True)), labels) / len(VALUES)


def shifted(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each picture moved by up to :data:`SHIFT` pixels, its border repeated."""
    size = pictures.shape[1]
    wide = np.pad(pictures, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    corners = rng.integers(0, 2 * SHIFT + 1, (len(pictures), 2))
    return np.stack(
        [p[y : y + size, x : x + size] for p, (y, x) in zip(wide, corners, strict=True)]
    )


def disturbed(
    x: torch.Tensor, rng: np.random.Generator, round_trip: RoundTrip | None = None
) -> torch.Tensor:
    """Pictures as an autoencoder or a sampler may give them back.

    The last quarter of the batch goes through ``round_trip``, the first third is blurred by up to
    1.2 pixels, the second third gets noise, and every picture has its brightness, contrast and
    colour balance changed a little. The thirds are kept by position because the batch itself is
    in random order.
    """
    count = len(x)
    x = x.clone()
    if round_trip is not None:
        with torch.no_grad():
            x[-(count // 4) :] = round_trip(x[-(count // 4) :]).to(x)
    third = count // 3
    x[:third] = gaussian_blur(x[:third], rng.uniform(0.3, 1.2))
    x[third : 2 * third] += rng.uniform(0, 0.08) * torch.randn_like(x[third : 2 * third])
    random = torch.rand(2, count, 3, 1, 1, device=x.device) * 2 - 1
    contrast = 1 + 0.05 * random[0, :, :1]
    offset = 0.03 * random[1] + 0.03 * random[0, :, 1:2]
    return (x * contrast + offset).clamp(-1, 1)


def train_classifier(
    model: AttributeClassifier,
    pictures: NDArray[np.uint8],
    faces: Sequence[Face],
    folder: Path,
    *,
    minutes: float,
    batch: int | None = None,
    device: str = "cpu",
    round_trip: RoundTrip | None = None,
) -> None:
    """Train ``model`` in place; its averaged weights stay in it. Resumes from ``folder``.

    Args:
        pictures: uint8 [N, 128, 128, 3].
        faces: the N records of the pictures.
        minutes: the whole budget, earlier runs in the same folder included.
        batch: pictures in a step; if not given, what suits the device.
        device: "cpu" or "cuda".
        round_trip: pixels to pixels [B, 3, H, W], such as an autoencoder's encode and decode; a
            quarter of every batch goes through it.
    """
    if len(pictures) != len(faces):
        raise ValueError(f"{len(pictures)} pictures, but {len(faces)} records")
    count = batch or (GPU_BATCH if on_cuda(device) else BATCH)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    labels = labels_of(faces).to(device)
    hold_as_matrices(model)
    rates = Rates(lr=3e-3, matrix_lr=6e-3, weight_decay=0.02, ema=0.995, decay_from=0.2)
    stage = Stage("attributes", model, folder, minutes=minutes, rates=rates)

    def in_half(x: torch.Tensor) -> torch.Tensor:
        assert round_trip is not None
        with half_precision(device):
            return round_trip(x)

    tripped = None if round_trip is None else in_half

    def loss(step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(step)
        chosen = rng.integers(0, len(pictures), count)
        x = disturbed(to_pixels(shifted(pictures[chosen], rng), device), rng, tripped)
        with half_precision(device):
            logits = model(x.contiguous(memory_format=torch.channels_last))
        exact = {name: part.float() for name, part in logits.items()}
        return {"loss": attribute_loss(exact, labels[on_device(chosen, device)])}

    stage.run(loss)
    stage.use_average()
    release_matrices(model)


def attribute_accuracy(
    model: AttributeClassifier,
    pictures: NDArray[np.uint8],
    faces: Sequence[Face],
    round_trip: RoundTrip | None = None,
    batch: int = 64,
) -> dict[str, float]:
    """Share of the faces showing each attribute on which it is read correctly.

    NaN for an attribute that none of ``faces`` shows. ``round_trip`` as in training, but for
    every picture.
    """
    device = str(next(model.parameters()).device)
    read: dict[str, list[str]] = {name: [] for name in VALUES}
    with torch.no_grad():
        for start in range(0, len(pictures), batch):
            x = to_pixels(pictures[start : start + batch], device)
            for name, values in model.predict(x if round_trip is None else round_trip(x)).items():
                read[name] += values
    accuracy = {}
    for name in VALUES:
        right = [
            value == getattr(face, name)
            for value, face in zip(read[name], faces, strict=True)
            if visible(face, name)
        ]
        accuracy[name] = sum(right) / len(right) if right else float("nan")
    return accuracy
