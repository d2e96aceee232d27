"""Text-only training of both text encoders, before any picture is seen.

What a caption names is known, so the encoders can be taught to hold it: linear probes read every
attribute's value, or that it is not said, from CLIP's pooled embedding and from the mean of T5's
tokens. It takes minutes, where the flow model's own error teaches a two-layer encoder for hours
that the red of "red hair" is another one than that of "a red shirt".
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import CLIPTextModel, T5EncoderModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.ahead import Ahead, workers_for
from pairedit_sdk.builtin.build.classifier import HIDDEN, labels_of
from pairedit_sdk.builtin.build.loop import Rates, Stage, on_cuda, on_device
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.captions import caption_parts
from pairedit_sdk.builtin.faces.face import Face

EMPTY_CAPTIONS = 0.02
#: Captions in a step. A GPU takes as long to start its kernels for either number.
BATCH, GPU_BATCH = 128, 256


class TextReader(nn.Module):
    """Both text encoders with a probe each. The probes are not part of the model."""

    def __init__(self, clip: CLIPTextModel, t5: T5EncoderModel) -> None:
        super().__init__()
        self.clip, self.t5 = clip, t5
        answers = sum(len(values) + 1 for values in VALUES.values())
        self.clip_probe = nn.Linear(clip.config.hidden_size, answers)
        self.t5_probe = nn.Linear(t5.config.d_model, answers)

    def forward(
        self, clip_ids: torch.Tensor, t5_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of both probes, [B, all values and one "not said" per attribute]."""
        pooled = self.clip(input_ids=clip_ids).pooler_output
        tokens = self.t5(input_ids=t5_ids).last_hidden_state
        return self.clip_probe(pooled), self.t5_probe(tokens.mean(dim=1))


def said_loss(logits: torch.Tensor, said: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy over attributes, and the share read rightly of those that are said.

    Args:
        logits: [B, all values and one "not said", the last, per attribute].
        said: index of each attribute's value or ``HIDDEN``, [B, attributes].
    """
    losses, hits = [], []
    sizes = [len(values) + 1 for values in VALUES.values()]
    for part, index in zip(torch.split(logits, sizes, dim=1), said.unbind(dim=1), strict=True):
        losses.append(
            nn.functional.cross_entropy(part, index.where(index != HIDDEN, part.shape[1] - 1))
        )
        hits.append(part.argmax(dim=1) == index)  # never of HIDDEN, which is no answer's number
    # Counted and not picked out: a GPU would have to be waited for to know how many there are.
    right = torch.stack(hits).sum() / (said != HIDDEN).sum()
    return torch.stack(losses).mean(), right


def _said(
    faces: Sequence[Face], step: int, count: int
) -> tuple[list[int], list[str], list[frozenset[str]]]:
    """A step's faces by number, their captions, and the attributes that each caption names."""
    rng = random.Random(f"text-{step}")
    chosen = [rng.randrange(len(faces)) for _ in range(count)]
    nothing: tuple[str, frozenset[str]] = ("", frozenset())
    said = [
        nothing
        if rng.random() < EMPTY_CAPTIONS
        else caption_parts(faces[i], rng, parts.CAPTION_PHRASES)
        for i in chosen
    ]
    return chosen, [text for text, _ in said], [names for _, names in said]


def train_text(
    clip: CLIPTextModel,
    t5: T5EncoderModel,
    faces: Sequence[Face],
    folder: Path,
    *,
    minutes: float,
    batch: int | None = None,
    device: str = "cpu",
    parent: str = "",
) -> int:
    """Train both encoders in place; their averaged weights stay in them.

    Args:
        clip: the text tower that gives the pooled prompt.
        t5: the encoder that gives the prompt's tokens.
        faces: whose captions are read.
        folder: of the checkpoint.
        minutes: time budget.
        batch: captions in a step; if not given, what suits the device.
        device: "cpu" or "cuda".
        parent: see :class:`Stage`.

    Returns:
        The steps trained, earlier runs included.
    """
    count = batch or (GPU_BATCH if on_cuda(device) else BATCH)
    model, labels = TextReader(clip, t5).to(device), labels_of(faces)
    tokenizers = (parts.tokenizer(begin=True), parts.tokenizer(begin=False))
    rates = Rates(lr=2e-3, matrix_lr=4e-3, ema=0.99, decay_from=0.2)
    stage = Stage("text", model, folder, minutes=minutes, rates=rates, parent=parent)

    def draw(step: int) -> list[NDArray[np.int64]]:
        chosen, captions, names = _said(faces, step, count)
        told = torch.tensor([[name in named for name in VALUES] for named in names])
        texts = (parts.tokens(captions, tok, parts.TEXT_LENGTH) for tok in tokenizers)
        return [t.numpy() for t in (labels[chosen].where(told, HIDDEN), *texts)]

    # No autocast: at this size a GPU is bound by the kernels that it starts, and casts are more.
    def loss(step: int) -> dict[str, torch.Tensor]:
        said, *texts = (on_device(values, device) for values in drawn(step))
        (clip_loss, clip_right), (t5_loss, t5_right) = (
            said_loss(logits, said) for logits in model(*texts)
        )
        return {
            "loss": clip_loss + t5_loss,
            "clip": clip_loss,
            "t5": t5_loss,
            "clip_right": clip_right,
            "t5_right": t5_right,
        }

    with Ahead(draw, stage.step, workers_for(device)) as drawn:
        stage.run(loss)
    stage.use_average()
    return stage.step
