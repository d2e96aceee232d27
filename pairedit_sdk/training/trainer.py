"""Learning an edit: the content and the semantic LoRA, trained jointly (PairEdit, Eq. 3 and 10).

Both branches run as rows of one forward pass. Content rows carry θ_c; semantic rows carry θ_s and
a frozen twin of θ_c that shares its memory, so that L_s can give θ_c no gradient.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk import __version__
from pairedit_sdk.editing.scale_limit import TRAIN_WITHOUT, encoder_of, shown_change
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.files import write_tensors
from pairedit_sdk.lora.adapters import check_rank, detach_all, require_bare
from pairedit_sdk.lora.formats import to_diffusers
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.folders import ANY_EDIT_MODEL, located
from pairedit_sdk.models.prompts import prompt_condition
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.pairs.pair_set import Pairs, as_pairs
from pairedit_sdk.training.branches import CONTENT, SEMANTIC, Branches
from pairedit_sdk.training.calibration import unit_scale
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.fidelity import fidelity, preview_strip
from pairedit_sdk.training.loop import training_loop
from pairedit_sdk.training.task import Task
from pairedit_sdk.training.trackers import require_tracker
from pairedit_sdk.training.words import found_words, settled_words

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit_words import EditWords
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.latents import PairLatents

#: A loss above this is no training any more. A velocity's mean square is about 1, and η² times the
#: pair's difference is in the targets.
EXPLODED = 1e3
#: The file of a run with the latents of its pairs.
PAIRS = "pairs.safetensors"

_log = logging.getLogger("pairedit_sdk")


@dataclass(frozen=True)
class StepInfo:
    """What is known after a step. Losses are means over latent elements."""

    step: int
    steps: int
    content_loss: float
    semantic_loss: float
    lr: float
    seconds: float


@holding
def train(
    model: FlowModel,
    pairs: Pairs,
    config: TrainConfig | None = None,
    *,
    name: str,
    run_dir: str | Path | None = None,
    resume: bool = False,
    on_step: Callable[[StepInfo], None] | None = None,
) -> Edit:
    """Learn the change that the pairs show.

    Under ``accelerate launch`` every process takes its share of each batch, and the edit is that of
    one process with the same batch, within rounding.

    The noise of every step depends on the run's seed and the step's number alone, so a run on a CPU
    is reproducible bit for bit on the same machine, resumed or not; a GPU's own kernels may round
    differently from run to run.

    Args:
        model: the frozen model; it is left exactly as it was. Other threads that want it wait until
            the training is done.
        pairs: before/after pictures, usually one to three: a set, a folder, or a list of
            (before, after).
        config: the settings; ``None`` are the published ones.
        name: the edit's name.
        run_dir: folder for settings, metrics, checkpoints, previews and the content LoRA.
        resume: go on from the newest checkpoint in ``run_dir``.
        on_step: called after every step.

    Returns:
        The edit: the semantic LoRA with alpha folded in.

    Raises:
        UsageError: no pairs, settings that do not fit the model, a run folder that is in use, a
            batch with fewer rows than there are processes, or a tracker that is not installed.
        TrainingError: the losses are no longer finite, or beyond all bounds.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step under way and its checkpoint.
    """
    pairs = as_pairs(pairs)
    config = _settled(model, config or TrainConfig(), run_dir is not None)
    with training_loop(model, config, name=name, run_dir=run_dir, resume=resume) as loop:
        folder = loop.folder
        condition = prompt_condition(model, "")
        model.release_text_encoders()
        cache = None if folder is None else folder.path / "cache"
        latents = encode_pairs(model, pairs, config.resolution, cache)
        words = found_words(model, latents, config)
        branches = Branches(model, config, condition)
        loop.run(PairTask(branches, latents), on_step)
        semantic = branches.export_lora(SEMANTIC)
        content = branches.export_lora(CONTENT) if config.content_lora else None
        detach_all(model.transformer)
        edit = finished(model, semantic, latents, config, name, words=words)
        edit = edit.with_info(pairs_fingerprint=pairs.fingerprint)
        if folder is not None and folder.writes:
            if content is not None:
                write_tensors(folder.path / "content.safetensors", *to_diffusers(content))
            edit.save(folder.path / "edit.safetensors")
        return edit


class PairTask(Task):
    """PairEdit's task: both LoRAs, on the latents of the pairs.

    Args:
        branches: the LoRAs, attached.
        latents: of the training pairs.
    """

    info = StepInfo

    def __init__(self, branches: Branches, latents: list[PairLatents]) -> None:
        self.branches, self.latents = branches, latents
        self.base, self.settings = branches.base, branches.config
        self.parameters = branches.parameters
        self.elements = latents[0].x_a.numel()
        self.limit = EXPLODED * max(1.0, branches.config.eta**2)

    def losses(self, draw: int, rows: Sequence[int]) -> Iterator[Mapping[str, torch.Tensor]]:
        """L_c and L_s; see :meth:`Branches.losses`."""
        for losses in self.branches.losses(self.latents, draw, rows):
            yield {"content_loss": losses.content, "semantic_loss": losses.semantic}

    def digest(self) -> str:
        """A short hash of the pairs' latents."""
        digest = hashlib.sha256()
        for pair in self.latents:
            digest.update(pair.x_a.cpu().numpy().tobytes())
            digest.update(pair.x_b.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def preview(self) -> Image.Image:
        """The training pairs, and what the semantic LoRA makes of them."""
        return preview_strip(self.branches, self.latents)

    def fidelity(self) -> float:
        """How much of the pairs' change the semantic LoRA makes."""
        return fidelity(self.branches, self.latents)

    def keep_data(self, folder: Path) -> None:
        """Write the pairs' latents, for picking a checkpoint later."""
        sides = {
            f"{k}/{side}": x
            for k, pair in enumerate(self.latents)
            for side, x in (("before", pair.x_a), ("after", pair.x_b))
        }
        names = json.dumps([pair.name for pair in self.latents])
        write_tensors(folder / PAIRS, sides, {"names": names})


def finished(
    model: FlowModel,
    semantic: Mapping[str, LoraLayer],
    latents: Sequence[PairLatents],
    config: TrainConfig,
    name: str,
    steps: int | None = None,
    words: EditWords | None = None,
) -> Edit:
    """The edit that a trained LoRA becomes: with gain and calibration in it, and described.

    Args:
        model: without any LoRA attached.
        semantic: the LoRA, alpha folded in.
        latents: of the training pairs.
        config: it was trained with.
        name: of the edit.
        steps: that were trained; ``None`` are the config's.
        words: that act beside the LoRA, see :func:`found_words`.
    """
    factor = config.gain if len(latents) > 1 else 1.0
    if config.calibrate:
        condition = prompt_condition(model, "")
        factor *= unit_scale(
            model,
            semantic,
            latents,
            condition,
            config.guidance,
            steps=config.edit_steps,
            sees_picture=config.reference == "before",
        )
    if factor != 1:
        semantic = {n: LoraLayer(u.down, u.up * factor) for n, u in semantic.items()}
    pairs = [pair.name for pair in latents]
    info = _info(model, pairs, config, name, factor, steps or config.steps)
    info = replace(info, words=[] if words is None else [words])
    return Edit(
        semantic,
        replace(info, direction=shown_change(model, latents)) if config.edit_even else info,
    )


def _settled(model: FlowModel, config: TrainConfig, has_folder: bool) -> TrainConfig:
    """The settings as the run has them. What cannot work is refused before anything slow is done or
    any file is written."""
    require_tracker(config.track, folder=has_folder)
    require_bare(model.transformer)
    if config.reference == "before" and not model.takes_references:
        raise UsageError(
            f"loss.reference is before, and {model.name} sees no picture beside the noisy one",
            expected=ANY_EDIT_MODEL,
            next_step="Use --base mini-kontext, or --set loss.reference=none",
        )
    if model.is_distilled:
        _log.warning(
            "Model %s was distilled to draw in few steps, and training on it undoes that. Train on "
            "the model that it was distilled from; the edit works on both.",
            model.name,
        )
    config = settled_words(model, config)
    check_rank(model.transformer, model.lora_targets(config.targets), config.rank)
    if config.edit_even:
        encoder_of(model, TRAIN_WITHOUT)
    if config.precision not in ("auto", model.precision):
        raise UsageError(
            f"The settings say precision {config.precision}, the model is held in "
            f"{model.precision}",
            next_step=f"Load it with precision={config.precision!r}, or set precision=auto",
        )
    # A run goes on from everywhere.
    return replace(config, base=located(config.base)) if config.base else config


def _info(
    model: FlowModel, pairs: list[str], config: TrainConfig, name: str, factor: float, steps: int
) -> EditInfo:
    # What a model ignores is not to be taken for a value that suits it.
    guidance = config.guidance if model.takes_guidance else 0.0
    # No time of day in here: the same run gives the same file.
    return EditInfo(
        name=name,
        base=located(model.name),
        architecture=model.architecture,
        base_fingerprint=model.fingerprint,
        precision=model.precision,
        guidance=guidance,
        resolution=config.resolution or model.resolution,
        rank=config.rank,
        steps=steps,
        pairs=pairs,
        settings={**config.as_dict(), "guidance": guidance},
        unit_scale=factor,
        editor=EditorSettings(
            config.edit_steps,
            config.edit_n_avg,
            config.edit_threshold,
            config.edit_even,
            config.reference == "before",
        ),
        sdk_version=__version__,
    )
