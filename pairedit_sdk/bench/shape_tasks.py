"""The tasks of ``pairedit bench speed --shape``: each times something and gives its rows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.bench import shape_works as works
from pairedit_sdk.bench.timing import Timing, alternated, copy_ceiling, once, product_ceiling
from pairedit_sdk.estimates.needs import Needs, editing_needs, training_needs
from pairedit_sdk.estimates.weights import autoencoder_flops
from pairedit_sdk.lora.adapters import detach_all
from pairedit_sdk.training.config import TrainConfig, load_recipe

if TYPE_CHECKING:
    from pairedit_sdk.models.pipeline_model import PipelineModel

Row = dict[str, Any]
#: Settings of the training steps that are measured: precision, checkpointing, optimiser.
HOLDINGS = {
    "bf16": ("bf16", False, "adamw"),
    "bf16, checkpointing": ("bf16", True, "adamw"),
    "nf4, checkpointing, 8-bit AdamW": ("nf4", True, "adamw8bit"),
    "int8": ("int8", False, "adamw"),
    "nf4": ("nf4", False, "adamw"),
}
#: Noise schedules of an edited picture: steps and noises of the SDK's default, and as published.
EDITORS = {"5 steps × 2 noises": (5, 2), "28 steps": (28, 1)}


@dataclass
class Bench:
    """One run.

    Args:
        folder: of the shape.
        device: where it runs.
        side: of the pictures, in pixels.
        repetitions: of everything that is timed.
    """

    folder: Path
    device: torch.device
    side: int
    repetitions: int
    ceiling: float = 0.0
    _base: PipelineModel | None = field(default=None, repr=False)

    def base(self, precision: str) -> PipelineModel:
        """Random weights in that precision. One model is held at a time."""
        from pairedit_sdk.models.random_weights import random_model

        if self._base is None or self._base.precision != precision:
            self.drop()
            self._base = random_model(self.folder, device=str(self.device), precision=precision)
        return self._base

    def drop(self) -> None:
        """Free the model."""
        self._base = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def clean(self) -> bool:
        """After a task, failed or not: nothing attached, nothing kept in a cache.

        Returns:
            Whether the device still answers; after a kernel's fault it does not, in this process.
        """
        try:
            if self._base is not None:
                self._base.set_gradient_checkpointing(False)
                detach_all(self._base.transformer)
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.synchronize(self.device)
        except RuntimeError:
            return False
        return True

    def timed(self, given: Mapping[str, Callable[..., Any]]) -> dict[str, Timing]:
        """See :func:`~pairedit_sdk.bench.timing.alternated`."""
        return alternated(given, self.device, self.repetitions)

    def row(self, task: str, way: str, timing: Timing, flops: int = 0, **more: Any) -> Row:
        """What is said of something that was timed."""
        share = flops / timing.seconds / self.ceiling if flops and self.ceiling else None
        return {
            "task": task,
            "way": way,
            "seconds": timing.seconds,
            "least": timing.least,
            "most": timing.most,
            "flops": flops or None,
            "share_of_ceiling": share,
            "peak_bytes": timing.peak,
            **more,
        }

    # The tasks. Each gives its rows.

    def ceilings(self) -> list[Row]:
        """What the device reaches at best."""
        self.ceiling = product_ceiling(self.device, torch.bfloat16)
        copied = copy_ceiling(self.device)
        return [
            {"task": "ceiling", "way": "bf16 product", "flops_per_second": self.ceiling},
            {"task": "ceiling", "way": "copy", "bytes_per_second": copied},
        ]

    def step(self, holding: str) -> list[Row]:
        """A PairEdit step of rank 16, the naive loop's and ours."""
        precision, checkpointing, optimizer = HOLDINGS[holding]
        config = self._settings("published").with_values(
            precision=precision, optimizer=optimizer, gradient_checkpointing=checkpointing
        )
        model, pairs = self.base(precision), works.pairs_of(self.side)
        needs = self._needs(training_needs, config)
        times = self.timed(
            {
                "naive": works.naive_step(model, pairs, config),
                "ours": works.our_step(model, pairs, config),
            }
        )
        task, estimated = f"step, {holding}", {"estimated_bytes": needs.peak}
        encoding = 2 * autoencoder_flops(str(self.folder), model.dtype, self.side)
        ratio = times["naive"].seconds / times["ours"].seconds
        return [
            self.row(task, "naive", times["naive"], needs.flops + encoding),
            self.row(task, "ours", times["ours"], needs.flops, **estimated, times_as_fast=ratio),
        ]

    def default_step(self) -> list[Row]:
        """A step of the SDK's own default objective, at the states that FlowEdit visits."""
        config = self._settings("flux-dev-fast")
        model, pairs = self.base("bf16"), works.pairs_of(self.side)
        needs = self._needs(training_needs, config)
        way = f"ours, batch {config.batch}"
        times = self.timed({way: works.our_step(model, pairs, config)})
        row = self.row("default step, bf16, checkpointing", way, times[way], needs.flops)
        return [{**row, "estimated_bytes": needs.peak}]

    def picture(self, editor: str) -> list[Row]:
        """An edited picture's latents, with a LoRA attached, and the same rows without any."""
        steps, n_avg = EDITORS[editor]
        model = self.base("bf16")
        config = self._settings("flux-dev").with_values(edit_steps=steps, edit_n_avg=n_avg)
        needs = self._needs(editing_needs, config)
        times = self.timed(
            {
                "attached": works.edited_picture(
                    model, works.random_layers(model), self.side, steps, n_avg
                ),
                "merged (floor)": works.edited_picture_without_lora(model, self.side, steps, n_avg),
            }
        )
        ratio = times["attached"].seconds / times["merged (floor)"].seconds
        task = f"picture, {editor}"
        first = self.row(task, "attached", times["attached"], needs.flops)
        return [
            {**first, "estimated_bytes": needs.peak, "times_as_long": ratio},
            self.row(task, "merged (floor)", times["merged (floor)"]),
        ]

    def autoencoder(self) -> list[Row]:
        """A picture encoded and decoded."""
        times = self.timed({"bf16": works.autoencoder_round_trip(self.base("bf16"), self.side)})
        return [self.row("autoencoder", "round trip", times["bf16"])]

    def compiled_pass(self) -> list[Row]:
        """A pass of four rows with a LoRA attached, with the blocks compiled and without."""
        model = self.base("bf16")
        work = works.attached_pass(model, works.random_layers(model), self.side, 4)
        return self._compiled("pass of 4 rows", work)

    def compiled_step(self) -> list[Row]:
        """A PairEdit step, with the blocks compiled and without."""
        config = replace(self._settings("published"), precision="bf16")
        work = works.our_step(self.base("bf16"), works.pairs_of(self.side), config)
        return self._compiled("step, bf16", work)

    def mixed_basis(self) -> list[Row]:
        """A picture drawn with a learned basis's mix, and with one LoRA of rank 16."""
        model = self.base("bf16")
        basis = works.random_basis(model)
        mix = basis.mixed(torch.softmax(torch.randn(len(basis.layers), works.ELEMENTS), -1))
        times = self.timed(
            {
                "mixing": works.mixing(basis),
                "mixed": works.attached_pass(model, mix.layers, self.side, 1),
                "single": works.attached_pass(model, works.random_layers(model), self.side, 1),
            }
        )
        drawn = {name: works.DRAWING * times[name].seconds for name in ("mixed", "single")}
        drawn["mixed"] += times["mixing"].seconds
        ratio = {"times_as_long": drawn["mixed"] / drawn["single"]}
        task = f"basis, {works.ELEMENTS} × rank {works.ELEMENT_RANK}"
        return [
            self.row(task, "mixing, once a picture", times["mixing"]),
            {**self.row(task, "pass, mixed", times["mixed"]), "drawn": drawn["mixed"], **ratio},
            {**self.row(task, "pass, single", times["single"]), "drawn": drawn["single"]},
        ]

    def _compiled(self, task: str, work: Callable[..., Any]) -> list[Row]:
        model = self.base("bf16")
        model.transformer.compile_repeated_blocks()  # type: ignore[operator]
        try:
            with work() as unit:
                begun = once(unit, self.device)
            times = self.timed({"compiled": work, "eager": _eagerly(work)})
        finally:
            self.drop()  # there is no way back for compiled blocks
        ratio = times["eager"].seconds / times["compiled"].seconds
        name, compiling = f"compile: {task}", begun - times["compiled"].seconds
        first = self.row(name, "compiled", times["compiled"])
        return [
            {**first, "compile_seconds": compiling, "times_as_fast": ratio},
            self.row(name, "eager", times["eager"]),
        ]

    def _settings(self, recipe: str) -> TrainConfig:
        """A recipe's, for this device and size."""
        return load_recipe(recipe).with_values(
            base=None,
            rank=works.RANK,
            resolution=self.side,
            precision="bf16",
            edit_even=False,
            track=None,
        )

    def _needs(self, count: Callable[..., Needs], config: TrainConfig) -> Needs:
        return count(str(self.folder), config, "cuda" if self.device.type == "cuda" else "cpu")


def _eagerly(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, each unit of it without what was compiled."""

    @contextmanager
    def eager() -> Iterator[Callable[[], object]]:
        with work() as unit, torch.compiler.set_stance("force_eager"):
            yield unit

    return eager
