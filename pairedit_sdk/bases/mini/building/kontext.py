"""Training of the built-in Kontext base: a face, and an instruction that says what to change.

It starts from the built-in base and learns, with the usual flow loss on unlimited drawn pairs, to
look at condition images. Steps take turns:

- one picture to be changed as the instruction says, or, with nothing said, to be left as it is;
- the same with two other people's pictures behind it, so that further pictures are known;
- a grid of four faces, every one of which is to be changed, so that larger pictures are known;
- no picture and a caption, as before.

None of them is an analogy: what a′ has to do with a is for a basis of LoRAs to learn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import CLIPTextModel

from pairedit_sdk.bases.mini.building import parts
from pairedit_sdk.bases.mini.building.classifier import labels_of
from pairedit_sdk.bases.mini.building.clip import Changes
from pairedit_sdk.bases.mini.building.flow import (
    GUIDANCE,
    LEAST_PHRASES,
    LONG_TEXT_EVERY,
    FlowModel,
    even_weights,
)
from pairedit_sdk.bases.mini.building.loop import Stage, half_precision, half_products
from pairedit_sdk.bases.mini.faces import caption_parts
from pairedit_sdk.bases.mini.instructions import instruction
from pairedit_sdk.bases.tokens import pack, position_ids

#: Of ten steps, what each shows; and how many rows it has as a share of a usual step's.
TURNS = ("one", "one", "three", "one", "one", "caption", "one", "one", "grid", "one")
ROWS = {"one": 1.0, "three": 0.5, "caption": 1.0, "grid": 0.2}
UNSAID = 0.15  # share of the pictures of which nothing is to be changed
ON_CHANGE = 0.5  # share of the loss that lies where the picture changes


@dataclass(frozen=True)
class Example:
    """Rows of one step: latents of what is aimed at, of the pictures looked at, and the texts.

    Attributes:
        target: [B, C, h, w].
        references: each like the target.
        texts: B of them.
        weights: of the squared error, [B, C, h, w].
    """

    target: torch.Tensor
    references: tuple[torch.Tensor, ...]
    texts: list[str]
    weights: torch.Tensor


class KontextData:
    """Draws training batches from the latents of changes.

    Args:
        latents: normalised, [N, 2, C, h, w].
        changes: the N changes behind them.
        text_encoder: the CLIP text tower that gives the pooled prompt; its tokens are those of
            instructions.
        batch: rows of a usual step.
        device: "cpu" or "cuda".
    """

    def __init__(
        self, latents: torch.Tensor, changes: Changes, text_encoder: CLIPTextModel, batch: int,
        device: str,
    ) -> None:  # fmt: skip
        self.latents, self.changes, self.batch, self.device = latents, changes, batch, device
        labels = labels_of([pair[0] for pair in changes.faces])
        even = even_weights(latents[:, 0].flatten(2).float(), labels)
        self.even = even.unflatten(-1, latents.shape[-2:])
        self.text_encoder = text_encoder.to(device).eval()
        self.clip_tokenizer = parts.tokenizer(begin=True, instructions=True)
        self.t5_tokenizer = parts.tokenizer(begin=False, instructions=True)

    def text(self, texts: list[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """T5 token ids [B, length] and pooled CLIP embeddings [B, P]."""
        ids = parts.tokens(texts, self.t5_tokenizer, length).to(self.device)
        clip_ids = parts.tokens(texts, self.clip_tokenizer, parts.TEXT_LENGTH).to(self.device)
        with torch.no_grad():
            return ids, self.text_encoder(input_ids=clip_ids).pooler_output

    def draw(self, step: int) -> Example:
        """The rows of a step."""
        rng = random.Random(f"kontext-{step}")
        kind = TURNS[step % len(TURNS)]
        count = max(1, round(self.batch * ROWS[kind]))
        if kind == "grid":
            return _joined([self._changed(rng, 4) for _ in range(count)])
        one = self._changed(rng, count, same=False)
        if kind == "caption":
            texts = [self._caption(rng, row) for row in one.rows]
            return Example(one.after, (), texts, self.even.expand_as(one.after))
        references = [one.before]
        if kind == "three":
            references += [self._others(rng, count) for _ in range(2)]
        return Example(one.after, tuple(references), one.texts, _weights(one))

    def _changed(self, rng: random.Random, count: int, same: bool = True) -> _Rows:
        """``count`` people who are changed: all in the ``same`` way, or each in its own."""
        if same:
            numbers = rng.choice(self.changes.kinds[rng.choice(list(self.changes.kinds))])
            chosen, sides = [rng.choice(numbers) for _ in range(count)], [rng.randrange(2)] * count
            unsaid = [rng.random() < UNSAID] * count
        else:
            chosen = [rng.randrange(len(self.changes.faces)) for _ in range(count)]
            sides = [rng.randrange(2) for _ in range(count)]
            unsaid = [rng.random() < UNSAID for _ in range(count)]
        texts = [
            "" if nothing else instruction(self.changes.faces[k][side], self.changes.attributes[k])
            for k, side, nothing in zip(chosen, sides, unsaid, strict=True)
        ]
        # What nothing is said of is looked at as it is to be.
        starts = [s if nothing else 1 - s for s, nothing in zip(sides, unsaid, strict=True)]
        return _Rows(
            self.latents[chosen, starts].float(), self.latents[chosen, sides].float(), texts,
            list(zip(chosen, sides, strict=True)), self.even,
        )  # fmt: skip

    def _others(self, rng: random.Random, count: int) -> torch.Tensor:
        chosen = [rng.randrange(len(self.changes.faces)) for _ in range(count)]
        return self.latents[chosen, [rng.randrange(2) for _ in chosen]].float()

    def _caption(self, rng: random.Random, row: tuple[int, int]) -> str:
        if rng.random() < UNSAID:
            return ""
        face = self.changes.faces[row[0]][row[1]]
        return caption_parts(face, rng, parts.CAPTION_PHRASES, rng.choice(LEAST_PHRASES))[0]


@dataclass(frozen=True)
class _Rows:
    """Pictures before and after a change, and what is said of it."""

    before: torch.Tensor
    after: torch.Tensor
    texts: list[str]
    rows: list[tuple[int, int]]
    even: torch.Tensor


def _weights(rows: _Rows) -> torch.Tensor:
    """Copying is learned in minutes; the rest of the loss is given to what changes."""
    size = (rows.after - rows.before).abs().mean(dim=1, keepdim=True)
    mean = size.mean(dim=(1, 2, 3), keepdim=True)
    there = torch.where(mean > 0, size / mean.clamp(min=1e-6), torch.ones_like(size))
    return rows.even * ((1 - ON_CHANGE) + ON_CHANGE * there)


def _joined(grids: Sequence[_Rows]) -> Example:
    """Each four people as one picture of twice the size."""

    def grid(four: torch.Tensor) -> torch.Tensor:
        top, bottom = torch.cat([four[0], four[1]], -1), torch.cat([four[2], four[3]], -1)
        return torch.cat([top, bottom], dim=-2)

    return Example(
        torch.stack([grid(rows.after) for rows in grids]),
        (torch.stack([grid(rows.before) for rows in grids]),),
        [rows.texts[0] for rows in grids],
        torch.stack([grid(_weights(rows)) for rows in grids]),
    )


def train_kontext(
    model: FlowModel, data: KontextData, folder: Path, *, minutes: float, lr: float = 6e-4,
    parent: str = "",
) -> int:  # fmt: skip
    """Rectified flow on the noisy picture's tokens, beside those of the pictures looked at.

    Args:
        model: trained in place; its averaged weights stay in it.
        data: where the batches come from.
        folder: of the checkpoint.
        minutes: time budget.
        lr: AdamW's; Muon's is twice that.
        parent: see :class:`Stage`.

    Returns:
        The steps trained, earlier runs included.
    """
    model.to(data.device)
    for probe in (model.image_probe, model.text_probe):
        probe.requires_grad_(False)
    stage = Stage(
        "kontext", model, folder, minutes=minutes, lr=lr, matrix_lr=2 * lr, ema=0.999,
        decay_from=0.3, parent=parent,
    )  # fmt: skip

    def loss(step: int) -> dict[str, torch.Tensor]:
        example = data.draw(step)
        count, _, height, width = example.target.shape
        rng = random.Random(f"kontext-text-{step}")
        long_text = step % LONG_TEXT_EVERY == LONG_TEXT_EVERY - 1
        length = rng.choice([64, 128]) if long_text else parts.TEXT_LENGTH
        ids, pooled = data.text(example.texts, length)
        x_0 = example.target.to(data.device)
        noise = torch.randn(x_0.shape, device=data.device)
        u = (torch.arange(count) + torch.rand(count)) / count
        sigma = (u + 0.15 * torch.sin(2 * torch.pi * u) / torch.pi).to(data.device)
        at = sigma[:, None, None, None]
        pictures = [(1 - at) * x_0 + at * noise, *(r.to(data.device) for r in example.references)]
        tokens = torch.cat([pack(picture) for picture in pictures], dim=1)
        places = torch.cat(
            [position_ids(height // 2, width // 2, k) for k in range(len(pictures))]
        ).to(data.device)
        guidance = torch.empty(count, device=data.device).uniform_(*GUIDANCE)
        with half_precision(data.device):
            v = model(tokens, sigma, ids, pooled, guidance, places)[:, : height * width // 4]
        squared = (v.float() - pack(noise - x_0)).square()
        error = (squared * pack(example.weights.to(data.device))).mean()
        kind = TURNS[step % len(TURNS)]
        return {"loss": error, kind: squared.mean()}

    with half_products(model, data.device):
        stage.run(loss)
    stage.use_average()
    model.forget()
    return stage.step
