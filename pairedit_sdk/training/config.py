"""Settings of a training run, and the recipes that hold them.

A recipe is a YAML file with exactly the keys of :class:`TrainConfig`. Every problem of a recipe is
reported at once, misspelt keys with the nearest known one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.io.resources import recipes_dir
from pairedit_sdk.io.settings import (
    Rule,
    broken_rules,
    from_values,
    one_of,
    positive,
    read_yaml,
    refuse,
    whole,
    with_overrides,
)
from pairedit_sdk.training.optimizers import OPTIMIZERS
from pairedit_sdk.training.trackers import TRACKERS

OBJECTIVES = ("pairedit", "difference", "slider", "reconstruction", "flowedit")
NOISINGS = ("content-preserving", "standard")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "nf4", "int8")
LORA_PRECISIONS = ("fp32", "bf16")
SCHEDULES = ("constant", "cosine")
SIGMA_SAMPLINGS = ("uniform", "stratified")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run. The defaults are PairEdit's published values.

    Args:
        base: the base model the recipe is meant for; ``None`` leaves it to the caller.
        steps: optimiser steps.
        batch: (pair, σ, ε) draws in each step; every draw is one content and one semantic row.
        lr: AdamW's learning rate, for both LoRAs.
        lr_schedule: "constant", or "cosine" to zero.
        rank: rank of the content and of the semantic LoRA.
        alpha: the LoRA's update is scaled by alpha / rank.
        eta: η of Eq. 10, how far the semantic target moves along the pair's difference.
        beta: β of Eq. 3, the strength of the content-preserving noise.
        guidance: distilled guidance given to a base that takes one.
        seed: the only source of the run's randomness.
        resolution: side in pixels of a square with the training pictures' area; ``None`` is the
            base's own. The aspect ratio is kept.
        precision: precision of the frozen base, see :func:`pairedit_sdk.load_model`.
        lora_precision: precision of the LoRAs in training; "bf16" saves half of their memory and
            of their optimiser's, and rounds small steps away.
        offload: let the transformer leave the device while other parts of the base are used.
        sigma_count: σ is drawn from the noise levels of a sampling schedule this long.
        sigma_sampling: "uniform" draws every σ by itself; "stratified" gives each draw of a batch
            its own part of the schedule.
        objective: "pairedit" is Eq. 10; "difference" replaces the noise in its target by the
            prediction of the content branch, or of the plain base if there is none; "slider" is
            ablation A, Concept Sliders' loss; "reconstruction" is a plain LoRA of the after
            pictures; "flowedit" aims, at the states that FlowEdit visits on its way from x_A, at
            the velocity that takes it to x_B from there.
        content_lora: ``False`` is ablation B, no content LoRA.
        lag, lead: only with "flowedit": the states z that it is taught at are behind the straight
            way to x_B by up to ``lag`` of what has been gone, or ahead by up to ``lead`` of what
            is left, so that the edit learns to catch up, and when it is done.
        noising: "content-preserving" is x_A + σβε; "standard" is ablation C, (1 − σ)x_A + σε.
        calibrate: after training, put that factor into the edit with which it carries the training
            pairs' before pictures nearest to their after pictures.
        gain: a factor put into the edit after training, on top of calibration's: an edit moves new
            pictures less far than its own pairs. Not used with a single pair, where nothing tells
            the edit from an accident that would be amplified with it.
        edit_steps: length of the schedule with which the edit is used on a picture, unless the
            user says otherwise; FlowEdit runs its last 24 / 28.
        edit_n_avg: noises averaged in each of these steps.
        edit_threshold: how far FlowEdit damps small changes, see
            :func:`pairedit_sdk.flow.solvers.damped`.
        edit_even: give every picture a factor of its own, with which it changes no more than the
            pairs do, see :mod:`pairedit_sdk.editing.scale_limit`. It needs an image encoder.
        targets: name of the layers adapted, see ``FlowBase.lora_targets``.
        optimizer: "adamw", or "adamw8bit" (bitsandbytes).
        weight_decay: AdamW's.
        accumulate: batches whose gradients are summed before a step.
        gradient_checkpointing: trade time for memory in the transformer.
        checkpoint_every: steps between checkpoints, 0 for only the last.
        keep: so many of the last checkpoints are kept, and the best besides.
        preview_every: steps between preview strips on the training pairs, 0 for none.
        track: one of :data:`pairedit_sdk.training.trackers.TRACKERS` ("tensorboard", "wandb", …),
            to show the losses in besides metrics.jsonl, or ``None``.
    """

    base: str | None = None
    steps: int = 500
    batch: int = 1
    lr: float = 2e-3
    lr_schedule: str = "constant"
    rank: int = 16
    alpha: float = 1.0
    eta: float = 4.0
    beta: float = 1.0
    guidance: float = 3.5
    seed: int = 0
    resolution: int | None = None
    precision: str = "auto"
    lora_precision: str = "fp32"
    offload: bool = False
    sigma_count: int = 28
    sigma_sampling: str = "uniform"
    objective: str = "pairedit"
    lag: float = 0.0
    lead: float = 0.0
    content_lora: bool = True
    noising: str = "content-preserving"
    calibrate: bool = False
    gain: float = 1.0
    edit_steps: int = 28
    edit_n_avg: int = 1
    edit_threshold: float = 0.0
    edit_even: bool = False
    targets: str = "attention"
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    accumulate: int = 1
    gradient_checkpointing: bool = False
    checkpoint_every: int = 100
    keep: int = 2
    preview_every: int = 0
    track: str | None = None

    def __post_init__(self) -> None:
        problems = broken_rules(self, _RULES)
        if self.objective in ("reconstruction", "flowedit"):
            problems += [
                f"{name} is {getattr(self, name)!r}, expected {wanted!r} with this objective"
                for name, wanted in (("content_lora", False), ("noising", "standard"))
                if getattr(self, name) != wanted
            ]
        if self.objective != "flowedit":
            problems += [
                f"{name} is {getattr(self, name)!r}, expected 0 with objective {self.objective}"
                for name in ("lag", "lead")
                if getattr(self, name)
            ]
        refuse(problems)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return asdict(self)


_RULES: dict[str, Rule] = {
    "steps": whole(1),
    "batch": whole(1),
    "lr": positive(1.0),
    "lr_schedule": one_of(SCHEDULES),
    "rank": whole(1),
    "alpha": positive(),
    "eta": positive(),
    "beta": positive(),
    "guidance": (lambda v: math.isfinite(v) and v >= 0, "a number of at least 0"),
    "seed": (lambda v: 0 <= v < 2**31, "a whole number from 0 to 2147483647"),
    "resolution": (lambda v: v is None or 16 <= v <= 4096, "16 to 4096 pixels, or nothing"),
    "precision": one_of(PRECISIONS),
    "lora_precision": one_of(LORA_PRECISIONS),
    "sigma_count": (lambda v: 2 <= v <= 1000, "2 to 1000"),
    "sigma_sampling": one_of(SIGMA_SAMPLINGS),
    "objective": one_of(OBJECTIVES),
    "noising": one_of(NOISINGS),
    "lag": (lambda v: 0 <= v <= 1, "0 to 1"),
    "lead": (lambda v: 0 <= v <= 1, "0 to 1"),
    "gain": positive(10.0),
    "edit_steps": (lambda v: 2 <= v <= 1000, "2 to 1000"),
    "edit_n_avg": whole(1),
    "edit_threshold": (lambda v: 0 <= v <= 1, "0 to 1"),
    "optimizer": one_of(OPTIMIZERS),
    "weight_decay": (lambda v: math.isfinite(v) and v >= 0, "a number of at least 0"),
    "accumulate": whole(1),
    "checkpoint_every": whole(0),
    "keep": whole(1),
    "preview_every": whole(0),
    "track": (lambda v: v is None or v in TRACKERS, f"one of {', '.join(TRACKERS)}, or nothing"),
}


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in recipes_dir().glob("*.yaml"))


def load_recipe(
    name_or_path: str | Path | None = None, overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> TrainConfig:  # fmt: skip
    """Settings from a recipe by name or file, changed by ``key=value`` overrides.

    Args:
        name_or_path: a name of :func:`recipe_names`, a YAML file, or ``None`` for the defaults.
        overrides: e.g. ``["steps=200", "eta=3"]``; values are read as YAML.
        values: the same as plain values, which prevail over both.

    Raises:
        UsageError: unknown recipe, unreadable YAML, unknown keys, or values out of range.
    """
    settings: dict[str, Any] = {}
    source = "The settings"
    if name_or_path is not None:
        path = _recipe_path(name_or_path)
        source = f"Recipe {path.name}"
        settings = read_yaml(path, "Recipe")
    settings = with_overrides(settings, overrides) | dict(values or {})
    return make_config(settings, source)


def make_config(values: Mapping[str, Any], source: str = "The settings") -> TrainConfig:
    """A :class:`TrainConfig` from plain values, all problems reported at once."""
    return from_values(TrainConfig, values, source)


def _recipe_path(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        if not path.is_file():
            raise UsageError(
                f"Recipe file {path} is not there", next_step="Give a YAML file or a recipe's name"
            )
        return path
    shipped = recipes_dir() / f"{name_or_path}.yaml"
    if not shipped.is_file() or shipped.parent != recipes_dir():
        raise UsageError(
            f"There is no recipe {str(name_or_path)!r}",
            next_step=nearest(str(name_or_path), recipe_names()),
        )
    return shipped
