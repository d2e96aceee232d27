"""The LoRAs of one layer in few kernels, for bf16.

Computed one by one, the two LoRAs of a training and the frozen twin of one of them take some 75
kernels in each layer and step: casts of A and B, products, scales and sums, forward and backward. A
GPU is done with these sooner than the host can start them. Here all A are one product, every B is
multiplied into the layer's output in place, a twin is a scale of the LoRA whose numbers it shares,
and the copies in bf16 of all layers are made together before a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn


class FusedLoras:
    """The LoRAs of one layer in the dtype that they are multiplied in.

    Args:
        active: the names that were active in the transformer.
        sources: A [rank, in] and B [out, rank] of each LoRA of this layer, without twins.
        dtype: of the products.

    Attributes:
        down: all A [R, in], one below the other.
        ups: every B [out, rank].
        ranks: of each LoRA, by its name.
    """

    def __init__(
        self,
        active: tuple[str, ...],
        sources: Mapping[str, tuple[nn.Parameter, nn.Parameter]],
        dtype: torch.dtype,
    ) -> None:
        self.active, self.sources = active, dict(sources)
        # Copies that are written again must not belong to an inference mode around this pass.
        with torch.inference_mode(False), torch.no_grad():
            self.down = torch.cat([down.to(dtype) for down, _ in sources.values()])
            self.ups = [up.to(dtype, copy=True) for _, up in sources.values()]
        self.ranks = {name: up.shape[1] for name, (_, up) in sources.items()}
        self._seen = self._versions()

    @property
    def is_outdated(self) -> bool:
        """Whether torch saw a source change since it was copied."""
        return self._seen != self._versions()

    def copies(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Targets and sources of the copies that are due before a pass: those of LoRAs in
        training."""
        self._seen = self._versions()
        targets: list[torch.Tensor] = []
        given: list[torch.Tensor] = []
        parts = torch.split(self.down, list(self.ranks.values()))
        for own, up, (down, source) in zip(parts, self.ups, self.sources.values(), strict=True):
            if source.requires_grad:
                targets += [own, up]
                given += [down.detach(), source.detach()]
        return targets, given

    def _versions(self) -> list[int]:
        return [half._version for pair in self.sources.values() for half in pair]


def refresh(layers: Sequence[FusedLoras]) -> None:
    """Copy the LoRAs in training again, those of all layers in a few kernels."""
    copies = [layer.copies() for layer in layers]
    targets = [target for into, _ in copies for target in into]
    if targets:
        torch._foreach_copy_(targets, [source for _, given in copies for source in given])


class LowRankUpdate(torch.autograd.Function):
    """y + Σ_k B_k (s_k · A_k x), in place of y."""

    @staticmethod
    def forward(
        ctx: Any,
        y: torch.Tensor,
        x: torch.Tensor,
        scale: torch.Tensor,
        learns: torch.Tensor | None,
        fused: FusedLoras,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        """The layer's output with its LoRAs.

        Args:
            ctx: torch's.
            y: output of the frozen layer [B, …, out].
            x: its input [B, …, in].
            scale: of all rank components [B or 1, R].
            learns: which of them have gradients, 0 or 1 [B or 1, R]; ``None`` is all.
            fused: the LoRAs.
            parameters: their sources, A and B in turn, for the gradients.
        """
        flat, out = x.reshape(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        hidden = _by_row(flat @ fused.down.T, scale)
        for part, up in zip(
            torch.split(hidden, list(fused.ranks.values()), 1), fused.ups, strict=True
        ):
            out.addmm_(part, up.T)
        ctx.mark_dirty(y)
        ctx.save_for_backward(flat, hidden, scale, learns)
        ctx.fused, ctx.shape = fused, x.shape
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of y, of x, and of A and B in their own dtype."""
        flat, hidden, scale, learns = ctx.saved_tensors
        fused: FusedLoras = ctx.fused
        ranks = list(fused.ranks.values())
        given = grad.reshape(-1, grad.shape[-1])
        back = _by_row(torch.cat([given @ up for up in fused.ups], 1), scale)
        to_x = (back @ fused.down).view(ctx.shape) if ctx.needs_input_grad[1] else None
        gradients: list[torch.Tensor | None] = [None] * (2 * len(ranks))
        if any(ctx.needs_input_grad[5:]):
            if learns is not None:
                back, hidden = _by_row(back, learns), _by_row(hidden, learns)
            dtype = next(iter(fused.sources.values()))[0].dtype
            downs = torch.split(_product(back.T, flat, dtype), ranks)
            for k, part in enumerate(torch.split(hidden, ranks, 1)):
                if ctx.needs_input_grad[5 + 2 * k]:
                    gradients[2 * k : 2 * k + 2] = [downs[k], _product(given.T, part, dtype)]
        return grad, to_x, None, None, None, *gradients


def _by_row(hidden: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Rank components [N, R] of B rows times their scale [B or 1, R]."""
    rows = hidden.view(len(scale), -1, hidden.shape[1])
    # In float32 and rounded once, in one kernel: a scale in bf16 would be .3 % off.
    return torch.mul(rows, scale[:, None], out=torch.empty_like(rows)).view_as(hidden)


def _product(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """a b, in ``dtype`` without a copy of its own where the device can do that."""
    if a.is_cuda and dtype == torch.float32 != a.dtype:
        return torch.mm(a, b, out_dtype=dtype)
    return (a @ b).to(dtype)
