"""The folder of a basis's training: settings, metrics, checkpoints, previews."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.files import atomic_write, write_json, writing
from pairedit_sdk.training.checkpoints import Checkpoints, clear, step_of
from pairedit_sdk.training.run_folder import read_settings

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from PIL import Image

    from pairedit_sdk.lorweb.mixture import Mixture
    from pairedit_sdk.lorweb.rows import AnalogyRows
    from pairedit_sdk.lorweb.settings import BasisSettings
    from pairedit_sdk.models.protocol import FlowBase

#: Settings that may differ when a run is resumed.
FREE = {"steps", "checkpoint_every", "preview_every", "gradient_checkpointing", "track"}


@dataclass(frozen=True)
class BasisStep:
    """What is known after a step; ``loss`` is a mean over latent elements."""

    step: int
    steps: int
    loss: float
    seconds: float


class BasisRun:
    """``config.json``, ``metrics.jsonl``, ``checkpoints/`` and ``previews/``.

    Only the main process writes.

    Args:
        folder: where the run is.
        settings: of the training.
        accelerator: tells the processes apart.
    """

    def __init__(self, folder: Path, settings: BasisSettings, accelerator: Accelerator) -> None:
        self.folder, self.settings, self.accelerator = folder, settings, accelerator
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.metrics = folder / "metrics.jsonl"

    def begin(
        self, mixture: Mixture, optimizer: torch.optim.Optimizer, base: FlowBase,
        rows: AnalogyRows, *, resume: bool, force: bool,
    ) -> int:  # fmt: skip
        """Begin, or go on; the number of finished steps.

        Raises:
            UsageError: a run is there and neither resumed nor replaced, there is none to resume, or
                its settings or analogies were others.
        """
        if force and not resume and self.accelerator.is_main_process:
            clear(self.folder)
        self.accelerator.wait_for_everyone()
        there = self.checkpoints.newest()
        if there is not None and not resume:
            raise UsageError(
                f"{self.folder} already holds a run, at step {step_of(there)}",
                next_step="Resume it (--resume), start over (--force), or choose another name",
            )
        if there is None and resume:
            raise UsageError(
                f"There is no checkpoint in {self.folder} to go on from",
                next_step="Leave out --resume to begin",
            )
        if there is not None:
            self._same_settings()
        self.checkpoints.data = f"{base.fingerprint}/{base.precision}/{digest_of(rows)}"
        done = self.checkpoints.restore(mixture.parameters, optimizer, self.settings.steps)
        if self.accelerator.is_main_process:
            write_json(self.folder / "config.json", {"settings": self.settings.as_dict()})
            lines = self.metrics.read_text().splitlines()[:done] if self.metrics.is_file() else []
            text = "".join(f"{line}\n" for line in lines)
            atomic_write(self.metrics, lambda part: _write(part, text))
        return done

    def after_step(
        self, info: BasisStep, mixture: Mixture, optimizer: torch.optim.Optimizer
    ) -> None:
        """Record the step, and write a checkpoint when it is due."""
        if not self.accelerator.is_main_process:
            return
        line = {"step": info.step, "loss": info.loss, "seconds": round(info.seconds, 4)}
        with writing(self.metrics), self.metrics.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        every = self.settings.checkpoint_every
        if info.step == info.steps or (every and info.step % every == 0):
            self.checkpoint(info.step, mixture, optimizer)

    def checkpoint(self, step: int, mixture: Mixture, optimizer: torch.optim.Optimizer) -> None:
        """Write everything that a resumed run needs."""
        if self.accelerator.is_main_process:
            self.checkpoints.save(step, mixture.parameters, optimizer)

    def preview(self, step: int, picture: Callable[[], Image.Image]) -> None:
        """Draw and keep a picture of how analogies are answered, when it is due."""
        every = self.settings.preview_every
        if not every or step % every or not self.accelerator.is_main_process:
            return
        drawn = picture()
        target = self.folder / "previews" / f"step-{step:06d}.png"
        atomic_write(target, lambda part: drawn.save(part, format="PNG"))

    def _same_settings(self) -> None:
        path = self.folder / "config.json"
        before = read_settings(path) if path.is_file() else {}
        changed = [
            f"{key} was {before[key]!r}, now {value!r}"
            for key, value in self.settings.as_dict().items()
            if key in before and key not in FREE and before[key] != value
        ]
        if changed:
            raise UsageError(
                f"The run in {self.folder} had other settings: " + "; ".join(changed),
                next_step="Resume with the same settings, or start over under another name",
            )


def digest_of(rows: AnalogyRows) -> str:
    """A short hash that tells these analogies from others: of a folder's names, captions and file
    sizes, or of the pictures themselves."""
    known = getattr(rows.analogies, "digest", None)
    if known is not None:
        return str(known)
    digest = hashlib.sha256()
    for analogy in rows.analogies:
        for picture in (analogy.a, analogy.a_prime, analogy.b, analogy.b_prime):
            digest.update(picture.tobytes())
        digest.update(analogy.caption.encode())
    return digest.hexdigest()[:16]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
