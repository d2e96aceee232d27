"""What the built-in Kontext model is trained on: pictures of changes, and instructions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPTextModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.classifier import labels_of
from pairedit_sdk.builtin.build.clip import Changes
from pairedit_sdk.builtin.build.exemplars import Exemplars
from pairedit_sdk.builtin.build.flow_data import LEAST_PHRASES, LONG_TEXT_EVERY, even_weights
from pairedit_sdk.builtin.build.loop import on_device
from pairedit_sdk.builtin.build.turns import CAPTIONS, ROWS, shares_of, turn_of
from pairedit_sdk.builtin.faces.captions import caption_parts
from pairedit_sdk.builtin.faces.instructions import instruction

UNSAID = 0.15  # share of the pictures of which nothing is to be changed
SAID = 0.5  # share of the pictures changed as an exemplar shows, of which words say it as well
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
        captions: share of the steps with a caption and no reference; see :mod:`~.turns`.

    Raises:
        UsageError: a share that is none, or too few changes to find two that are the same.
    """

    def __init__(
        self,
        latents: torch.Tensor,
        changes: Changes,
        text_encoder: CLIPTextModel,
        batch: int,
        device: str,
        captions: float = CAPTIONS,
    ) -> None:
        self.shares, self.exemplars = shares_of(captions), Exemplars(changes)
        # On a GPU as a whole, a fifth of a gigabyte for 12,000 changes: few copies in a step.
        self.latents = latents.to(device)
        self.changes, self.batch, self.device = changes, batch, device
        labels = labels_of([pair[0] for pair in changes.faces]).to(device)
        even = even_weights(self.latents[:, 0].flatten(2).float(), labels)
        self.even = torch.unflatten(even, -1, latents.shape[-2:])
        self.text_encoder = text_encoder.to(device).eval()
        self.clip_tokenizer = parts.tokenizer(begin=True, instructions=True)
        self.t5_tokenizer = parts.tokenizer(begin=False, instructions=True)

    def plan(self, step: int) -> Plan:
        """What a step shows and says; nothing of it touches a GPU."""
        rng = random.Random(f"kontext-{step}")
        kind = turn_of(step, self.shares)
        count = max(1, round(self.batch * ROWS[kind]))
        others: list[_Places] = []
        if kind == "grid":
            changed = [self._changed(rng, 4) for _ in range(count)]
            texts = [four.texts[0] for four in changed]
        elif kind == "three":
            rows, *others = self._analogies(rng, count)
            changed, texts = [rows], rows.texts
        else:
            changed = [self._changed(rng, count, same=False)]
            texts = changed[0].texts
        if kind == "caption":
            people = zip(changed[0].numbers, changed[0].sides, strict=True)
            texts = [self._caption(rng, number, side) for number, side in people]
        long_text = step % LONG_TEXT_EVERY == LONG_TEXT_EVERY - 1
        rng = random.Random(f"kontext-text-{step}")
        length = rng.choice([64, 128]) if long_text else parts.TEXT_LENGTH
        ids = parts.tokens(texts, self.t5_tokenizer, length).numpy()
        clip_ids = parts.tokens(texts, self.clip_tokenizer, parts.TEXT_LENGTH).numpy()
        return Plan(kind, changed, others, texts, ids, clip_ids)

    def example(self, plan: Plan) -> Example:
        """The rows of a step that is planned."""
        if plan.kind == "grid":
            return _joined([self._rows(four) for four in plan.changed], plan.texts)
        one = self._rows(plan.changed[0])
        if plan.kind == "caption":
            return Example(one.after, (), plan.texts, self.even.expand_as(one.after))
        others = [self._latents(numbers, sides) for numbers, sides in plan.others]
        return Example(one.after, (one.before, *others), plan.texts, _weights(one))

    def draw(self, step: int) -> Example:
        """The rows of a step; see :meth:`plan` and :meth:`example`."""
        return self.example(self.plan(step))

    def text(self, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
        """T5 token ids [B, length] and pooled CLIP embeddings [B, P]."""
        clip_ids = on_device(plan.clip_ids, self.device)
        with torch.no_grad():
            pooled = self.text_encoder(input_ids=clip_ids).pooler_output
        return on_device(plan.ids, self.device), pooled

    def _changed(self, rng: random.Random, count: int, same: bool = True) -> _Picks:
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
            "" if nothing else self._instruction(number, side)
            for number, side, nothing in zip(chosen, sides, unsaid, strict=True)
        ]
        return _Picks(chosen, sides, _starts(sides, unsaid), texts)

    def _analogies(self, rng: random.Random, count: int) -> tuple[_Picks, _Places, _Places]:
        """``count`` people b who are changed as a and a′ show, and the places of a and of a′.

        Words say the change in half of the rows; in the others it must be read from the pictures.
        In a few nothing is said, a′ is a, and b stays as it is.
        """
        drawn = [self.exemplars.draw(rng) for _ in range(count)]
        still = [rng.random() < UNSAID for _ in drawn]
        texts = [
            "" if nothing or rng.random() >= SAID else self._instruction(*b)
            for (b, _), nothing in zip(drawn, still, strict=True)
        ]
        (numbers, sides), (others, shown) = (
            [list(values) for values in zip(*(pair[k] for pair in drawn), strict=True)]
            for k in (0, 1)
        )
        picks = _Picks(numbers, sides, _starts(sides, still), texts)
        return picks, (others, _starts(shown, still)), (others, shown)

    def _instruction(self, number: int, side: int) -> str:
        return instruction(self.changes.faces[number][side], self.changes.attributes[number])

    def _caption(self, rng: random.Random, number: int, side: int) -> str:
        if rng.random() < UNSAID:
            return ""
        face = self.changes.faces[number][side]
        return caption_parts(face, rng, parts.CAPTION_PHRASES, rng.choice(LEAST_PHRASES))[0]

    def _rows(self, picks: _Picks) -> _Rows:
        before = self._latents(picks.numbers, picks.starts)
        return _Rows(before, self._latents(picks.numbers, picks.sides), self.even)

    def _latents(self, numbers: list[int], sides: list[int]) -> torch.Tensor:
        chosen = on_device(torch.tensor([numbers, sides]), self.device)
        return self.latents[chosen[0], chosen[1]].float()


#: Numbers of changes, and of each the side that is meant.
_Places = tuple[list[int], list[int]]


def _starts(sides: list[int], still: list[bool]) -> list[int]:
    """The sides that are looked at: the other ones, but what stays is seen as it is to be."""
    return [side if same else 1 - side for side, same in zip(sides, still, strict=True)]


@dataclass(frozen=True)
class _Picks:
    """Changes: their numbers, which side is aimed at, which is looked at, and what is said."""

    numbers: list[int]
    sides: list[int]
    starts: list[int]
    texts: list[str]


@dataclass(frozen=True)
class Plan:
    """What a step shows, as numbers of changes and of their sides, and the tokens of its texts.

    Attributes:
        kind: one of the keys of :data:`.turns.ROWS`.
        changed: the people of the rows; for grids four of each row, otherwise all of them.
        others: numbers and sides of further pictures to be looked at.
        texts: one of each row.
        ids: T5's tokens, int64 [B, T].
        clip_ids: CLIP's, int64 [B, ``parts.TEXT_LENGTH``].
    """

    kind: str
    changed: list[_Picks]
    others: list[_Places]
    texts: list[str]
    ids: NDArray[np.int64]
    clip_ids: NDArray[np.int64]


@dataclass(frozen=True)
class _Rows:
    """Pictures before and after a change."""

    before: torch.Tensor
    after: torch.Tensor
    even: torch.Tensor


def _weights(rows: _Rows) -> torch.Tensor:
    """Copying is learned in minutes; the rest of the loss is given to what changes."""
    size = (rows.after - rows.before).abs().mean(dim=1, keepdim=True)
    mean = size.mean(dim=(1, 2, 3), keepdim=True)
    there = torch.where(mean > 0, size / mean.clamp(min=1e-6), torch.ones_like(size))
    return rows.even * ((1 - ON_CHANGE) + ON_CHANGE * there)


def _joined(grids: Sequence[_Rows], texts: list[str]) -> Example:
    """Each four people as one picture of twice the size."""

    def grid(four: torch.Tensor) -> torch.Tensor:
        top, bottom = torch.cat([four[0], four[1]], -1), torch.cat([four[2], four[3]], -1)
        return torch.cat([top, bottom], dim=-2)

    return Example(
        torch.stack([grid(rows.after) for rows in grids]),
        (torch.stack([grid(rows.before) for rows in grids]),),
        texts,
        torch.stack([grid(_weights(rows)) for rows in grids]),
    )
