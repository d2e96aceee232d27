"""A LoRA with a smaller rank that is as near to it as can be."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer


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
        q_up, r_up = torch.linalg.qr(layer.up.double())
        q_down, r_down = torch.linalg.qr(layer.down.double().T)
        u, s, v = torch.linalg.svd(r_up @ r_down.T, full_matrices=False)
        total += float(s.square().sum())
        if layer.rank <= rank:
            result[name] = layer
            continue
        lost += float(s[rank:].square().sum())
        root = s[:rank].sqrt()
        up = q_up @ (u[:, :rank] * root)
        down = (v[:rank] * root[:, None]) @ q_down.T
        result[name] = LoraLayer(down.to(layer.down.dtype), up.to(layer.up.dtype))
    return result, math.sqrt(lost / total) if total else 0.0
