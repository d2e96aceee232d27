"""The honest naive way to do the same, as a yardstick for ``pairedit bench speed``.

The published recipe and FlowEdit written down as a first version would be: both pictures go
through the autoencoder in every step, every branch is a pass of its own with one row, nothing is
kept from one call to the next. The arithmetic is that of :mod:`pairedit_sdk.training.trainer` and
:mod:`pairedit_sdk.editing.edit_latents`; only the waste is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.schedule import content_preserving_noising
from pairedit_sdk.flow.solvers import last_steps
from pairedit_sdk.images.image import to_image, to_tensor
from pairedit_sdk.lora.adapters import activate, add_trainable, attached, detach_all, set_scales
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.training.optimizers import adamw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.training.config import TrainConfig


def naive_train(model: FlowModel, pairs: PairSet, config: TrainConfig) -> dict[str, LoraLayer]:
    """Both LoRAs by Eq. 3 and 10, one pass for each branch; returns the semantic one."""
    with naive_training(model, pairs, config) as training:
        for _ in range(config.steps):
            training.step()
        return training.semantic()


@contextmanager
def naive_training(
    model: FlowModel, pairs: PairSet, config: TrainConfig
) -> Iterator[NaiveTraining]:
    """Within the block both LoRAs are attached; afterwards the model is as it was."""
    try:
        model.set_gradient_checkpointing(config.gradient_checkpointing)
        model.keep_autoencoder(True)  # it is wanted in every step
        yield NaiveTraining(model, pairs, config)
    finally:
        model.set_gradient_checkpointing(False)
        model.keep_autoencoder(False)
        detach_all(model.transformer)


class NaiveTraining:
    """A training that is taken step by step; see :func:`naive_training`."""

    def __init__(self, model: FlowModel, pairs: PairSet, config: TrainConfig) -> None:
        self.base, self.pairs, self.config = model, pairs, config
        self.generator = torch.Generator().manual_seed(config.seed)
        self.condition = model.condition("")
        self.targets = model.lora_targets(config.targets)
        self.scaling = config.lora.scaling
        self._content, self._semantic = (
            add_trainable(model.transformer, name, self.targets, config.rank, self.generator)
            for name in ("content", "semantic")
        )
        activate(model.transformer, ["content", "semantic"])
        self._parameters = [*self._content.values(), *self._semantic.values()]
        self._optimizer = adamw(
            config.optimizer, self._parameters, lr=config.lr, weight_decay=config.weight_decay
        )

    def step(self) -> None:
        """Draw a pair, a noise level and noise, and take one step of both LoRAs."""
        config, model, generator = self.config, self.base, self.generator
        pair = self.pairs[int(torch.randint(len(self.pairs), (1,), generator=generator))]
        x_a, x_b = (model.encode(to_tensor(p)).float() for p in (pair.before, pair.after))
        levels = model.sigmas(config.sigma_count, *model.image_size(x_a))
        sigma = levels[torch.randint(config.sigma_count, (1,), generator=generator)]
        noise = torch.randn(x_a.shape, generator=generator).to(x_a.device)
        noised = content_preserving_noising(x_a, noise, sigma, config.beta)
        self._optimizer.zero_grad()
        for parameter in self._parameters:
            parameter.requires_grad_(True)
        set_scales(model.transformer, {"content": self.scaling, "semantic": 0.0})
        v = model.velocity(noised.x, sigma, self.condition, config.guidance).float()
        (v - noised.velocity).square().mean().backward()  # type: ignore[no-untyped-call]
        for parameter in self._content.values():
            parameter.requires_grad_(False)
        set_scales(model.transformer, {"content": self.scaling, "semantic": self.scaling})
        v = model.velocity(noised.x, sigma, self.condition, config.guidance).float()
        target = noised.velocity + config.eta * (x_a - x_b)
        (v - target).square().mean().backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def semantic(self) -> dict[str, LoraLayer]:
        """The semantic LoRA as it now is, alpha / rank in B."""
        return {
            name: LoraLayer(
                self._semantic[f"{name}.lora_A"].detach().clone(),
                self._semantic[f"{name}.lora_B"].detach() * self.scaling,
            )
            for name in self.targets
        }


@torch.no_grad()
def naive_edit(
    model: FlowModel,
    image: Image.Image,
    layers: Mapping[str, LoraLayer],
    scale: float,
    guidance: float,
    seed: int = 0,
    steps: int = 28,
) -> Image.Image:
    """FlowEdit of one picture, the edited and the plain model one after the other."""
    generator = torch.Generator().manual_seed(seed)
    condition = model.condition("")
    x = model.encode(to_tensor(image)).float()
    sigmas = model.sigmas(steps, *model.image_size(x))
    z = x.clone()
    with attached(model.transformer, {"edit": layers}):
        for k in range(steps - last_steps(steps), steps):
            noise = torch.randn(x.shape, generator=generator).to(x.device)
            z_src = (1 - sigmas[k]) * x + sigmas[k] * noise
            set_scales(model.transformer, {"edit": scale})
            edited = model.velocity(z_src + z - x, sigmas[k], condition, guidance).float()
            set_scales(model.transformer, {"edit": 0.0})
            plain = model.velocity(z_src, sigmas[k], condition, guidance).float()
            z = z + (sigmas[k + 1] - sigmas[k]) * (edited - plain)
    return to_image(model.decode(z))
