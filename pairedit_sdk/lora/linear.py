"""A frozen linear layer with LoRAs beside it, each with a scale per row or per rank component.

peft's layers have one number as a LoRA's scale, and importing peft takes longer than an edit. What
is here computes the same, see tests/lora/test_linear.py, with three differences that this SDK is
built on:

- a scale may be one number, one for each row [B], or one for each row and rank component [B, r];
- it multiplies the few rank components between A and B, not the layer's whole output;
- all layers of a transformer share one :class:`LoraState`, so a scale is set in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pairedit_sdk.lora.fused import FusedLoras, LowRankUpdate, refresh

#: Of a LoRA: one number, one for each row [B], or one for each row and rank component [B, r].
Scale = float | torch.Tensor


@dataclass(eq=False)
class LoraState:
    """What the layers of one transformer share.

    Attributes:
        layers: by their names in the bare transformer.
        active: the LoRAs that act, in the order in which they are added.
        scales: of each LoRA, for all layers or by the layer's name. Without one it is 1.
        twins: the LoRA whose numbers a frozen twin shares, by the twin's name.
        columns: the scales as the layers use them, cached until one of them changes.
    """

    layers: dict[str, LoraLinear] = field(default_factory=dict)
    active: tuple[str, ...] = ()
    scales: dict[str, Scale | Mapping[str, Scale]] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    columns: dict[Any, tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=dict)

    def changed(self) -> None:
        """To be called after scales or parameters have changed, before the next pass."""
        self.columns.clear()
        refresh([layer.fused for layer in self.layers.values() if layer.fused is not None])


class LoraLinear(nn.Module):
    """y = W x + b + Σ_k B_k (s_k · A_k x).

    Products are computed in bf16 on bf16 inputs, whatever the LoRA is kept in, as autocast does;
    on other inputs in the LoRA's own dtype.

    Args:
        base_layer: the frozen layer, a Linear or one of bitsandbytes' quantised ones.
        name: of the layer in the bare transformer.
        state: shared by all layers of the transformer.

    Attributes:
        lora_A: [rank, in] of each LoRA.
        lora_B: [out, rank] of each LoRA.
    """

    def __init__(self, base_layer: nn.Module, name: str, state: LoraState) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.name, self._state = name, state
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.fused: FusedLoras | None = None

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return int(self.base_layer.in_features)  # type: ignore[arg-type]

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return int(self.base_layer.out_features)  # type: ignore[arg-type]

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight, which some models look at."""
        return self.base_layer.weight  # type: ignore[return-value]

    @property
    def bias(self) -> torch.Tensor | None:
        """The frozen bias."""
        return self.base_layer.bias  # type: ignore[return-value]

    def add(self, name: str, down: nn.Parameter, up: nn.Parameter) -> None:
        """Put a LoRA beside the layer: A [rank, in] and B [out, rank]."""
        self.lora_A[name], self.lora_B[name] = down, up
        self.fused = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for x [B, …, in], in the frozen layer's dtype."""
        result: torch.Tensor = self.base_layer(x)
        dtype = result.dtype
        # A compiler fuses the small kernels itself.
        if x.dtype == dtype == torch.bfloat16 and not torch.compiler.is_compiling():
            return self._fused(result, x)
        for name in self._state.active:
            if name not in self.lora_A:
                continue
            scale = self._scale(name)
            if not isinstance(scale, torch.Tensor) and scale == 0:
                continue
            down, up = self.lora_A[name], self.lora_B[name]
            # A copy in float32 of every input, kept for the backward pass, would be a quarter of
            # a training's memory on a bf16 model. In fp16 the gradients' sums could overflow.
            products = x.dtype if x.dtype == torch.bfloat16 else down.dtype
            x = x.to(products)
            hidden = _scaled(F.linear(x, down.to(products)), scale)
            result = result + F.linear(hidden, up.to(products))
        return result.to(dtype)

    def _fused(self, result: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The same sum in few kernels, see :mod:`pairedit_sdk.lora.fused`."""
        active = self._state.active
        if not any(self._acts(name) for name in active):
            return result
        twins = self._state.twins
        if self.fused is None or self.fused.active != active:
            given = {
                name: (self.lora_A[name], self.lora_B[name])
                for name in active
                if name in self.lora_A and twins.get(name) not in active
            }
            self.fused = FusedLoras(active, given, x.dtype)
        elif self.fused.is_outdated:
            refresh([self.fused])
        if type(self.base_layer) is not nn.Linear:
            result = result.clone()  # bitsandbytes gives a view, which nothing may be added to
        scales = self._columns(self.fused, x)
        parameters = [half for pair in self.fused.sources.values() for half in pair]
        return LowRankUpdate.apply(  # type: ignore[no-any-return, no-untyped-call]
            result, x, *scales, self.fused, *parameters
        )

    def _acts(self, name: str) -> bool:
        if name not in self.lora_A:
            return False
        scale = self._scale(name)
        return isinstance(scale, torch.Tensor) or scale != 0

    def _columns(
        self, fused: FusedLoras, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Scales [B or 1, R] of all rank components, and 1 where they learn, 0 where a twin acts.

        They are the same in every layer unless a scale is given by layer.
        """
        state = self._state
        by_layer = any(isinstance(state.scales.get(name), Mapping) for name in fused.active)
        key = (fused.active, tuple(fused.ranks.items()), x.device, self.name if by_layer else "")
        found = state.columns.get(key)
        if found is None:
            twin_of = {own: twin for twin, own in state.twins.items() if twin in fused.active}
            wholes, frees = [], []
            for name, rank in fused.ranks.items():
                own = _column(self._scale(name), rank, x)
                twin = twin_of.get(name)
                wholes.append(own if twin is None else own + _column(self._scale(twin), rank, x))
                frees.append(torch.ones_like(own) if twin is None else (own != 0).float())
            learns = _side_by_side(frees) if twin_of else None
            found = state.columns[key] = _side_by_side(wholes), learns
        return found

    def _scale(self, name: str) -> Scale:
        scale = self._state.scales.get(name, 1.0)
        return scale[self.name] if isinstance(scale, Mapping) else scale


def _scaled(hidden: torch.Tensor, scale: Scale) -> torch.Tensor:
    """Rank components [B, …, r] times their scale, multiplied in float32 if that is per row."""
    if not isinstance(scale, torch.Tensor):
        return hidden if scale == 1 else hidden * scale
    if scale.ndim == 1:
        scale = scale[:, None]
    # Between rows and components lie the tokens; a layer that sees one vector a row has none.
    column = scale.reshape(len(scale), *[1] * (hidden.ndim - 2), scale.shape[1])
    return (hidden * column).to(hidden.dtype)


def _column(scale: Scale, rank: int, x: torch.Tensor) -> torch.Tensor:
    """A scale as float32 [B or 1, rank]."""
    given = torch.as_tensor(scale, dtype=torch.float32, device=x.device)
    given = given.reshape(-1, 1) if given.ndim < 2 else given
    return given.expand(len(given), rank)


def _side_by_side(columns: list[torch.Tensor]) -> torch.Tensor:
    rows = max(len(column) for column in columns)
    return torch.cat([column.expand(rows, -1) for column in columns], 1)
