"""The checkpoints of a run as edits: the last one is not always the best."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.errors import RunFileError, UsageError
from pairedit_sdk.images.image import to_image
from pairedit_sdk.images.plots import collage
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.pairs.latents import PairLatents
from pairedit_sdk.training.checkpoints import Checkpoints, read_parameters
from pairedit_sdk.training.config import TrainConfig, make_config
from pairedit_sdk.training.run_folder import read_settings
from pairedit_sdk.training.trainer import PAIRS, finished
from pairedit_sdk.training.words import found_words

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.models.protocol import FlowModel

SEMANTIC = "semantic/"


@dataclass(frozen=True)
class Candidate:
    """A checkpoint as an edit.

    Attributes:
        step: finished steps.
        fidelity: how much of the training pairs' change it makes, 1 for all of it; see
            :func:`pairedit_sdk.training.fidelity.fidelity`.
        edit: as the training would have returned it at this step.
    """

    step: int
    fidelity: float | None
    edit: Edit


@holding
def candidates(model: FlowModel, run_dir: str | Path, name: str) -> list[Candidate]:
    """The checkpoints of a run as edits, in the order of their steps.

    Args:
        model: the one the run is on.
        run_dir: the run's folder.
        name: of the edits.

    Raises:
        UsageError: there is no run, or none with a checkpoint.
        RunFileError: a checkpoint is damaged.
        EditError: another model.
    """
    run_dir = Path(run_dir)
    saved = Checkpoints(run_dir / "checkpoints").saved()
    if not saved or not (run_dir / PAIRS).is_file():
        raise UsageError(
            f"There is no run with checkpoints in {run_dir}",
            next_step="Train the edit first, with checkpoint_every=50 for several of them",
        )
    config = make_config(read_settings(run_dir / "config.json"))
    latents = pair_latents(run_dir, model)
    words = found_words(model, latents, config)
    result = []
    for one in saved:
        semantic = _layers(read_parameters(one.path), config)
        edit = finished(model, semantic, latents, config, name, one.step, words)
        edit.require_base(model)
        result.append(Candidate(one.step, one.fidelity, edit))
    return result


def pair_latents(run_dir: Path, model: FlowModel) -> list[PairLatents]:
    """The training pairs as the run keeps them.

    Raises:
        RunFileError: their file is damaged.
    """
    path = run_dir / PAIRS
    try:
        tensors, header = read_tensors(path)
        return [
            PairLatents(name, *(tensors[f"{k}/{s}"].to(model.device) for s in ("before", "after")))
            for k, name in enumerate(json.loads(header["names"]))
        ]
    except Exception as error:  # the readers of damaged bytes raise nearly every kind
        raise RunFileError(
            f"{path} is damaged",
            next_step="Let the run write it again: `pairedit train` as before, with --resume",
        ) from error


@holding
@torch.no_grad()
def strip(model: FlowModel, run_dir: str | Path, found: Sequence[Candidate]) -> Image.Image:
    """A row for each training pair: before, what every candidate makes of it, after."""
    latents = pair_latents(Path(run_dir), model)
    rows = []
    for pair in latents:
        made = [edit_latents(model, pair.x_a, one.edit @ 1.0) for one in found]
        rows.append([to_image(model.decode(x)) for x in (pair.x_a, *made, pair.x_b)])
    labels = ["before", *(f"step {one.step}" for one in found), "after"]
    return collage(rows, labels, [pair.name for pair in latents])


def _layers(parameters: Mapping[str, torch.Tensor], config: TrainConfig) -> dict[str, LoraLayer]:
    scaling = config.lora.scaling
    downs = [n for n in parameters if n.startswith(SEMANTIC) and n.endswith(".lora_A")]
    layers = {}
    for down in downs:
        layer = down.removeprefix(SEMANTIC).removesuffix(".lora_A")
        up = parameters[f"{SEMANTIC}{layer}.lora_B"].float() * scaling
        layers[layer] = LoraLayer(parameters[down].float(), up)
    return layers
