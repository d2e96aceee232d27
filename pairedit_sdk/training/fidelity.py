"""What the semantic LoRA in training makes of its own pairs: measured, and as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.composition import BranchVelocities
from pairedit_sdk.editing.flowedit import flowedit
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import last_state, last_steps
from pairedit_sdk.images.image import to_image
from pairedit_sdk.images.plots import collage

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.pairs.latents import PairLatents
    from pairedit_sdk.training.branches import Branches


def preview_strip(branches: Branches, latents: list[PairLatents]) -> Image.Image:
    """The training pairs as they stand: before, edited at 0.5 and 1, after; one row per pair."""
    model = branches.base
    rows = []
    for pair in latents:
        edited = [_edited(branches, pair, scale) for scale in (0.5, 1.0)]
        rows.append([to_image(model.decode(x)) for x in [pair.x_a, *edited, pair.x_b]])
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
    model, config = branches.base, branches.config
    sigmas = model.sigmas(config.edit_steps, *model.image_size(pair.x_a))
    reference = pair.x_a if config.reference == "before" else None
    live = BranchVelocities(branches.model, [branches.live_scales(scale)], reference)
    noise, n_max = noise_source(pair.x_a, 0), last_steps(config.edit_steps)
    return last_state(flowedit(pair.x_a, sigmas, live, noise, n_max=n_max))
