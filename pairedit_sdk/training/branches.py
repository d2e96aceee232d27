"""The two LoRA branches of a training step, as rows of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.losses import Losses
from pairedit_sdk.flow.schedule import (
    Noised,
    content_preserving_noising,
    standard_noising,
    stratified,
)
from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.flow.solvers import last_steps
from pairedit_sdk.lora.adapters import (
    activate,
    add_trainable,
    lora_layers,
    require_bare,
    share_frozen,
)
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.objectives import OBJECTIVES, Rows

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import Condition, FlowModel
    from pairedit_sdk.pairs.latents import PairLatents

CONTENT, TWIN, SEMANTIC = "content", "content_frozen", "semantic"


class Branches:
    """θ_c and θ_s attached to a model, and the losses of a draw.

    Attributes:
        parameters: everything that is trained, by "content/…" and "semantic/…" names.
    """

    def __init__(self, model: FlowModel, config: TrainConfig, condition: Condition) -> None:
        require_bare(model.transformer)
        self.base, self.config, self.condition = model, config, condition
        self.scaling = config.lora.scaling
        targets = model.lora_targets(config.targets)
        generator = torch.Generator().manual_seed(config.seed)
        self.parameters: dict[str, torch.nn.Parameter] = {}
        for name in (CONTENT, SEMANTIC) if config.content_lora else (SEMANTIC,):
            added = add_trainable(
                model.transformer,
                name,
                targets,
                config.rank,
                generator,
                torch.bfloat16 if config.lora_precision == "bf16" else torch.float32,
            )
            self.parameters |= {f"{name}/{key}": p for key, p in added.items()}
        names = [SEMANTIC]
        if config.content_lora:
            share_frozen(model.transformer, CONTENT, TWIN)
            names = [CONTENT, TWIN, SEMANTIC]
        activate(model.transformer, names)

    def losses(
        self, latents: list[PairLatents], draw: int, own: Sequence[int] | None = None
    ) -> Iterator[Losses]:
        """The losses of draw number ``draw``: ``batch`` times a pair, a σ and an ε.

        Of several processes each takes its ``own`` rows of the batch; their losses sum to those of
        all rows. Pairs of different sizes cannot share a forward pass: each size gives one item,
        weighted by its number of rows. Differentiate an item before taking the next one, because
        gradient checkpointing computes it again with the scales as they then are.
        """
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, draw))
        count = self.config.batch
        chosen = torch.randint(len(latents), (count,), generator=generator).tolist()
        picks = self._picks(count, generator)
        noises = [
            torch.randn(latents[i].x_a.shape, generator=generator).to(self.base.device)
            for i in chosen
        ]
        places = torch.zeros(count)
        if self.config.objective == "flowedit":
            places = torch.rand(count, generator=generator)
        objective = OBJECTIVES[self.config.objective]
        groups: dict[torch.Size, list[int]] = {}
        for row in range(count) if own is None else own:
            groups.setdefault(latents[chosen[row]].x_a.shape, []).append(row)
        for rows in groups.values():
            x_a = torch.cat([latents[chosen[r]].x_a for r in rows])
            x_b = torch.cat([latents[chosen[r]].x_b for r in rows])
            sigma = self.levels(x_a)[[picks[r] for r in rows]]
            noise = torch.cat([noises[r] for r in rows])
            place = places[rows].to(sigma.device)
            part = objective(self, Rows(x_a, x_b, sigma, noise, place))
            share = len(rows) / count
            yield Losses(part.content * share, part.semantic * share)

    def velocities(
        self, states: list[torch.Tensor], sigma: torch.Tensor, signs: list[float], x_a: torch.Tensor
    ) -> list[torch.Tensor]:
        """The velocity at each state, as rows of one pass, which see x_A if the settings say so.

        ``signs`` are the semantic LoRA's factors, 0 for a content row. Rows that carry the semantic
        LoRA carry the twin of the content LoRA, too.
        """
        rows = len(sigma)
        semantic = torch.tensor(signs).repeat_interleave(rows).to(self.base.device)
        scales = {SEMANTIC: semantic * self.scaling}
        if self.config.content_lora:
            is_content = (semantic == 0).to(semantic.dtype)
            scales[CONTENT] = is_content * self.scaling
            scales[TWIN] = (1 - is_content) * self.scaling
        reference = self._seen(x_a)
        if reference is not None:
            reference = reference.repeat(len(states), 1, 1, 1)
        v = self.model.velocity(torch.cat(states), sigma.repeat(len(states)), scales, reference)
        return list(torch.split(v.float(), rows))

    @property
    def model(self) -> ConditionedModel:
        """The model with the prompt and the guidance of the training."""
        return ConditionedModel(self.base, self.condition, self.config.guidance)

    def live_scales(self, scale: float) -> dict[str, float]:
        """Factors with which the semantic LoRA acts alone, as the saved edit will."""
        off = {CONTENT: 0.0, TWIN: 0.0} if self.config.content_lora else {}
        return {**off, SEMANTIC: scale * self.scaling}

    def export_lora(self, name: str) -> dict[str, LoraLayer]:
        """One branch's LoRA with alpha / rank folded into B, on the CPU."""
        layers = {}
        for layer_name, layer in lora_layers(self.base.transformer, name):
            down, up = layer.lora_A[name], layer.lora_B[name]
            layers[layer_name] = LoraLayer(
                down.detach().float().cpu().clone(), up.detach().float().cpu() * self.scaling
            )
        return layers

    def _seen(self, x_a: torch.Tensor) -> torch.Tensor | None:
        """What the model sees beside the states."""
        return x_a if self.config.reference == "before" else None

    def plain(self, x: torch.Tensor, sigma: torch.Tensor, x_a: torch.Tensor) -> torch.Tensor:
        """The plain model's velocity, x_A seen if the settings say so.

        To be asked for before :meth:`velocities`: what gradient checkpointing computes again must
        find the scales of its own pass.
        """
        with torch.no_grad():
            return self.model.velocity(x, sigma, {SEMANTIC: 0.0}, self._seen(x_a)).float()

    def noised(self, x: torch.Tensor, rows: Rows) -> Noised:
        """``x`` [B, C, H, W] with the noise of ``rows``, as the settings say."""
        if self.config.noising == "standard":
            return standard_noising(x, rows.noise, rows.sigma)
        return content_preserving_noising(x, rows.noise, rows.sigma, self.config.beta)

    def _picks(self, count: int, generator: torch.Generator) -> list[int]:
        """Which of the noise levels each draw of a batch gets."""
        levels = self._level_count
        if self.config.sigma_sampling == "uniform":
            return torch.randint(levels, (count,), generator=generator).tolist()
        return stratified(count, levels, generator)

    @property
    def _level_count(self) -> int:
        steps = self.config.sigma_count
        return last_steps(steps) if self.config.objective == "flowedit" else steps

    def levels(self, x: torch.Tensor) -> torch.Tensor:
        """The noise levels to draw from, for latents of this size, without the final 0."""
        levels = self.base.sigmas(self.config.sigma_count, *self.base.image_size(x))[:-1]
        return levels[-self._level_count :]
