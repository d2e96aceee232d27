"""Training a basis: LoRAs, keys and projections together, with the flow loss on analogies."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.errors import TrainingError, UsageError
from pairedit_sdk.images.image import resized
from pairedit_sdk.images.plots import collage
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.answering import sampled
from pairedit_sdk.lorweb.basis import LearnedInfo, LoRWeBBasis
from pairedit_sdk.lorweb.mixture import Mixture
from pairedit_sdk.lorweb.rows import AnalogyRows, require_kontext
from pairedit_sdk.lorweb.run_folder import BasisRun, BasisStep
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.image_encoder import encoder_for, load_encoder
from pairedit_sdk.models.prompts import prompt_conditions
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.training.checkpoints import alone
from pairedit_sdk.training.interrupts import stopped_between_steps
from pairedit_sdk.training.optimizers import adamw
from pairedit_sdk.training.processes import (
    accelerating,
    gradient_scale,
    share_of,
    sum_gradients,
    summed,
)
from pairedit_sdk.training.trackers import require_tracker, tracking

if TYPE_CHECKING:
    from accelerate import Accelerator
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowBase

#: Noise levels that a step's σ are drawn from.
LEVELS = 1000
#: Longer gradients are cut to this, as LoRWeB's trainer does.
GRADIENT_NORM = 1.0
#: Analogies in a preview.
PREVIEWED = 6


def train_basis(
    base: FlowBase, analogies: Sequence[Analogy], settings: BasisSettings | None = None, *,
    name: str, run_dir: str | Path | None = None, resume: bool = False, force: bool = False,
    on_step: Callable[[BasisStep], None] | None = None,
) -> LoRWeBBasis:  # fmt: skip
    """Train a basis of LoRAs that an image encoder mixes, as LoRWeB does.

    A step's analogies, noise and noise levels depend on the seed and the step's number alone: on a
    CPU a run is reproducible bit for bit, resumed or not. Under ``accelerate launch`` every process
    takes its part of each batch, and gradients are summed.

    Args:
        base: a frozen Kontext; it is left exactly as it was.
        analogies: what to learn from.
        settings: ``None`` are the published ones.
        name: of the basis.
        run_dir: folder for settings, metrics and checkpoints.
        resume: go on from the newest checkpoint there.
        force: take the place of a run that is there.
        on_step: called after every step.

    Raises:
        UsageError: no analogies, a rank that does not fit, a run folder that is in use, a tracker
            that is not installed.
        BaseModelError: a base that does not look at pictures, or an encoder that cannot be loaded.
        TrainingError: the loss is no longer finite.
        KeyboardInterrupt: Ctrl-C, after the step under way and its checkpoint.
    """
    settings = settings or BasisSettings()
    require_tracker(settings.track, folder=run_dir is not None)
    folder = None if run_dir is None else Path(run_dir)
    looking = require_kontext(base)
    if not len(analogies):
        raise UsageError("There are no analogies to learn from", expected="one or more")
    encoder = load_encoder(settings.encoder or encoder_for(base.name), str(base.device))
    rows = AnalogyRows(looking, encoder, analogies, settings)
    captions = _captions(base, rows, settings)
    mixture = Mixture(base, settings, len(rows[0].query))
    try:
        optimizer = adamw(
            settings.optimizer, mixture.parameters.values(), lr=settings.lr,
            betas=(settings.beta1, settings.beta2), weight_decay=settings.weight_decay,
        )  # fmt: skip
        base.set_gradient_checkpointing(settings.gradient_checkpointing)
        with (
            accelerating(base.device, settings.track, folder) as accelerator,
            alone(folder if accelerator.is_main_process else None),
            stopped_between_steps() as stopped,
            ExitStack() as held,
        ):
            run = None if folder is None else BasisRun(folder, settings, accelerator)
            share_of(accelerator, settings.batch)
            first = 0
            if run is not None:
                first = run.begin(mixture, optimizer, base, rows, resume=resume, force=force)
            held.enter_context(tracking(accelerator, settings.track, settings.as_dict()))
            for step in range(first, settings.steps):
                begun = time.monotonic()
                loss = _step(mixture, rows, captions, optimizer, accelerator, step)
                info = BasisStep(step + 1, settings.steps, loss, time.monotonic() - begun)
                if run is not None:
                    # First, or a run killed after its checkpoint would never draw it.
                    run.preview(info.step, partial(_preview, mixture, rows, captions))
                    run.after_step(info, mixture, optimizer)
                if on_step is not None:
                    on_step(info)
                if any(summed(accelerator, stopped.is_set())):
                    if run is not None:
                        run.checkpoint(info.step, mixture, optimizer)
                    raise KeyboardInterrupt
        return mixture.finished(
            LearnedInfo(
                name, base.name, base.fingerprint, base.architecture, encoder.name, settings,
                settings.steps,
            )
        )  # fmt: skip
    finally:
        base.set_gradient_checkpointing(False)
        mixture.close()


def _captions(
    base: FlowBase, rows: AnalogyRows, settings: BasisSettings
) -> Mapping[str, Condition]:
    """The embeddings of all captions, so that the text encoders are not needed in training."""
    given = getattr(rows.analogies, "captions", None)
    texts = given if given is not None else [analogy.caption for analogy in rows.analogies]
    return prompt_conditions(base, {""} if settings.caption_dropout == 1 else {*texts, ""})


def _preview(mixture: Mixture, rows: AnalogyRows, captions: Mapping[str, Condition]) -> Image.Image:
    """Some of the analogies, and what is made of b as the basis now is."""
    base, settings = mixture.base, mixture.settings
    count = min(PREVIEWED, len(rows))
    shown = []
    for index in (k * len(rows) // count for k in range(count)):
        row, analogy = rows[index], rows.analogies[index]
        said = captions["" if settings.caption_dropout == 1 else row.caption]
        references = tuple(latents.to(base.device) for latents in row.references)
        mixture.mix(row.query[None])
        made = sampled(
            base, replace(said, references=references), row.target.shape, layout=settings.layout
        )
        sides = (analogy.a, analogy.a_prime, analogy.b, analogy.b_prime)
        shown.append([*(resized(picture, made.size) for picture in sides), made])
    return collage(shown, ["a", "a'", "b", "b'", "made"])


def _step(
    mixture: Mixture, rows: AnalogyRows, captions: Mapping[str, Condition],
    optimizer: torch.optim.Optimizer, accelerator: Accelerator, step: int,
) -> float:  # fmt: skip
    settings = mixture.settings
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    scale = gradient_scale(mixture.base.dtype, rows[0].target.numel())
    with torch.enable_grad():
        for part in range(settings.accumulate):
            for loss in _losses(mixture, rows, captions, accelerator, step, part):
                accelerator.backward(loss * scale / settings.accumulate)
                total += float(loss.detach()) / settings.accumulate
    (total,) = summed(accelerator, total)
    sum_gradients(accelerator, mixture.parameters.values(), scale)
    if not math.isfinite(total):
        raise TrainingError(
            f"The loss of step {step + 1} is not a finite number",
            next_step=f"Try a smaller lr (it is {settings.lr:g})",
        )
    torch.nn.utils.clip_grad_norm_(mixture.parameters.values(), GRADIENT_NORM)
    optimizer.step()
    if settings.track:
        accelerator.log({"loss": total}, step=step + 1)
    return total


def _losses(
    mixture: Mixture, rows: AnalogyRows, captions: Mapping[str, Condition],
    accelerator: Accelerator, step: int, part: int,
) -> Iterator[torch.Tensor]:  # fmt: skip
    """The flow loss of this process's rows, an item for each size of pictures."""
    settings, base = mixture.settings, mixture.base
    draw = step * settings.accumulate + part
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + draw)
    chosen = torch.randint(len(rows), (settings.batch,), generator=generator).tolist()
    dropped = (torch.rand(settings.batch, generator=generator) < settings.caption_dropout).tolist()
    levels = torch.randint(LEVELS, (settings.batch,), generator=generator)
    seeds = torch.randint(2**31, (settings.batch,), generator=generator).tolist()
    own = share_of(accelerator, settings.batch)
    shown = {k: rows[chosen[k]] for k in own}
    noises = {
        k: torch.randn(row.target.shape, generator=torch.Generator().manual_seed(seeds[k]))
        for k, row in shown.items()
    }
    sizes: dict[tuple[int, ...], list[int]] = {}
    for k in own:
        sizes.setdefault(tuple(shown[k].target.shape), []).append(k)
    for group in sizes.values():
        x_0 = torch.cat([shown[k].target for k in group]).to(base.device)
        noise = torch.cat([noises[k] for k in group]).to(base.device)
        sigmas = base.sigmas(LEVELS, *base.image_size(x_0))[:-1]
        sigma = sigmas[levels[group].to(sigmas.device)]
        at = sigma.view(-1, 1, 1, 1)
        said = [captions["" if dropped[k] else shown[k].caption] for k in group]
        condition = replace(
            said[0],
            prompt_embeds=torch.cat([s.prompt_embeds.to(base.device) for s in said]),
            pooled=torch.cat([s.pooled.to(base.device) for s in said]),
            references=tuple(
                torch.cat(pictures).to(base.device)
                for pictures in zip(*(shown[k].references for k in group), strict=True)
            ),
        )
        mixture.mix(torch.stack([shown[k].query for k in group]))
        v = base.velocity((1 - at) * x_0 + at * noise, sigma, condition, settings.guidance)
        error = (v.float() - (noise - x_0)).square().mean()
        yield error * len(group) / settings.batch
