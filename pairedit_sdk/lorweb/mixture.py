"""A basis in training, attached to a model.

All LoRAs of a weight are attached as one of rank N · r, whose rank components are multiplied by
each row's own coefficients between A and B; so a batch of analogies is one forward pass.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.basis.router import Router, difference_projection
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.adapters import (
    activate,
    add_trainable,
    detach_all,
    lora_layers,
    require_bare,
    set_scales,
)
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo
from pairedit_sdk.lorweb.settings import BasisSettings

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

BASIS = "basis"
#: Size of the random map with which a query starts as that of E(a′) − E(a): the first softmax then
#: leaves neither all of the basis nor only one element in the mix.
DIFFERENCE = 4.0


class Mixture:
    """The basis in training, attached to a model.

    Attributes:
        parameters: everything that is trained.
    """

    def __init__(self, model: FlowModel, settings: BasisSettings, width: int) -> None:
        require_bare(model.transformer)
        self.base, self.settings = model, settings
        targets = model.lora_targets(settings.targets)
        rank = settings.count * settings.rank
        generator = torch.Generator().manual_seed(settings.seed)
        dtype = torch.bfloat16 if settings.lora.precision == "bf16" else torch.float32
        added = add_trainable(model.transformer, BASIS, targets, rank, generator, dtype)
        self.parameters = dict(added)
        self.weights = [name for name, _ in lora_layers(model.transformer, BASIS)]
        count = 1 if settings.shared else len(self.weights)
        keys = torch.randn(count, settings.count, settings.key_width, generator=generator)
        bound = 1 / math.sqrt(width)
        projection = torch.rand(count, settings.key_width, width, generator=generator)
        projection = (2 * projection - 1) * bound
        if settings.start == "difference":
            shape = (count, settings.key_width, width // 3)
            random = torch.randn(shape, generator=generator) * DIFFERENCE
            projection = random @ difference_projection(width // 3)
        for name, value in {"keys": keys, "projection": projection}.items():
            self.parameters[name] = torch.nn.Parameter(value.to(model.device))
        activate(model.transformer, [BASIS])

    @property
    def router(self) -> Router:
        """P, K and the published √d, as they now are."""
        return Router(
            self.parameters["projection"],
            self.parameters["keys"],
            math.sqrt(self.settings.key_width),
            normalised=False,
            activation=self.settings.activation,
        )

    def mix(self, queries: torch.Tensor) -> None:
        """Let the next forward pass mix by these queries, one for each row [B, Q]."""
        e = self.router.coefficients(queries.to(self.base.device)[:, None])  # [B, W, N]
        per_rank = e.repeat_interleave(self.settings.rank, dim=-1) * self.settings.scaling
        by_layer = {
            name: per_rank[:, index if per_rank.shape[1] > 1 else 0]
            for index, name in enumerate(self.weights)
        }
        set_scales(self.base.transformer, {BASIS: by_layer})

    def finished(self, info: LearnedInfo) -> LoRWeBBasis:
        """The basis as it now is, alpha / r baked in, on the CPU."""
        count, rank = self.settings.count, self.settings.rank
        layers = {}
        for name in self.weights:
            down = self.parameters[f"{name}.lora_A"].detach().float().cpu()
            down = torch.unflatten(down, 0, (count, rank))
            up = self.parameters[f"{name}.lora_B"].detach().float().cpu() * self.settings.scaling
            layers[name] = BasisLayer(
                down.clone(), torch.unflatten(up, 1, (count, rank)).transpose(0, 1)
            )
        projection, keys = (
            self.parameters[key].detach().cpu().clone() for key in ("projection", "keys")
        )
        router = replace(self.router, projection=projection, keys=keys)
        return LoRWeBBasis(layers, router, info)

    def close(self) -> None:
        """Take everything off the model again."""
        detach_all(self.base.transformer)


def require_width(model: FlowModel, settings: BasisSettings) -> None:
    """Refuse a basis with more rank components than the narrowest adapted layer has inputs.

    Raises:
        UsageError: it has.
    """
    targets = model.lora_targets(settings.targets)
    narrow = min(
        min(int(layer.in_features), int(layer.out_features))  # type: ignore[arg-type]
        for layer in map(model.transformer.get_submodule, targets)
    )
    rank = settings.count * settings.rank
    if rank > narrow:
        raise UsageError(
            f"count · rank is {rank}, above the width of the narrowest adapted layer",
            expected=f"at most {narrow}",
            next_step="Lower count or rank",
        )
