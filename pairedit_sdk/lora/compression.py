"""A LoRA with a smaller rank that is as near to it as can be."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer

#: Above this rank a full SVD takes seconds a layer.
LARGE = 512
#: Of subspace iteration; one more makes the error of a flat spectrum a thousandth smaller.
ROUNDS = 2


def compressed(layers: Mapping[str, LoraLayer], rank: int) -> tuple[dict[str, LoraLayer], float]:
    """Every layer's update at no more than ``rank``, the best there is in the Frobenius norm.

    With B = Q_B R_B and Aᵀ = Q_A R_A the update is Q_B (R_B R_Aᵀ) Q_Aᵀ, so the singular values of
    the core R_B R_Aᵀ, at most [r, r], are those of ΔW.

    Args:
        layers: the LoRA.
        rank: at least 1; layers that have no more keep what they are.

    Returns:
        The new LoRA, and its relative error √(Σ ‖ΔW − ΔW_r‖² / Σ ‖ΔW‖²) over all layers, 0 … 1.

    Raises:
        UsageError: the rank is below 1.
    """
    if rank < 1:
        raise UsageError(f"The rank {rank} cannot be used", expected="a whole number above 0")
    result, lost, total = {}, 0.0, 0.0
    for name, layer in layers.items():
        result[name], own_lost, own_total = reduced(layer, rank)
        lost, total = lost + own_lost, total + own_total
    return result, math.sqrt(lost / total) if total else 0.0


def reduced(layer: LoraLayer, rank: int) -> tuple[LoraLayer, float, float]:
    """One layer's update at no more than ``rank``.

    Above a rank of :data:`LARGE` the singular vectors are those that a few rounds of subspace
    iteration find, from the same numbers every time. The error is that of the truncated SVD to some
    thousandths of it, and it is measured, not estimated.

    Returns:
        The new layer, ‖ΔW − ΔW_r‖² and ‖ΔW‖².
    """
    if layer.rank <= rank:
        up, down = layer.up.double(), layer.down.double()
        return layer, 0.0, max(float(((up.T @ up) * (down @ down.T)).sum()), 0.0)
    if layer.rank > max(LARGE, 4 * rank):
        return _by_iteration(layer, rank)
    q_up, r_up = torch.linalg.qr(layer.up.double())
    q_down, r_down = torch.linalg.qr(layer.down.double().T)
    u, s, v = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
    root = s[:rank].sqrt()
    up = q_up @ (u[:, :rank] * root)
    down = (v[:rank] * root[:, None]) @ q_down.T
    new = LoraLayer(down.to(layer.down.dtype), up.to(layer.up.dtype))
    return new, float(s[rank:].square().sum()), float(s.square().sum())


def _by_iteration(layer: LoraLayer, rank: int) -> tuple[LoraLayer, float, float]:
    update = _product(layer.up.float(), layer.down.float())
    start = torch.randn(update.shape[1], 2 * rank, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(update @ start.to(update.device))[0]
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(update @ torch.linalg.qr(update.T @ basis)[0])[0]
    u, s, v = torch.linalg.svd(basis.T @ update, full_matrices=False)
    root = s[:rank].sqrt()
    up, down = basis @ (u[:, :rank] * root), v[:rank] * root[:, None]
    lost = float((update - up @ down).square().sum(dtype=torch.float64))
    new = LoraLayer(down.to(layer.down.dtype), up.to(layer.up.dtype))
    return new, lost, float(update.square().sum(dtype=torch.float64))


def _product(up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """up · down, without the work where one of them is the identity, as in converted adapters."""
    for one, other in ((up, down), (down, up)):
        if one.shape[0] == one.shape[1] and torch.equal(one, torch.eye(len(one)).to(one)):
            return other
    return up @ down
