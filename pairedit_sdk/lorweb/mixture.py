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
from pairedit_sdk.lorweb.delta import DeltaNetwork, PairFeatures, network_of
from pairedit_sdk.lorweb.mixing import empty_router
from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.protocol import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairedit_sdk.lorweb.rows import Shown
    from pairedit_sdk.models.protocol import Condition, FlowModel

BASIS = "basis"
#: Size of the random map with which a query starts as that of E(a′) − E(a): the first softmax then
#: leaves neither all of the basis nor only one element in the mix.
DIFFERENCE = 4.0


class Mixture:
    """The basis in training, attached to a model.

    Args:
        model: without any LoRA attached.
        settings: of the training.
        width: Q, of the router's queries.
        delta: the delta network, if there is one; it is trained in place.

    Attributes:
        parameters: everything that is trained.
    """

    def __init__(
        self,
        model: FlowModel,
        settings: BasisSettings,
        width: int,
        delta: DeltaNetwork | None = None,
    ) -> None:
        require_bare(model.transformer)
        self.base, self.settings, self.delta, self.width = model, settings, delta, width
        self.parameters: dict[str, torch.nn.Parameter] = {}
        self.weights: list[str] = []
        generator = torch.Generator().manual_seed(settings.seed)
        if settings.count:
            targets = model.lora_targets(settings.targets)
            rank = settings.count * settings.rank
            dtype = torch.bfloat16 if settings.lora.precision == "bf16" else torch.float32
            added = add_trainable(model.transformer, BASIS, targets, rank, generator, dtype)
            self.parameters |= added
            self.weights = [name for name, _ in lora_layers(model.transformer, BASIS)]
            self.parameters |= self._router_start(width, generator)
            activate(model.transformer, [BASIS])
        if delta is not None:
            delta.to(model.device)
            self.parameters |= {
                f"delta.{name}": parameter
                for name, parameter in delta.named_parameters()
                if parameter.requires_grad
            }

    def _router_start(
        self, width: int, generator: torch.Generator
    ) -> dict[str, torch.nn.Parameter]:
        """P and K as training begins with them."""
        settings = self.settings
        count = 1 if settings.shared else len(self.weights)
        keys = torch.randn(count, settings.count, settings.key_width, generator=generator)
        bound = 1 / math.sqrt(width)
        projection = torch.rand(count, settings.key_width, width, generator=generator)
        projection = (2 * projection - 1) * bound
        if settings.start == "difference":
            shape = (count, settings.key_width, width // 3)
            random = torch.randn(shape, generator=generator) * DIFFERENCE
            projection = random @ difference_projection(width // 3)
        values = {"keys": keys, "projection": projection}
        return {n: torch.nn.Parameter(v.to(self.base.device)) for n, v in values.items()}

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
        if not self.weights:
            return
        e = self.router.coefficients(queries.to(self.base.device)[:, None])  # [B, W, N]
        per_rank = e.repeat_interleave(self.settings.rank, dim=-1) * self.settings.scaling
        by_layer = {
            name: per_rank[:, index if per_rank.shape[1] > 1 else 0]
            for index, name in enumerate(self.weights)
        }
        set_scales(self.base.transformer, {BASIS: by_layer})

    def condition(self, said: Condition, shown: Sequence[Shown]) -> Condition:
        """What the model is told of these rows, with the delta network's tokens if there is one."""
        if self.delta is None:
            return said
        features = [row.features for row in shown if row.features is not None]
        return told(said, *self.delta(PairFeatures.joined(features).to(self.base.device)))

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
        delta = None
        if self.delta is not None:
            tensors = {n: t.detach().cpu().clone() for n, t in self.delta.state_dict().items()}
            delta = network_of(self.delta.shape, tensors)
        if not layers:
            return LoRWeBBasis({}, empty_router(self.width), info, delta=delta)
        projection, keys = (
            self.parameters[key].detach().cpu().clone() for key in ("projection", "keys")
        )
        router = replace(self.router, projection=projection, keys=keys)
        return LoRWeBBasis(layers, router, info, delta=delta)

    def close(self) -> None:
        """Take everything off the model again."""
        detach_all(self.base.transformer)


def require_width(model: FlowModel, settings: BasisSettings) -> None:
    """Refuse a basis with more rank components than the narrowest adapted layer has inputs.

    Raises:
        UsageError: it has.
    """
    if not settings.count:
        return
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
