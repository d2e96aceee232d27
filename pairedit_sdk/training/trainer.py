"""Learning an edit: the content and the semantic LoRA, trained jointly (PairEdit, Eq. 3 and 10).

Both branches run as rows of one forward pass. Content rows carry θ_c; semantic rows carry θ_s and
a frozen twin of θ_c that shares its memory, so that L_s can give θ_c no gradient.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk import __version__
from pairedit_sdk.editing.scale_limit import TRAIN_WITHOUT, encoder_of, shown_change
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.errors import TrainingError, UsageError
from pairedit_sdk.lora.adapters import check_rank, detach_all, require_bare
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.prompts import prompt_condition
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.training.branches import Branches
from pairedit_sdk.training.calibration import unit_scale
from pairedit_sdk.training.checkpoints import alone
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.interrupts import stopped_between_steps
from pairedit_sdk.training.optimizers import adamw
from pairedit_sdk.training.processes import (
    accelerating,
    gradient_scale,
    share_of,
    sum_gradients,
    summed,
)
from pairedit_sdk.training.run_folder import Run
from pairedit_sdk.training.trackers import require_tracker, tracking

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pairedit_sdk.models.protocol import FlowBase
    from pairedit_sdk.pairs.latents import PairLatents
    from pairedit_sdk.pairs.pair_set import PairSet


#: A loss above this is no training any more. A velocity's mean square is about 1, and η² times the
#: pair's difference is in the targets.
EXPLODED = 1e3


@dataclass(frozen=True)
class StepInfo:
    """What is known after a step. Losses are means over latent elements."""

    step: int
    steps: int
    content_loss: float
    semantic_loss: float
    lr: float
    seconds: float


def train(
    base: FlowBase, pairs: PairSet, config: TrainConfig | None = None, *, name: str,
    run_dir: str | Path | None = None, resume: bool = False,
    on_step: Callable[[StepInfo], None] | None = None,
) -> Edit:  # fmt: skip
    """Learn the change that the pairs show.

    Under ``accelerate launch`` every process takes its share of each batch, and the edit is that of
    one process with the same batch, within rounding.

    The noise of every step depends on the run's seed and the step's number alone, so a run on a CPU
    is reproducible bit for bit on the same machine, resumed or not; a GPU's own kernels may round
    differently from run to run.

    Args:
        base: the frozen model; it is left exactly as it was.
        pairs: before/after pictures, usually one to three.
        config: the settings; ``None`` are the published ones.
        name: the edit's name.
        run_dir: folder for settings, metrics, checkpoints, previews and the content LoRA.
        resume: go on from the newest checkpoint in ``run_dir``.
        on_step: called after every step.

    Returns:
        The edit: the semantic LoRA with alpha baked in.

    Raises:
        UsageError: settings that do not fit the base, or a run folder that is in use, or a batch
            with fewer rows than there are processes, or a tracker that is not installed.
        TrainingError: the losses are no longer finite, or beyond all bounds.
        KeyboardInterrupt: Ctrl-C, after the step under way and its checkpoint.
    """
    config = config or TrainConfig()
    require_tracker(config.track, folder=run_dir is not None)
    _check_fit(base, config)
    run = Run(Path(run_dir), config, name) if run_dir is not None else None
    try:
        folder = None if run is None else run.folder
        with accelerating(base.device, config.track, folder) as accelerator, ExitStack() as held:
            share_of(accelerator, config.batch)  # refuses before a folder is made
            held.enter_context(alone(folder if accelerator.is_main_process else None))
            accelerator.wait_for_everyone()  # the first may have cleared the folder
            if run is not None:
                run.writes = accelerator.is_main_process
                run.open(resume)
            condition = prompt_condition(base, "")
            base.release_text_encoders()
            latents = encode_pairs(
                base, pairs, config.resolution, run.cache_folder if run is not None else None
            )
            branches = Branches(base, config, condition)
            optimizer = adamw(
                config.optimizer, branches.parameters.values(), lr=config.lr,
                weight_decay=config.weight_decay,
            )  # fmt: skip
            first = 0
            if run is not None:
                first = run.restore(branches.parameters, optimizer, latents, base)
            base.set_gradient_checkpointing(config.gradient_checkpointing)
            with tracking(accelerator, config.track, config.as_dict()):
                _loop(branches, latents, config, optimizer, accelerator, run, first, on_step)
        semantic = branches.baked("semantic")
        content = branches.baked("content") if config.content_lora else None
        detach_all(base.transformer)
        edit = finished(base, semantic, latents, config, name)
        edit = edit.with_info(pairs_fingerprint=pairs.fingerprint)
        if run is not None:
            run.finish(content, edit)
        return edit
    finally:
        base.set_gradient_checkpointing(False)
        detach_all(base.transformer)


def finished(
    base: FlowBase, semantic: Mapping[str, LoraLayer], latents: Sequence[PairLatents],
    config: TrainConfig, name: str, steps: int | None = None,
) -> Edit:  # fmt: skip
    """The edit that a trained LoRA becomes: with gain and calibration in it, and described.

    Args:
        base: without any LoRA attached.
        semantic: the LoRA, alpha baked in.
        latents: of the training pairs.
        config: it was trained with.
        name: of the edit.
        steps: that were trained; ``None`` are the config's.
    """
    factor = config.gain if len(latents) > 1 else 1.0
    if config.calibrate:
        condition = prompt_condition(base, "")
        factor *= unit_scale(
            base, semantic, latents, condition, config.guidance, steps=config.edit_steps
        )
    if factor != 1:
        semantic = {n: LoraLayer(u.down, u.up * factor) for n, u in semantic.items()}
    pairs = [pair.name for pair in latents]
    info = _info(base, pairs, config, name, factor, steps or config.steps)
    return Edit(
        semantic, replace(info, direction=shown_change(base, latents)) if config.edit_even else info
    )


def _check_fit(base: FlowBase, config: TrainConfig) -> None:
    """Refuse what cannot work before anything slow is done or any file is written."""
    require_bare(base.transformer)
    check_rank(base.transformer, base.lora_targets(config.targets), config.rank)
    if config.edit_even:
        encoder_of(base, TRAIN_WITHOUT)
    if config.precision not in ("auto", base.precision):
        raise UsageError(
            f"The settings say precision {config.precision}, the base is held in {base.precision}",
            next_step=f"Load it with precision={config.precision!r}, or set precision=auto",
        )


def _loop(
    branches: Branches, latents: list[PairLatents], config: TrainConfig,
    optimizer: torch.optim.Optimizer, accelerator: Accelerator, run: Run | None, first: int,
    on_step: Callable[[StepInfo], None] | None,
) -> None:  # fmt: skip
    with stopped_between_steps() as stopped:
        for step in range(first, config.steps):
            info = training_step(
                branches, latents, optimizer, accelerator, step,
                None if run is None else run.checkpoints.folder,
            )  # fmt: skip
            if run is not None:
                run.after_step(info, branches, optimizer, latents)
            if on_step is not None:
                on_step(info)
            if any(summed(accelerator, stopped.is_set())):
                if run is not None:
                    run.checkpoint(info.step, branches.parameters, optimizer)
                raise KeyboardInterrupt


def training_step(
    branches: Branches, latents: list[PairLatents], optimizer: torch.optim.Optimizer,
    accelerator: Accelerator, step: int, checkpoints: Path | None = None,
) -> StepInfo:  # fmt: skip
    """One optimiser step of both LoRAs.

    Args:
        branches: attached, with the run's settings.
        latents: of the training pairs.
        optimizer: of the branches' parameters.
        accelerator: of :func:`pairedit_sdk.training.processes.accelerating`.
        step: its number, from 0, which decides what is drawn.
        checkpoints: where earlier ones are, for the error.

    Raises:
        TrainingError: the loss is no longer finite, or beyond all bounds.
    """
    begun, config = time.monotonic(), branches.config
    lr = _lr(config, step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    content = semantic = 0.0
    scale = gradient_scale(branches.base.dtype, latents[0].x_a.numel())
    with torch.enable_grad():
        for part in range(config.accumulate):
            draw = step * config.accumulate + part
            for losses in branches.losses(latents, draw, share_of(accelerator, config.batch)):
                accelerator.backward(losses.total * scale / config.accumulate)
                content += float(losses.content.detach()) / config.accumulate
                semantic += float(losses.semantic.detach()) / config.accumulate
    content, semantic = summed(accelerator, content, semantic)
    sum_gradients(accelerator, branches.parameters.values(), scale)
    loss = content + semantic
    if not loss < EXPLODED * max(1.0, config.eta**2):  # NaN is not
        raise TrainingError(
            f"The loss of step {step + 1} is "
            + (f"{loss:.0f}" if math.isfinite(loss) else "not a finite number"),
            expected="about 1; the training has come apart",
            next_step=f"Try a smaller lr (it is {config.lr:g})"
            + (f"; earlier checkpoints are in {checkpoints}" if checkpoints else ""),
        )
    optimizer.step()
    if config.track:
        values = {"content_loss": content, "semantic_loss": semantic, "lr": lr}
        accelerator.log(values, step=step + 1)
    return StepInfo(step + 1, config.steps, content, semantic, lr, time.monotonic() - begun)


def _lr(config: TrainConfig, step: int) -> float:
    if config.lr_schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr


def _info(
    base: FlowBase, pairs: list[str], config: TrainConfig, name: str, factor: float, steps: int
) -> EditInfo:
    # No time of day in here: the same run gives the same file.
    return EditInfo(
        name=name, base=base.name, architecture=base.architecture,
        base_fingerprint=base.fingerprint, precision=base.precision, guidance=config.guidance,
        resolution=config.resolution or base.resolution, rank=config.rank, steps=steps,
        pairs=pairs, settings=config.as_dict(), unit_scale=factor,
        editor=EditorSettings(
            config.edit_steps, config.edit_n_avg, config.edit_threshold, config.edit_even
        ),
        sdk_version=__version__,
    )  # fmt: skip
