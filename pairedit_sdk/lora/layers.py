"""One layer's low-rank update, as plain tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoraLayer:
    """One layer's update ΔW = up · down; every alpha is already baked into ``up``.

    Attributes:
        down: A, [rank, in].
        up: B, [out, rank].
    """

    down: torch.Tensor
    up: torch.Tensor

    @property
    def rank(self) -> int:
        return self.down.shape[0]
