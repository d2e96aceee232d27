"""Muon for matrices, AdamW for the rest; docs/experiments/built-in-model.md has what it gave.

torch's Muon takes 2-D parameters only, so a convolution's weight is held as [out, in·k·k] while it
is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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


class BatchedMuon(torch.optim.Muon):
    """torch's Muon with Nesterov's momentum, matrices of one shape orthogonalised together.

    torch takes one matrix after the other: 1,382 small operations in a step of the flow model, more
    than its forward pass has. A CPU computes the same either way; a GPU is idle while they start.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step from the gradients that are there."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            by_shape: dict[torch.Size, list[torch.Tensor]] = {}
            for parameter in parameters:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, alike in by_shape.items():
                updates = _orthogonal(torch.stack(self._momenta(alike, group["momentum"])), group)
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))  # "match_rms_adamw"
                torch._foreach_mul_(alike, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(alike, list(updates.float().contiguous().unbind()), alpha=-rate)

    def _momenta(self, alike: list[torch.Tensor], momentum: float) -> list[torch.Tensor]:
        gradients = [p.grad for p in alike if p.grad is not None]
        for parameter in alike:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[p]["momentum_buffer"] for p in alike]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        return list(torch._foreach_lerp(gradients, buffers, momentum))


def _orthogonal(matrices: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """Newton and Schulz's iteration as torch's Muon has it, for matrices [N, rows, columns]."""
    a, b, c = group["ns_coefficients"]
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


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
        muon = (BatchedMuon if matrices[0].device.type != "cpu" else torch.optim.Muon)(
            matrices,
            lr=matrix_lr,
            weight_decay=weight_decay,
            momentum=0.95,
            ns_steps=4,
            adjust_lr_fn="match_rms_adamw",
        )
        result.append((muon, matrix_lr))
    else:
        others = list(parameters.values())
    adamw = torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.99))
    result.append((adamw, lr))
    return result
