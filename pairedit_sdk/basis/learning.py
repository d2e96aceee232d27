"""Training a basis: LoRAs, keys and projections together, with the flow loss on analogies."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk import cache
from pairedit_sdk.basis.analogies import Analogy
from pairedit_sdk.basis.analogy_rows import AnalogyRows, require_kontext
from pairedit_sdk.basis.encoder import encoder_for, load_encoder
from pairedit_sdk.basis.learned import LearnedBasis, LearnedInfo
from pairedit_sdk.basis.learned_settings import BasisSettings
from pairedit_sdk.basis.mixture import Mixture
from pairedit_sdk.checkpoints import Checkpoints, step_of
from pairedit_sdk.errors import TrainingError, UsageError
from pairedit_sdk.files import atomic_write, write_json

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pairedit_sdk.bases.protocol import Condition, FlowBase

#: Noise levels that a step's σ are drawn from.
LEVELS = 1000


@dataclass(frozen=True)
class BasisStep:
    """What is known after a step; ``loss`` is a mean over latent elements."""

    step: int
    steps: int
    loss: float
    seconds: float


def train_basis(
    base: FlowBase, analogies: Sequence[Analogy], settings: BasisSettings | None = None, *,
    name: str, run_dir: str | Path | None = None, resume: bool = False,
    on_step: Callable[[BasisStep], None] | None = None,
) -> LearnedBasis:  # fmt: skip
    """Train a basis of LoRAs that an image encoder mixes, as LoRWeB does.

    A step's analogies, noise and noise levels depend on the seed and the step's number alone: on a
    CPU a run is reproducible bit for bit, resumed or not. Under ``accelerate launch`` every process
    takes its part of each batch, and gradients are averaged.

    Args:
        base: a frozen Kontext; it is left exactly as it was.
        analogies: what to learn from.
        settings: ``None`` are the published ones.
        name: of the basis.
        run_dir: folder for settings, metrics and checkpoints.
        resume: go on from the newest checkpoint there.
        on_step: called after every step.

    Raises:
        UsageError: no analogies, a rank that does not fit, a run folder that is in use.
        BaseModelError: a base that does not look at pictures, or an encoder that cannot be loaded.
        TrainingError: the loss is no longer finite.
    """
    settings = settings or BasisSettings()
    looking = require_kontext(base)
    if not len(analogies):
        raise UsageError("There are no analogies to learn from", expected="one or more")
    encoder = load_encoder(settings.encoder or encoder_for(base.name))
    rows = AnalogyRows(looking, encoder, analogies, settings)
    captions = _captions(base, rows, settings)
    mixture = Mixture(base, settings, len(rows[0].query))
    try:
        optimizer = _optimizer(settings, mixture.parameters)
        run = None if run_dir is None else _Run(Path(run_dir), settings)
        first = 0 if run is None else run.begin(resume, mixture, optimizer, base, len(rows))
        base.set_gradient_checkpointing(settings.gradient_checkpointing)
        with _accelerating(base) as accelerator:
            for step in range(first, settings.steps):
                begun = time.monotonic()
                loss = _step(mixture, rows, captions, optimizer, accelerator, step)
                info = BasisStep(step + 1, settings.steps, loss, time.monotonic() - begun)
                if run is not None and accelerator.is_main_process:
                    run.after_step(info, mixture, optimizer)
                if on_step is not None:
                    on_step(info)
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
    said = {""} if settings.caption_dropout == 1 else {"", *texts}
    found = {text: cache.condition(base, text) for text in sorted(said)}
    base.release_text_encoders()
    return found


def _step(
    mixture: Mixture, rows: AnalogyRows, captions: Mapping[str, Condition],
    optimizer: torch.optim.Optimizer, accelerator: Accelerator, step: int,
) -> float:  # fmt: skip
    settings = mixture.settings
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    with torch.enable_grad():
        for part in range(settings.accumulate):
            for loss in _losses(mixture, rows, captions, accelerator, step, part):
                accelerator.backward(loss / settings.accumulate)
                total += float(loss.detach()) / settings.accumulate
    if accelerator.num_processes > 1:
        mean = accelerator.reduce(torch.tensor(total, device=mixture.base.device), "mean")
        total = float(mean)
        for parameter in mixture.parameters.values():
            if parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, "mean")
    if not math.isfinite(total):
        raise TrainingError(
            f"The loss of step {step + 1} is not a finite number",
            next_step=f"Try a smaller lr (it is {settings.lr:g})",
        )
    optimizer.step()
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
    shown = [rows[index] for index in chosen]
    noises = [torch.randn(row.target.shape, generator=generator) for row in shown]
    own = range(accelerator.process_index, settings.batch, accelerator.num_processes)
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
            prompt_embeds=torch.cat([s.prompt_embeds for s in said]),
            pooled=torch.cat([s.pooled for s in said]),
            references=tuple(
                torch.cat(pictures).to(base.device)
                for pictures in zip(*(shown[k].references for k in group), strict=True)
            ),
        )
        mixture.mix(torch.stack([shown[k].query for k in group]))
        v = base.velocity((1 - at) * x_0 + at * noise, sigma, condition, settings.guidance)
        error = (v.float() - (noise - x_0)).square().mean()
        yield error * len(group) / len(own)


def _optimizer(
    settings: BasisSettings, parameters: Mapping[str, torch.nn.Parameter]
) -> torch.optim.Optimizer:
    kind: type[torch.optim.Optimizer] = torch.optim.AdamW
    if settings.optimizer == "adamw8bit":
        import bitsandbytes as bnb

        kind = bnb.optim.AdamW8bit
    return kind(  # type: ignore[call-arg]
        parameters.values(), lr=settings.lr, betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
    )  # fmt: skip


@contextmanager
def _accelerating(base: FlowBase) -> Iterator[Accelerator]:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    hosted = bool(AcceleratorState._shared_state)
    accelerator = (
        Accelerator()
        if hosted
        else Accelerator(mixed_precision="no", cpu=base.device.type == "cpu")
    )
    try:
        yield accelerator
    finally:
        if not hosted:
            AcceleratorState._reset_state(reset_partial_state=True)


class _Run:
    """The folder of a basis's training: settings, metrics, checkpoints."""

    def __init__(self, folder: Path, settings: BasisSettings) -> None:
        self.folder, self.settings = folder, settings
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.metrics = folder / "metrics.jsonl"

    def begin(
        self, resume: bool, mixture: Mixture, optimizer: torch.optim.Optimizer, base: FlowBase,
        count: int,
    ) -> int:  # fmt: skip
        """The number of finished steps."""
        there = self.checkpoints.newest()
        if there is not None and not resume:
            raise UsageError(
                f"{self.folder} already holds a run, at step {step_of(there)}",
                next_step="Resume it (--resume), start over (--force), or choose another name",
            )
        free = {"steps", "checkpoint_every", "preview_every", "gradient_checkpointing"}
        fixed = {k: v for k, v in self.settings.as_dict().items() if k not in free}
        self.checkpoints.data = f"{base.fingerprint}/{base.precision}/{count}/{json.dumps(fixed)}"
        done = self.checkpoints.restore(mixture.parameters, optimizer, self.settings.steps)
        write_json(self.folder / "config.json", {"settings": self.settings.as_dict()})
        lines = self.metrics.read_text().splitlines()[:done] if self.metrics.is_file() else []
        text = "".join(f"{line}\n" for line in lines)
        atomic_write(self.metrics, lambda part: _write(part, text))
        return done

    def after_step(
        self, info: BasisStep, mixture: Mixture, optimizer: torch.optim.Optimizer
    ) -> None:
        """Record the step, and write a checkpoint when it is due."""
        line = {"step": info.step, "loss": info.loss, "seconds": round(info.seconds, 4)}
        with self.metrics.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        every = self.settings.checkpoint_every
        if info.step == info.steps or (every and info.step % every == 0):
            self.checkpoints.save(info.step, mixture.parameters, optimizer)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
