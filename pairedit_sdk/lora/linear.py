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

import torch
import torch.nn.functional as F
from torch import nn

#: Of a LoRA: one number, one for each row [B], or one for each row and rank component [B, r].
Scale = float | torch.Tensor


@dataclass(eq=False)
class LoraState:
    """What the layers of one transformer share.

    Attributes:
        layers: by their names in the bare transformer.
        active: the LoRAs that act, in the order in which they are added.
        scales: of each LoRA, for all layers or by the layer's name. Without one it is 1.
    """

    layers: dict[str, LoraLinear] = field(default_factory=dict)
    active: tuple[str, ...] = ()
    scales: dict[str, Scale | Mapping[str, Scale]] = field(default_factory=dict)


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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for x [B, …, in], in the frozen layer's dtype."""
        result: torch.Tensor = self.base_layer(x)
        dtype = result.dtype
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
