"""The router in velocity space: which edits, at which strengths, make the change from a to a′?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk import cache
from pairedit_sdk.flow.objectives import flowedit_state, straight_way
from pairedit_sdk.flow.schedule import standard_noising
from pairedit_sdk.flow.solvers import last_steps
from pairedit_sdk.lora.adapters import attached, set_scales

if TYPE_CHECKING:
    from pairedit_sdk.bases.protocol import FlowBase
    from pairedit_sdk.edit import Edit

LEVELS, STEPS, SWEEPS = 4, 28, 500
SPARSITY = 0.02


@torch.no_grad()
def strengths(
    base: FlowBase, edits: Sequence[Edit], x_a: torch.Tensor, x_b: torch.Tensor,
    guidance: float, seed: int = 0,
) -> list[float]:  # fmt: skip
    """Non-negative c that minimise Σ w ‖(x_A − x_B) / σ_max − Σ_i c_i Δv_i‖² + sparsity.

    Δv_i is the change of velocity that edit i causes, at states of FlowEdit's way from a to a′ at
    a few noise levels. The weights w, the change's own size at each place, keep a small change
    from being drowned by what a large edit does everywhere else; dividing by each edit's size
    keeps a large edit from being preferred.

    Args:
        base: without any LoRA attached.
        edits: the candidates.
        x_a: latents of a, [1, C, h, w].
        x_b: of a′.
        guidance: distilled guidance.
        seed: of the noise.

    Returns:
        c, one for each edit.
    """
    condition = cache.condition(base, "")
    levels = base.sigmas(STEPS, *base.image_size(x_a))[:-1][-last_steps(STEPS) :]
    first = float(levels[0])
    picks = levels[torch.linspace(0, len(levels) - 1, LEVELS + 2).long()[1:-1]]
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.randn((LEVELS, *x_a.shape[1:]), generator=generator).to(x_a.device)
    start, end = x_a.expand(LEVELS, -1, -1, -1), x_b.expand(LEVELS, -1, -1, -1)
    noised = standard_noising(start, noise, picks)
    states = flowedit_state(noised, start, end, straight_way(picks, first))
    plain = base.velocity(states, picks, condition, guidance).float()
    changes = []
    for edit in edits:
        with attached(base.transformer, {"edit": edit.layers}):
            set_scales(base.transformer, {"edit": 1.0})
            changes.append(base.velocity(states, picks, condition, guidance).float() - plain)
    wanted = (start - end) / first
    weight = (x_a - x_b).abs().mean(dim=1, keepdim=True)
    weight = (weight / weight.mean().clamp(min=1e-8)).sqrt().expand_as(wanted)
    columns = torch.stack([(change * weight).flatten() for change in changes], dim=1)
    found = nonnegative(columns.double(), (wanted * weight).flatten().double())
    values: list[float] = found.tolist()
    return values


def nonnegative(
    columns: torch.Tensor, wanted: torch.Tensor, sparsity: float = SPARSITY
) -> torch.Tensor:
    """min over c ≥ 0 of ½ ‖wanted − columns c‖² + λ Σ c_i ‖columns_i‖, by coordinate descent.

    Args:
        columns: [M, N].
        wanted: [M].
        sparsity: λ as a share of ‖wanted‖.

    Returns:
        c, [N]; 0 for a column of zeros.
    """
    gram, products = columns.T @ columns, columns.T @ wanted
    sizes = gram.diagonal().sqrt()
    penalty = sparsity * wanted.norm() * sizes
    c = torch.zeros(columns.shape[1], dtype=columns.dtype)
    for _ in range(SWEEPS):
        last = c.clone()
        for i in range(len(c)):
            if gram[i, i] > 0:
                rest = products[i] - gram[i] @ c + gram[i, i] * c[i]
                c[i] = ((rest - penalty[i]) / gram[i, i]).clamp(min=0)
        if (c - last).abs().max() < 1e-9:
            break
    return c
