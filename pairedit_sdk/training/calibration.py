"""Unit-scale calibration: at which scale does an edit carry a pair's before to its after?

The losses fix the edit's direction, but not how far FlowEdit goes along it. After training the
edit is tried on its own pairs at several scales; the best of them becomes scale 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.composition import EDIT, BranchVelocities, at_once, repeated
from pairedit_sdk.editing.flowedit import flowedit
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import last_state, last_steps
from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.conditioned import ConditionedModel

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import Condition, FlowModel
    from pairedit_sdk.pairs.latents import PairLatents

SCALES = tuple(0.06 * 1.5**k for k in range(9))  # 0.06 … 1.54


@holding
def unit_scale(
    model: FlowModel,
    layers: Mapping[str, LoraLayer],
    latents: Sequence[PairLatents],
    condition: Condition,
    guidance: float,
    scales: Sequence[float] = SCALES,
    steps: int = 28,
    sees_picture: bool = False,
) -> float:
    """The scale s that minimises Σ_pairs ‖FlowEdit_s(x_A) − x_B‖² / ‖x_A − x_B‖².

    The minimum is looked for among ``scales`` and then on the parabola through it and its
    neighbours, over log s.

    Args:
        model: without any LoRA attached; it is left so.
        layers: the edit.
        latents: of the training pairs.
        condition: of the empty prompt.
        guidance: distilled guidance.
        scales: ascending, evenly spaced in their logarithm.
        steps: length of FlowEdit's schedule.
        sees_picture: whether the model sees x_A beside the states.
    """
    error = torch.zeros(len(scales), dtype=torch.float64)
    conditioned = ConditionedModel(model, condition, guidance)
    with torch.no_grad(), attached(model.transformer, {EDIT: layers}):
        for pair in latents:
            sigmas = model.sigmas(steps, *model.image_size(pair.x_a))
            gaps = []
            for part in at_once(model, scales, pair.x_a):
                states = flowedit(
                    repeated(pair.x_a, len(part)),
                    sigmas,
                    BranchVelocities(
                        conditioned,
                        [{EDIT: scale} for scale in part],
                        pair.x_a if sees_picture else None,
                    ),
                    noise_source(pair.x_a, 0, len(part)),
                    n_max=last_steps(steps),
                )
                z = last_state(states)
                gaps.append((z - pair.x_b).square().sum(dim=(1, 2, 3)))
            error += (torch.cat(gaps) / (pair.x_a - pair.x_b).square().sum()).double().cpu()
    return _minimum(torch.tensor(scales, dtype=torch.float64).log(), error)


def _minimum(log_scales: torch.Tensor, error: torch.Tensor) -> float:
    k = int(error.argmin())
    if 0 < k < len(error) - 1:
        left, here, right = (float(error[k + d]) for d in (-1, 0, 1))
        bend = left - 2 * here + right
        shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
        return float((log_scales[k] + shift * (log_scales[1] - log_scales[0])).exp())
    return float(log_scales[k].exp())
