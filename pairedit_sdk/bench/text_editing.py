"""The benchmark's upper hand: the same model edited by words, with FlowEdit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.flowedit import flowedit
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import last_state
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.prompts import prompt_condition

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

SOURCE = "a person"
#: Of the source's and of the target's prompt. FlowEdit publishes 1.5 and 5.5 for FLUX.1-dev; the
#: built-in model was distilled for 1 to 5.
SOURCE_GUIDANCE, TARGET_GUIDANCE = 1.5, 5.0


@torch.no_grad()
def text_edit(
    model: FlowModel,
    x: torch.Tensor,
    caption: str,
    scale: float,
    *,
    guidance: tuple[float, float] = (SOURCE_GUIDANCE, TARGET_GUIDANCE),
    steps: int = 28,
    n_max: int = 24,
    seed: int = 0,
) -> torch.Tensor:
    """FlowEdit from one prompt to another, with a strength.

    v_edit = v(z_tar, source) + s (v(z_tar, caption) − v(z_tar, source)): s = 1 is FlowEdit's own
    target velocity, s = 0 leaves x exactly as it is.

    Args:
        model: the model.
        x: latents [B, C, h, w].
        caption: what the picture should show.
        scale: s.
        guidance: distilled guidance of the source's and of the target's prompt.
        steps: length of the schedule.
        n_max: how many of its last steps run.
        seed: of the noise.
    """
    own_guidance, wanted_guidance = guidance
    plain = ConditionedModel(model, prompt_condition(model, SOURCE), own_guidance)
    wanted = ConditionedModel(model, prompt_condition(model, caption), wanted_guidance)

    def velocities(
        x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.cat([x_edited, x_plain])
        own, v_plain = plain.velocity(rows, sigma).float().chunk(2)
        towards = wanted.velocity(x_edited, sigma).float()
        return own + scale * (towards - own), v_plain

    sigmas = model.sigmas(steps, *model.image_size(x))
    return last_state(flowedit(x, sigmas, velocities, noise_source(x, seed), n_max=n_max))
