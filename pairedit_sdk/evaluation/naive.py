"""The honest naive way to do the same, as a yardstick for ``pairedit bench speed``.

The published recipe and FlowEdit written down as a first version would be: both pictures go
through the autoencoder in every step, every branch is a pass of its own with one row, nothing is
kept from one call to the next. The arithmetic is that of :mod:`pairedit_sdk.training` and
:mod:`pairedit_sdk.editing`; only the waste is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.schedule import content_preserving_noising
from pairedit_sdk.flow.solvers import last_steps
from pairedit_sdk.lora.adapters import activate, add_trainable, attached, detach_all, set_scales
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.pictures.images import to_image, to_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

    from pairedit_sdk.bases.protocol import FlowBase
    from pairedit_sdk.config import TrainConfig
    from pairedit_sdk.pairs import PairSet


def naive_train(base: FlowBase, pairs: PairSet, config: TrainConfig) -> dict[str, LoraLayer]:
    """Both LoRAs by Eq. 3 and 10, one pass for each branch; returns the semantic one."""
    generator = torch.Generator().manual_seed(config.seed)
    condition = base.condition("")
    targets = base.lora_targets(config.targets)
    scaling = config.alpha / config.rank
    try:
        content, semantic = (
            add_trainable(base.transformer, name, targets, config.rank, generator)
            for name in ("content", "semantic")
        )
        activate(base.transformer, ["content", "semantic"])
        parameters = [*content.values(), *semantic.values()]
        optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
        for _ in range(config.steps):
            pair = pairs[int(torch.randint(len(pairs), (1,), generator=generator))]
            x_a, x_b = (base.encode(to_tensor(p)).float() for p in (pair.before, pair.after))
            levels = base.sigmas(config.sigma_count, *base.image_size(x_a))
            sigma = levels[torch.randint(config.sigma_count, (1,), generator=generator)]
            noise = torch.randn(x_a.shape, generator=generator).to(x_a.device)
            noised = content_preserving_noising(x_a, noise, sigma, config.beta)
            optimizer.zero_grad()
            for parameter in parameters:
                parameter.requires_grad_(True)
            set_scales(base.transformer, {"content": scaling, "semantic": 0.0})
            v = base.velocity(noised.x, sigma, condition, config.guidance).float()
            (v - noised.velocity).square().mean().backward()
            for parameter in content.values():
                parameter.requires_grad_(False)
            set_scales(base.transformer, {"content": scaling, "semantic": scaling})
            v = base.velocity(noised.x, sigma, condition, config.guidance).float()
            target = noised.velocity + config.eta * (x_a - x_b)
            (v - target).square().mean().backward()
            optimizer.step()
        return {
            name: LoraLayer(
                semantic[f"{name}.lora_A"].detach().clone(),
                semantic[f"{name}.lora_B"].detach() * scaling,
            )
            for name in targets
        }
    finally:
        detach_all(base.transformer)


@torch.no_grad()
def naive_edit(
    base: FlowBase, image: Image.Image, layers: Mapping[str, LoraLayer], scale: float,
    guidance: float, seed: int = 0, steps: int = 28,
) -> Image.Image:  # fmt: skip
    """FlowEdit of one picture, the edited and the plain model one after the other."""
    generator = torch.Generator().manual_seed(seed)
    condition = base.condition("")
    x = base.encode(to_tensor(image)).float()
    sigmas = base.sigmas(steps, *base.image_size(x))
    z = x.clone()
    with attached(base.transformer, {"edit": layers}):
        for k in range(steps - last_steps(steps), steps):
            noise = torch.randn(x.shape, generator=generator).to(x.device)
            z_src = (1 - sigmas[k]) * x + sigmas[k] * noise
            set_scales(base.transformer, {"edit": scale})
            edited = base.velocity(z_src + z - x, sigmas[k], condition, guidance).float()
            set_scales(base.transformer, {"edit": 0.0})
            plain = base.velocity(z_src, sigmas[k], condition, guidance).float()
            z = z + (sigmas[k + 1] - sigmas[k]) * (edited - plain)
    return to_image(base.decode(z))
