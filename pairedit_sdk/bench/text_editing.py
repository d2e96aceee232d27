"""The same models edited by words, with FlowEdit: nothing is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.flowedit import flowedit
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import damped, last_state, last_steps
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.prompts import prompt_condition

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

SOURCE = "a person"
#: Of the source's and of the target's prompt. FlowEdit publishes 1.5 and 5.5 for FLUX.1-dev; the
#: built-in model was distilled for 1 to 5.
SOURCE_GUIDANCE, TARGET_GUIDANCE = 1.5, 5.0
#: An instruction is followed with the settings of the recipe mini-kontext, so that it differs from
#: a learned edit in what moves the picture alone.
INSTRUCTION_GUIDANCE, INSTRUCTION_NOISES, INSTRUCTION_THRESHOLD = 2.5, 2, 0.15


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


@torch.no_grad()
def instruction_edit(
    model: FlowModel,
    x: torch.Tensor,
    instruction: str,
    scales: Sequence[float],
    *,
    steps: int = 5,
    seed: int = 0,
) -> list[torch.Tensor]:
    """FlowEdit of an edit model from the empty prompt to an instruction, at several scales.

    Both sides see the picture itself as a reference. The scale s multiplies the damped change:
    x + s D(z − x), with D of :func:`pairedit_sdk.flow.solvers.damped`. So all scales share one run,
    and s = 0 leaves x exactly as it is.

    Args:
        model: one that takes references.
        x: latents [B, C, h, w].
        instruction: what is to be done to the picture.
        scales: any.
        steps: length of the schedule; FlowEdit's share of its last ones runs.
        seed: of the noise.

    Returns:
        Latents [B, C, h, w] for each scale.
    """
    reference = x.repeat_interleave(INSTRUCTION_NOISES, dim=0)
    told, untold = (
        ConditionedModel(model, prompt_condition(model, prompt), INSTRUCTION_GUIDANCE)
        for prompt in (instruction, "")
    )

    def velocities(
        x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            told.velocity(x_edited, sigma, reference=reference),
            untold.velocity(x_plain, sigma, reference=reference),
        )

    sigmas = model.sigmas(steps, *model.image_size(x))
    noise = noise_source(x, seed)
    n_max = last_steps(steps)
    z = last_state(flowedit(x, sigmas, velocities, noise, n_max=n_max, n_avg=INSTRUCTION_NOISES))
    change = damped(z - x, INSTRUCTION_THRESHOLD)
    return [x + scale * change for scale in scales]
