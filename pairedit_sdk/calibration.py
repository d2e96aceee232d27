"""Unit-scale calibration: at which scale does an edit carry a pair's before to its after?

The losses fix the edit's direction, but not how far FlowEdit goes along it. After training the
edit is tried on its own pairs at several scales; the best of them becomes scale 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow import solvers
from pairedit_sdk.lora.adapters import attached, set_scales
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    from pairedit_sdk.bases.protocol import Condition, FlowBase
    from pairedit_sdk.cache import PairLatents

EDIT = "edit"
SCALES = tuple(0.06 * 1.5**k for k in range(9))  # 0.06 … 1.54
#: Image tokens in one forward pass, so that a large base is not given all scales at once.
TOKENS = 8192


def unit_scale(
    base: FlowBase, layers: Mapping[str, LoraLayer], latents: Sequence[PairLatents],
    condition: Condition, guidance: float, scales: Sequence[float] = SCALES,
    steps: int = 28,
) -> float:  # fmt: skip
    """The scale s that minimises Σ_pairs ‖FlowEdit_s(x_A) − x_B‖² / ‖x_A − x_B‖².

    The minimum is looked for among ``scales`` and then on the parabola through it and its
    neighbours, over log s.

    Args:
        base: without any LoRA attached; it is left so.
        layers: the edit.
        latents: of the training pairs.
        condition: of the empty prompt.
        guidance: distilled guidance.
        scales: ascending, evenly spaced in their logarithm.
        steps: length of FlowEdit's schedule.
    """
    error = torch.zeros(len(scales), dtype=torch.float64)
    with torch.no_grad(), attached(base.transformer, {EDIT: layers}):
        for pair in latents:
            tokens = pair.x_a.shape[2] * pair.x_a.shape[3] // 4
            chunk = max(1, TOKENS // tokens - 1)
            for start in range(0, len(scales), chunk):
                part = torch.tensor(scales[start : start + chunk])
                z = _edited(base, pair, part, condition, guidance, steps)
                gap = (z - pair.x_b).square().sum(dim=(1, 2, 3))
                size = (pair.x_a - pair.x_b).square().sum()
                error[start : start + chunk] += (gap / size).double().cpu()
    return _minimum(torch.tensor(scales, dtype=torch.float64).log(), error)


def _edited(
    base: FlowBase, pair: PairLatents, scales: torch.Tensor, condition: Condition,
    guidance: float, steps: int,
) -> torch.Tensor:  # fmt: skip
    """FlowEdit of one picture at several scales, which share the plain model's row."""
    count = len(scales)
    shape = pair.x_a.shape
    per_row = torch.cat([scales, torch.zeros(1)]).to(base.device)

    def rows(
        x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        set_scales(base.transformer, {EDIT: per_row})
        v = base.velocity(torch.cat([x_edited, x_plain[:1]]), sigma, condition, guidance).float()
        return v[:count], v[count:].expand(count, -1, -1, -1)

    def noise(step: int, repeat: int) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed(step * 100 + repeat)
        return torch.randn(shape, generator=generator).to(base.device).expand(count, -1, -1, -1)

    sigmas = base.sigmas(steps, *base.image_size(pair.x_a))
    x = pair.x_a.expand(count, -1, -1, -1)
    return solvers.flowedit(x, sigmas, rows, noise, n_max=solvers.last_steps(steps))


def _minimum(log_scales: torch.Tensor, error: torch.Tensor) -> float:
    k = int(error.argmin())
    if 0 < k < len(error) - 1:
        left, here, right = (float(error[k + d]) for d in (-1, 0, 1))
        bend = left - 2 * here + right
        shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
        return float((log_scales[k] + shift * (log_scales[1] - log_scales[0])).exp())
    return float(log_scales[k].exp())
