"""The settings that every training has, in groups: PairEdit's and LoRWeB's are made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from pairedit_sdk.io.settings import (
    Rule,
    Short,
    broken_rules,
    flat_values,
    one_of,
    positive,
    refuse,
    set_values,
    whole,
)
from pairedit_sdk.training.optimizers import OPTIMIZERS
from pairedit_sdk.training.trackers import TRACKERS

SCHEDULES = ("constant", "cosine")
LORA_PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class OptimSettings:
    """The optimiser.

    Args:
        optimizer: "adamw", or "adamw8bit" (bitsandbytes).
        lr: AdamW's learning rate.
        lr_schedule: "constant", or "cosine" to zero.
        weight_decay: AdamW's.
        beta1, beta2: AdamW's, the decay of its two averages.
    """

    optimizer: str = "adamw"
    lr: float = 2e-3
    lr_schedule: str = "constant"
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999


@dataclass(frozen=True)
class LoraSettings:
    """The LoRAs that are trained.

    Args:
        rank: r of each LoRA.
        alpha: a LoRA's update is scaled by alpha / rank; ``None`` is the rank.
        targets: the layers adapted: "attention"; "all" adds the feed-forward layers, and "blocks"
            the norms' as well.
        precision: in training; "bf16" saves half of the LoRAs' memory and of their optimiser's,
            and rounds small steps away.
    """

    rank: int = 16
    alpha: float | None = 1.0
    targets: str = "attention"
    precision: str = "fp32"

    @property
    def scaling(self) -> float:
        """alpha / r."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True)
class CheckpointSettings:
    """What a run's folder is given, and how often.

    Args:
        every: steps between checkpoints, 0 for only the last.
        keep: so many of the last checkpoints are kept, and the best besides, where it is known.
        preview_every: steps between previews on the training data, 0 for none.
    """

    every: int = 100
    keep: int = 2
    preview_every: int = 0


@dataclass(frozen=True, init=False)
class TrainingSettings:
    """Settings of a training, whatever it trains.

    A setting of a group has a short name, too, which the files of runs use: ``settings.lr`` is
    ``settings.optim.lr``, and ``settings.with_values(lr=1e-3)`` changes it.

    Attributes:
        steps: optimiser steps.
        batch: rows drawn in each.
        accumulate: batches whose gradients are summed before a step.
        guidance: distilled guidance given to a model that takes one.
        seed: the only source of the run's randomness.
        resolution: side in pixels of a square with the training pictures' area; ``None`` is the
            model's own. The aspect ratio is kept.
        gradient_checkpointing: trade time for memory in the transformer.
        track: one of :data:`pairedit_sdk.training.trackers.TRACKERS` ("tensorboard", "wandb", …),
            to show the losses in besides metrics.jsonl, or ``None``.
        optim: see :class:`OptimSettings`.
        lora: see :class:`LoraSettings`.
        checkpointing: see :class:`CheckpointSettings`.

    Raises:
        UsageError: values out of range, all at once.
        TypeError: an unknown name.
    """

    steps: int = 500
    batch: int = 1
    accumulate: int = 1
    guidance: float = 3.5
    seed: int = 0
    resolution: int | None = None
    gradient_checkpointing: bool = False
    track: str | None = None
    optim: OptimSettings = OptimSettings()  # frozen
    lora: LoraSettings = LoraSettings()
    checkpointing: CheckpointSettings = CheckpointSettings()

    optimizer = Short[str]("optim.optimizer")
    lr = Short[float]("optim.lr")
    lr_schedule = Short[str]("optim.lr_schedule")
    weight_decay = Short[float]("optim.weight_decay")
    beta1 = Short[float]("optim.beta1")
    beta2 = Short[float]("optim.beta2")
    rank = Short[int]("lora.rank")
    alpha = Short["float | None"]("lora.alpha")
    targets = Short[str]("lora.targets")
    lora_precision = Short[str]("lora.precision")
    checkpoint_every = Short[int]("checkpointing.every")
    keep = Short[int]("checkpointing.keep")
    preview_every = Short[int]("checkpointing.preview_every")

    #: Rules of the subclass's own settings.
    own_rules: ClassVar[dict[str, Rule]] = {}
    #: Settings that earlier versions do not know; left out of files while they have their defaults.
    newer: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **values: Any) -> None:
        set_values(self, values)
        refuse([*broken_rules(self, {**_RULES, **self.own_rules}), *self.conflicts()])

    @property
    def betas(self) -> tuple[float, float]:
        """AdamW's."""
        return self.optim.beta1, self.optim.beta2

    def conflicts(self) -> list[str]:
        """What does not go together, a phrase each."""
        return []

    def with_values(self, **values: Any) -> Self:
        """The same settings but for these, by their own names or short ones."""
        return replace(self, **values)

    def as_dict(self) -> dict[str, Any]:
        """The settings by their short names, as plain JSON values: the form of files."""
        default = flat_values(type(self)())
        return {
            name: value
            for name, value in flat_values(self).items()
            if name not in self.newer or value != default[name]
        }


SHARE: Rule = (lambda v: 0 <= v < 1, "0 to 1, and not 1 itself")
_RULES: dict[str, Rule] = {
    "steps": whole(1),
    "batch": whole(1),
    "accumulate": whole(1),
    "guidance": (lambda v: math.isfinite(v) and v >= 0, "a number of at least 0"),
    "seed": (lambda v: 0 <= v < 2**31, "a whole number from 0 to 2147483647"),
    "resolution": (lambda v: v is None or 16 <= v <= 4096, "16 to 4096 pixels, or nothing"),
    "track": (lambda v: v is None or v in TRACKERS, f"one of {', '.join(TRACKERS)}, or nothing"),
    "optim.optimizer": one_of(OPTIMIZERS),
    "optim.lr": positive(1.0),
    "optim.lr_schedule": one_of(SCHEDULES),
    "optim.weight_decay": (lambda v: math.isfinite(v) and v >= 0, "a number of at least 0"),
    "optim.beta1": SHARE,
    "optim.beta2": SHARE,
    "lora.rank": whole(1),
    "lora.alpha": (
        lambda v: v is None or (v > 0 and math.isfinite(v)),
        "a number above 0, or nothing",
    ),
    "lora.precision": one_of(LORA_PRECISIONS),
    "checkpointing.every": whole(0),
    "checkpointing.keep": whole(1),
    "checkpointing.preview_every": whole(0),
}
