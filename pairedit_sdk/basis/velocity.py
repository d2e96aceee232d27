"""The router in velocity space: which edits, at which strengths, make the change from a to a′?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.edit_latents import changed_alone

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.models.protocol import FlowModel

SWEEPS = 500
SPARSITY = 0.02


def strengths(
    model: FlowModel, edits: Sequence[Edit], x_a: torch.Tensor, x_b: torch.Tensor, seed: int = 0
) -> list[float]:
    """Non-negative c that minimise ‖x_B − x_A − Σ_i c_i ∫ Δv_i dσ‖² + sparsity.

    ∫ Δv_i dσ, the change of velocity that edit i causes, summed along FlowEdit's own way, is what
    the edit makes of a. At states on the way from a to a′, as the difference of single
    velocities, the same edits are found less surely and at half their strength.

    Args:
        model: without any LoRA attached.
        edits: the candidates.
        x_a: latents of a, [1, C, h, w].
        x_b: of a′.
        seed: of the noise.

    Returns:
        c, one for each edit.
    """
    changes = changed_alone(model, x_a, edits, seed=seed) - x_a
    columns = changes.flatten(1).T
    found = nonnegative(columns.double().cpu(), (x_b - x_a).flatten().double().cpu())
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
