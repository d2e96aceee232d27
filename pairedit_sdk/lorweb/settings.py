"""Settings of a learned basis; the defaults are LoRWeB's published values.

There are three exceptions, as a CPU or the built-in base needs them: see ``resolution`` and
``optimizer``, and all noise levels weigh the same in the loss.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pairedit_sdk.io.settings import (
    Rule,
    broken_rules,
    from_values,
    one_of,
    positive,
    refuse,
    whole,
    with_overrides,
)
from pairedit_sdk.training.optimizers import OPTIMIZERS
from pairedit_sdk.training.trackers import TRACKERS

ACTIVATIONS = ("softmax", "tanh", "uniform")
LAYOUTS = ("grid", "sequence")
QUERIES = ("pictures", "grid")
STARTS = ("random", "difference")


@dataclass(frozen=True)
class BasisSettings:
    """Settings of a learned basis and of its training.

    Args:
        count: N, LoRAs in the basis.
        rank: r of each of them.
        alpha: a LoRA's update is scaled by alpha / rank; ``None`` is the rank.
        key_width: d, the length of the query and of each key.
        activation: "softmax" of the similarities over the basis, or their "tanh"; "uniform" is a
            baseline that mixes all alike, whatever the analogy.
        shared: one projection and one set of keys for all adapted weights in the place of one for
            each.
        unit_embeddings: bring the embeddings to length 1. As they come from the encoder (as
            published) they are some ten to twenty times as long, and so is every step that training
            takes with the projection: with the built-in encoder a few hundred steps are enough for
            the softmax to choose one LoRA for all analogies.
        start: "random" is the published start of the projection, "difference" a random map of
            E(a′) − E(a), so that the first mixes already depend on what was changed.
        query: "pictures" gives the router the embeddings of a, a′ and b one after the other,
            "grid" one of all three in a grid.
        layout: "grid" lets the base look at [a, a′; b, b] and draw [a, a′; b, b′]; "sequence" lets
            it look at b, a and a′ as three pictures and draw b′ alone.
        targets: the layers adapted, "attention", "all" (with the feed-forward layers) or "blocks"
            (every linear layer of the blocks).
        encoder: the image encoder; ``None`` is the one that goes with the base.
        resolution: side in pixels of a square with each picture's area; a grid has twice the side.
            ``None`` is the base's own. LoRWeB's 512 is the side of the grid, 256 here.
        guidance: distilled guidance in training.
        caption_dropout: share of the captions that are left out.
        steps: optimiser steps.
        batch: analogies in each.
        accumulate: batches whose gradients are summed before a step.
        lr: AdamW's learning rate, constant.
        beta1: AdamW's, of the mean gradient.
        beta2: AdamW's, of the mean squared gradient.
        weight_decay: AdamW's.
        optimizer: "adamw", or "adamw8bit" (bitsandbytes), as published, on a GPU.
        seed: the only source of the run's randomness.
        gradient_checkpointing: trade time for memory in the transformer.
        checkpoint_every: steps between checkpoints, 0 for only the last.
        preview_every: steps between pictures of how some of the analogies are answered, 0 for none.
        track: one of :data:`pairedit_sdk.training.trackers.TRACKERS` ("tensorboard", "wandb", …),
            to show the loss in besides metrics.jsonl, or ``None``.
    """

    count: int = 32
    rank: int = 4
    alpha: float | None = None
    key_width: int = 128
    activation: str = "softmax"
    shared: bool = False
    unit_embeddings: bool = False
    start: str = "random"
    query: str = "pictures"
    layout: str = "grid"
    targets: str = "blocks"
    encoder: str | None = None
    resolution: int | None = None
    guidance: float = 1.0
    caption_dropout: float = 0.05
    steps: int = 10_000
    batch: int = 6
    accumulate: int = 1
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.05
    optimizer: str = "adamw"
    seed: int = 0
    gradient_checkpointing: bool = False
    checkpoint_every: int = 250
    preview_every: int = 0
    track: str | None = None
    #: Fixed: LoRWeB's learning rate is constant, and of its checkpoints the last two are kept.
    lr_schedule: ClassVar[str] = "constant"
    keep: ClassVar[int] = 2

    def __post_init__(self) -> None:
        problems = broken_rules(self, _RULES)
        if self.start == "difference" and (self.query == "grid" or not self.unit_embeddings):
            problems.append("start=difference needs query=pictures and unit_embeddings=true")
        refuse(problems)

    @property
    def scaling(self) -> float:
        """alpha / r."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's."""
        return self.beta1, self.beta2

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return asdict(self)


_SHARE: Rule = (lambda v: 0 <= v < 1, "0 to 1, and not 1 itself")
_RULES: dict[str, Rule] = {
    "count": whole(1),
    "rank": whole(1),
    "alpha": (lambda v: v is None or v > 0, "a number above 0, or nothing"),
    "key_width": whole(1),
    "activation": one_of(ACTIVATIONS),
    "start": one_of(STARTS),
    "query": one_of(QUERIES),
    "layout": one_of(LAYOUTS),
    "resolution": (lambda v: v is None or 16 <= v <= 4096, "16 to 4096 pixels, or nothing"),
    "guidance": (lambda v: math.isfinite(v) and v >= 0, "a number of at least 0"),
    "caption_dropout": (lambda v: 0 <= v <= 1, "0 to 1"),
    "steps": whole(1),
    "batch": whole(1),
    "accumulate": whole(1),
    "lr": positive(1.0),
    "beta1": _SHARE,
    "beta2": _SHARE,
    "weight_decay": (lambda v: math.isfinite(v) and v >= 0, "a number of at least 0"),
    "optimizer": one_of(OPTIMIZERS),
    "seed": (lambda v: 0 <= v < 2**31, "a whole number from 0 to 2147483647"),
    "checkpoint_every": whole(0),
    "preview_every": whole(0),
    "track": (lambda v: v is None or v in TRACKERS, f"one of {', '.join(TRACKERS)}, or nothing"),
}


def basis_settings(overrides: list[str], source: str = "The settings") -> BasisSettings:
    """The published values, changed by ``key=value`` words.

    Raises:
        UsageError: unknown keys, or values of another kind or out of range, all at once.
    """
    return from_values(BasisSettings, with_overrides({}, overrides), source)
