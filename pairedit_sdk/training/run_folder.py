"""A training run's folder: settings, metrics, checkpoints, previews, the content LoRA."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.editing.composition import BranchVelocities
from pairedit_sdk.editing.flowedit import flowedit
from pairedit_sdk.errors import DamagedRunError, OtherRunError, RunFileError, UsageError, WriteError
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import last_state, last_steps
from pairedit_sdk.images.image import to_image
from pairedit_sdk.io.files import atomic_write, remove_parts, write_json, write_tensors, writing
from pairedit_sdk.lora.formats import to_diffusers
from pairedit_sdk.training.checkpoints import TO_RESUME, Checkpoints, step_of
from pairedit_sdk.training.config import TrainConfig

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.lora.layers import LoraLayer
    from pairedit_sdk.models.protocol import FlowBase
    from pairedit_sdk.pairs.latents import PairLatents
    from pairedit_sdk.training.branches import Branches
    from pairedit_sdk.training.trainer import StepInfo

#: Settings that may differ when a run is resumed: they do not change what a step does, or only its
#: rounding. The steps are free too, unless the learning rate's schedule depends on them.
FREE_ON_RESUME = {
    "checkpoint_every", "keep", "preview_every", "track", "base", "gradient_checkpointing",
    "offload",
}  # fmt: skip
PAIRS = "pairs.safetensors"


class Run:
    """The folder of one run.

    ``config.json``, ``metrics.jsonl`` (one line per step, with the fidelity where it was measured),
    ``checkpoints/step-000100.safetensors``, ``previews/step-000100.png``, ``cache/`` and
    ``pairs.safetensors`` (latents), ``content.safetensors``.

    Attributes:
        writes: whether this process is the one that writes it.
    """

    def __init__(self, folder: Path, config: TrainConfig, name: str) -> None:
        self.folder, self.config, self.name = folder, config, name
        self.writes = True
        self.checkpoints = Checkpoints(folder / "checkpoints", config.keep)
        self.cache_folder = folder / "cache"
        self.metrics = folder / "metrics.jsonl"

    def open(self, resume: bool) -> None:
        """Check that a run can begin here, or go on. Nothing is written yet.

        Raises:
            UsageError: a run is there and ``resume`` is not set.
            OtherRunError: its settings differ.
            DamagedRunError: they cannot be read.
        """
        there = self.checkpoints.newest()
        settings = self.folder / "config.json"
        if there is not None and not resume:
            raise UsageError(
                f"{self.folder} already holds a run, at step {step_of(there)}",
                next_step="Resume it (--resume), start over (--force), or choose another name",
            )
        if resume and there is not None and settings.is_file():
            before = read_settings(settings)
            now = self.config.as_dict()
            free = FREE_ON_RESUME | ({"steps"} if self.config.lr_schedule == "constant" else set())
            changed = changes(before, now, free)
            if changed:
                raise OtherRunError(
                    f"The run in {self.folder} had other settings: " + "; ".join(changed),
                    next_step="Resume with the same settings, start over with --force, or choose "
                    "another name",
                )

    def restore(
        self, parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer,
        latents: list[PairLatents], base: FlowBase,
    ) -> int:  # fmt: skip
        """Put the newest checkpoint's state back, and write the settings down.

        Returns:
            The number of finished steps.

        Raises:
            OtherRunError: the checkpoint is of other pairs, another base or another version, or has
                more steps than are wanted.
            DamagedRunError: it is damaged.
            WriteError: the folder cannot be written to.
        """
        self.checkpoints.data = f"{base.fingerprint}/{base.precision}/{_digest(latents)}"
        done = self.checkpoints.restore(parameters, optimizer, self.config.steps)
        if not self.writes:
            return done
        with writing(self.folder):
            # A killed run may have left these. Nobody else writes here: this process has the lock.
            remove_parts(self.folder)
            self.checkpoints.prune()
        write_json(
            self.folder / "config.json", {"name": self.name, "settings": self.config.as_dict()}
        )
        sides = {f"{k}/{side}": x for k, p in enumerate(latents)
                 for side, x in (("before", p.x_a), ("after", p.x_b))}  # fmt: skip
        names = json.dumps([pair.name for pair in latents])
        write_tensors(self.folder / PAIRS, sides, {"names": names})
        self._cut_metrics(done)
        return done

    def after_step(
        self, info: StepInfo, branches: Branches, optimizer: torch.optim.Optimizer,
        latents: list[PairLatents],
    ) -> None:  # fmt: skip
        """Record the step, and write a checkpoint and a preview when they are due.

        Raises:
            RunFileError: something could not be written.
        """
        if not self.writes:
            return
        try:
            self._record(info, branches, optimizer, latents)
        except WriteError as error:
            raise RunFileError(
                f"Step {info.step} could not be recorded in {self.folder} ({error.reason})",
                next_step=f"{TO_RESUME}; earlier checkpoints are intact",
            ) from error

    def _record(
        self, info: StepInfo, branches: Branches, optimizer: torch.optim.Optimizer,
        latents: list[PairLatents],
    ) -> None:  # fmt: skip
        line = {
            "step": info.step, "content_loss": info.content_loss,
            "semantic_loss": info.semantic_loss, "lr": info.lr, "seconds": round(info.seconds, 4),
        }  # fmt: skip
        every = self.config.checkpoint_every
        due = info.step == info.steps or bool(every and info.step % every == 0)
        # With a single checkpoint there is nothing to choose from.
        known = fidelity(branches, latents) if due and every and every < info.steps else None
        if known is not None:
            line["fidelity"] = known  # most checkpoints are deleted later, and theirs with them
        with writing(self.metrics), self.metrics.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
            if due:  # a checkpoint must not outlive the lines that lead to it
                handle.flush()
                os.fsync(handle.fileno())
        # Before the checkpoint, or a run that is killed between them would never draw it.
        if self.config.preview_every and info.step % self.config.preview_every == 0:
            self._preview(info.step, branches, latents)
        if due:
            self.checkpoint(info.step, branches.parameters, optimizer, known)

    def checkpoint(
        self, step: int, parameters: dict[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer, fidelity: float | None = None,
    ) -> None:  # fmt: skip
        """Write everything that a resumed run needs.

        Raises:
            RunFileError: it could not be written.
        """
        if self.writes:
            self.checkpoints.save(step, parameters, optimizer, fidelity)

    def finish(self, content: dict[str, LoraLayer] | None, edit: Edit) -> None:
        """Keep the content LoRA and the edit with the run."""
        if not self.writes:
            return
        if content:
            tensors, header = to_diffusers(content)
            write_tensors(self.folder / "content.safetensors", tensors, header)
        edit.save(self.folder / "edit.safetensors")

    def _preview(self, step: int, branches: Branches, latents: list[PairLatents]) -> None:
        strip = _preview_strip(branches, latents)
        target = self.folder / "previews" / f"step-{step:06d}.png"
        atomic_write(target, lambda part: strip.save(part, format="PNG"))

    def _cut_metrics(self, step: int) -> None:
        """Drop the lines of steps after the checkpoint; they will be done again."""
        if not self.metrics.is_file():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines()
        kept = "".join(f"{line}\n" for line in lines if _line_step(line) <= step)
        atomic_write(self.metrics, lambda part: _write(part, kept))


def changes(before: dict[str, Any], now: Mapping[str, Any], free: set[str]) -> list[str]:
    """How settings differ, a phrase for each; those that are ``free`` to are left out.

    A setting that there was not yet when ``before`` was written had its default.
    """
    then = TrainConfig().as_dict() | before
    return [
        f"{key} was {then.get(key)!r}, now {value!r}"
        for key, value in now.items()
        if key not in free and then.get(key) != value
    ]


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a run's ``config.json`` holds.

    Raises:
        DamagedRunError: it is damaged.
    """
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["settings"]
        return dict(settings)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedRunError(
            f"{path} is damaged", next_step="Start over with --force, or under another name"
        ) from error


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _line_step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # the last line of a killed run may be cut short


def _digest(latents: list[PairLatents]) -> str:
    digest = hashlib.sha256()
    for pair in latents:
        digest.update(pair.x_a.cpu().numpy().tobytes())
        digest.update(pair.x_b.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _preview_strip(branches: Branches, latents: list[PairLatents]) -> Image.Image:
    """The training pairs as they stand: before, edited at 0.5 and 1, after; one row per pair."""
    from pairedit_sdk.images.plots import collage

    base = branches.base
    rows = []
    for pair in latents:
        edited = [_edited(branches, pair, scale) for scale in (0.5, 1.0)]
        rows.append([to_image(base.decode(x)) for x in [pair.x_a, *edited, pair.x_b]])
    return collage(rows, ["before", "0.5", "1.0", "after"], [pair.name for pair in latents])


def fidelity(branches: Branches, latents: list[PairLatents]) -> float:
    """How much of the pairs' change the LoRA makes as it now is: 1 − Σ‖z − x_B‖² / Σ‖x_A − x_B‖²
    over the pairs, z what FlowEdit makes of x_A. It is 1 for x_B itself, and 0 for doing nothing.

    Gain, calibration and damping are not in it: they come after the training, and the gain is
    there for other pictures than the pairs'."""
    missed = there = 0.0
    for pair in latents:
        z = _edited(branches, pair, 1.0)
        missed += float((z - pair.x_b).square().sum())
        there += float((pair.x_a - pair.x_b).square().sum())
    return 1 - missed / there if there else 0.0


@torch.no_grad()
def _edited(branches: Branches, pair: PairLatents, scale: float) -> torch.Tensor:
    base, config = branches.base, branches.config
    sigmas = base.sigmas(config.edit_steps, *base.image_size(pair.x_a))
    live = BranchVelocities(branches.model, [branches.live_scales(scale)])
    return last_state(
        flowedit(
            pair.x_a,
            sigmas,
            live,
            noise_source(pair.x_a, 0),
            n_max=last_steps(config.edit_steps),
        )
    )
