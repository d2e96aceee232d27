"""A user's edit in training as one more element of a LoRWeB basis, attached to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pairedit_sdk.lora.adapters import (
    activate,
    add_trainable,
    attach,
    lora_layers,
    require_bare,
    set_scales,
)
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.mixing import side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pairedit_sdk.lora.linear import Scale
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.settings import OwnEditSettings
    from pairedit_sdk.models.protocol import FlowModel

OWN, BASIS, JOINED = "own", "basis", "joined"


class OwnElement:
    """A LoRA that is trained, beside the frozen ones of a basis, each with its share of the mix.

    Args:
        model: without any LoRA attached.
        basis: that the edit is to join; it is not changed.
        settings: ``in_mix`` says whether the frozen LoRAs act.

    Attributes:
        parameters: everything that is trained.
    """

    def __init__(self, model: FlowModel, basis: LoRWeBBasis, settings: OwnEditSettings) -> None:
        require_bare(model.transformer)
        self.base, self.basis, self.settings = model, basis, settings
        targets = model.lora_targets(settings.targets)
        generator = torch.Generator().manual_seed(settings.seed)
        dtype = torch.bfloat16 if settings.lora.precision == "bf16" else torch.float32
        self.parameters = add_trainable(
            model.transformer, OWN, targets, settings.rank, generator, dtype
        )
        frozen: dict[str, Mapping[str, LoraLayer]] = {}
        if settings.in_mix:
            frozen[BASIS] = {name: side_by_side(layer) for name, layer in basis.layers.items()}
            frozen |= {
                f"{JOINED}-{number}": one.edit.layers for number, one in enumerate(basis.joined)
            }
        for name, layers in frozen.items():
            attach(model.transformer, name, layers)
        self.names = [*frozen, OWN]
        activate(model.transformer, self.names)

    def mix(self, coefficients: torch.Tensor) -> None:
        """Let the next forward pass mix by these coefficients, those of the own edit the last.

        Args:
            coefficients: of each row, [B, W, N, the joined ones and the own].
        """
        e = coefficients.to(self.base.device)
        count = self.basis.router.keys.shape[-2]
        scales: dict[str, dict[str, Scale]] = {name: {} for name in self.names}
        for name in self.names:
            for weight, layer in lora_layers(self.base.transformer, name):
                own = self.basis.of_weight(e, weight)  # [B, E]
                if name == BASIS:
                    rank = layer.lora_A[name].shape[0] // count
                    scales[name][weight] = own[:, :count].repeat_interleave(rank, dim=-1)
                elif name == OWN:
                    scales[name][weight] = own[:, -1] * self.settings.lora.scaling
                else:
                    scales[name][weight] = own[:, count + int(name.removeprefix(f"{JOINED}-"))]
        set_scales(self.base.transformer, scales)

    def rest(self) -> None:
        """Let the next forward pass be that of the model alone."""
        set_scales(self.base.transformer, dict.fromkeys(self.names, 0.0))

    def finished(self, gain: float = 1.0) -> dict[str, LoraLayer]:
        """The trained LoRA as it now is, alpha / r and ``gain`` baked in, on the CPU."""
        return {
            name: LoraLayer(
                layer.lora_A[OWN].detach().float().cpu().clone(),
                layer.lora_B[OWN].detach().float().cpu() * (self.settings.lora.scaling * gain),
            )
            for name, layer in lora_layers(self.base.transformer, OWN)
        }
