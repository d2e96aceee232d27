"""Muon for matrices, AdamW for the rest; docs/experiments.md has what it gave.

torch's Muon takes 2-D parameters only, so a convolution's weight is held as [out, in·k·k] while it
is trained.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize


class _AsMatrix(nn.Module):
    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        return matrix.view(self.shape)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.reshape(weight.shape[0], -1)


def hold_as_matrices(module: nn.Module) -> None:
    """Hold the weight of every inner convolution as a matrix."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and min(part.weight.shape[:2]) > 3:
            parametrize.register_parametrization(part, "weight", _AsMatrix(part.weight.shape))


def release_matrices(module: nn.Module) -> None:
    """Undo :func:`hold_as_matrices`, keeping the trained values."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")


def optimizers(
    parameters: dict[str, nn.Parameter], lr: float, matrix_lr: float, weight_decay: float
) -> list[tuple[torch.optim.Optimizer, float]]:
    """Optimisers with their peak learning rates. Embeddings and probes count as no matrices."""
    matrices = [
        p
        for n, p in parameters.items()
        if p.ndim == 2 and not any(kind in n for kind in ("embed", "shared", "probe"))
    ]
    chosen = {id(p) for p in matrices}
    others = [p for p in parameters.values() if id(p) not in chosen]
    result: list[tuple[torch.optim.Optimizer, float]] = []
    if matrices and matrix_lr > 0:
        muon = torch.optim.Muon(
            matrices, lr=matrix_lr, weight_decay=weight_decay, momentum=0.95, ns_steps=4,
            adjust_lr_fn="match_rms_adamw",
        )  # fmt: skip
        result.append((muon, matrix_lr))
    else:
        others = list(parameters.values())
    adamw = torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.99))
    result.append((adamw, lr))
    return result
