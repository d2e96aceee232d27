"""The two LoRA branches of a training step, as rows of one batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.config import TrainConfig
from pairedit_sdk.flow.objectives import (
    Losses,
    content_loss,
    difference_target,
    guidance_target,
    semantic_loss,
    slider_loss,
)
from pairedit_sdk.flow.schedule import Noised, content_preserving_noising, standard_noising
from pairedit_sdk.lora.adapters import (
    activate,
    add_trainable,
    lora_layers,
    require_bare,
    set_scales,
    share_frozen,
)
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    from pairedit_sdk.bases.protocol import Condition, FlowBase
    from pairedit_sdk.cache import PairLatents

CONTENT, TWIN, SEMANTIC = "content", "content_frozen", "semantic"


class Branches:
    """θ_c and θ_s attached to a base, and the losses of a draw.

    Attributes:
        parameters: everything that is trained, by "content/…" and "semantic/…" names.
    """

    def __init__(self, base: FlowBase, config: TrainConfig, condition: Condition) -> None:
        require_bare(base.transformer)
        self.base, self.config, self.condition = base, config, condition
        self.scaling = config.alpha / config.rank
        targets = base.lora_targets(config.targets)
        generator = torch.Generator().manual_seed(config.seed)
        self.parameters: dict[str, torch.nn.Parameter] = {}
        for name in (CONTENT, SEMANTIC) if config.content_lora else (SEMANTIC,):
            added = add_trainable(
                base.transformer, name, targets, config.rank, config.alpha, generator
            )
            self.parameters |= {f"{name}/{key}": p for key, p in added.items()}
        names = [SEMANTIC]
        if config.content_lora:
            share_frozen(base.transformer, CONTENT, TWIN)
            names = [CONTENT, TWIN, SEMANTIC]
        activate(base.transformer, names)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)

    def losses(self, latents: list[PairLatents], draw: int) -> Iterator[Losses]:
        """The losses of draw number ``draw``: ``batch`` times a pair, a σ and an ε.

        Pairs of different sizes cannot share a forward pass: each size gives one item, weighted by
        its number of rows. Differentiate an item before taking the next one, because gradient
        checkpointing computes it again with the scales as they then are.
        """
        generator = torch.Generator().manual_seed(_draw_seed(self.config.seed, draw))
        count = self.config.batch
        chosen = torch.randint(len(latents), (count,), generator=generator).tolist()
        picks = torch.randint(self.config.sigma_count, (count,), generator=generator).tolist()
        noises = [
            torch.randn(latents[i].x_a.shape, generator=generator).to(self.base.device)
            for i in chosen
        ]
        groups: dict[torch.Size, list[int]] = {}
        for row, i in enumerate(chosen):
            groups.setdefault(latents[i].x_a.shape, []).append(row)
        for rows in groups.values():
            x_a = torch.cat([latents[chosen[r]].x_a for r in rows])
            x_b = torch.cat([latents[chosen[r]].x_b for r in rows])
            sigma = self._sigmas(x_a)[[picks[r] for r in rows]]
            noise = torch.cat([noises[r] for r in rows])
            part, share = self._rows(x_a, x_b, sigma, noise), len(rows) / count
            yield Losses(part.content * share, part.semantic * share)

    def live_scales(self, scale: float) -> dict[str, float]:
        """Factors with which the semantic LoRA acts alone, as the saved edit will."""
        off = {CONTENT: 0.0, TWIN: 0.0} if self.config.content_lora else {}
        return {**off, SEMANTIC: scale * self.scaling}

    def baked(self, name: str) -> dict[str, LoraLayer]:
        """One branch's LoRA with alpha / rank in B, on the CPU."""
        layers = {}
        for layer_name, layer in lora_layers(self.base.transformer, name):
            down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
            layers[layer_name] = LoraLayer(
                down.detach().float().cpu().clone(), up.detach().float().cpu() * self.scaling
            )
        return layers

    def _rows(
        self, x_a: torch.Tensor, x_b: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor
    ) -> Losses:
        config = self.config
        noised = self._noise(x_a, noise, sigma)
        states, sigmas = [noised.x], [sigma]
        signs = [1.0]
        if config.objective == "slider":
            noised_b = self._noise(x_b, noise, sigma)
            states, sigmas = [noised_b.x, noised.x], [sigma, sigma]
            signs = [1.0, -1.0]
        rows = len(x_a)
        if config.content_lora:
            states, sigmas, signs = [noised.x, *states], [sigma, *sigmas], [0.0, *signs]
        semantic_scale = torch.tensor(signs).repeat_interleave(rows).to(self.base.device)
        scales = {SEMANTIC: semantic_scale * self.scaling}
        if config.content_lora:
            is_content = (semantic_scale == 0).to(semantic_scale.dtype)
            scales[CONTENT] = is_content * self.scaling
            scales[TWIN] = (1 - is_content) * self.scaling
        set_scales(self.base.transformer, scales)
        v = self.base.velocity(
            torch.cat(states), torch.cat(sigmas), self.condition, config.guidance
        ).float()
        parts = list(v.split(rows))
        content = torch.zeros((), device=v.device)
        v_content = None
        if config.content_lora:
            v_content = parts.pop(0)
            content = content_loss(v_content, noised)
        if config.objective == "slider":
            return Losses(content, slider_loss(parts[0], parts[1], noised_b, noised))
        if config.objective == "difference":
            assert v_content is not None  # the settings are checked for it
            target = difference_target(v_content, x_a, x_b, config.eta)
        else:
            target = guidance_target(noised, x_a, x_b, config.eta)
        return Losses(content, semantic_loss(parts[0], target))

    def _noise(self, x: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> Noised:
        if self.config.noising == "standard":
            return standard_noising(x, noise, sigma)
        return content_preserving_noising(x, noise, sigma, self.config.beta)

    def _sigmas(self, x: torch.Tensor) -> torch.Tensor:
        """The noise levels to draw from, for latents of this size, without the final 0."""
        return self.base.sigmas(self.config.sigma_count, *self.base.image_size(x))[:-1]


def _draw_seed(seed: int, draw: int) -> int:
    """A seed for each draw that shares nothing with its neighbours'."""
    digest = hashlib.sha256(f"{seed}/{draw}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
