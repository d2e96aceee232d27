"""The published way to edit a real image: an inversion LoRA on that one image, then sampling.

Slow, and kept so that it can be compared: it trains 1,500 steps for every picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.objectives import content_loss
from pairedit_sdk.flow.schedule import standard_noising
from pairedit_sdk.flow.solvers import euler
from pairedit_sdk.lora.adapters import (
    activate,
    add_trainable,
    attach,
    detach_all,
    require_bare,
    set_scales,
)

if TYPE_CHECKING:
    from pairedit_sdk.bases.protocol import Condition, FlowBase
    from pairedit_sdk.edit import EditMix

INVERSION, EDIT = "inversion", "edit"
STEPS, RANK, ALPHA, LEARNING_RATE = 1500, 16, 1.0, 2e-3
WEIGHT, START = 0.75, 0.5  # w, and the share of the schedule after which the edit acts


def inversion_lora_edit(
    base: FlowBase, x: torch.Tensor, mix: EditMix, condition: Condition, guidance: float,
    sigmas: torch.Tensor, seed: int, on_step: Callable[[int, int], None],
    train_steps: int = STEPS,
) -> torch.Tensor:  # fmt: skip
    """v = v_inv + w (v_sem − v_inv) from half of the schedule on, w = 0.75.

    v_inv is the base with a LoRA trained on ``x`` alone (standard schedule and target), v_sem the
    base with the edit alone, as in the released code.

    Args:
        base: without any LoRA attached; it is left so.
        x: clean latents [1, C, h, w].
        mix: the edits.
        condition: of the empty prompt.
        guidance: distilled guidance.
        sigmas: the sampling schedule [steps + 1].
        seed: of the training and of the starting noise.
        on_step: called with (done, total) over training and sampling.
        train_steps: steps of the inversion LoRA; published 1,500.
    """
    transformer = base.transformer
    require_bare(transformer)
    generator = torch.Generator("cpu").manual_seed(seed)
    steps = len(sigmas) - 1
    total = train_steps + steps
    try:
        parameters = add_trainable(
            transformer, INVERSION, base.lora_targets("attention"), RANK, ALPHA, generator
        )
        activate(transformer, [INVERSION])
        set_scales(transformer, {INVERSION: ALPHA / RANK})
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(parameters.values(), lr=LEARNING_RATE)
        # One picture at the full size of FLUX.1 would not fit a usual GPU otherwise.
        base.set_gradient_checkpointing(base.device.type != "cpu")
        for step in range(train_steps):
            pick = int(torch.randint(steps, (1,), generator=generator))
            noise = torch.randn(x.shape, generator=generator).to(x.device)
            noised = standard_noising(x, noise, sigmas[pick].expand(len(x)))
            v = base.velocity(noised.x, sigmas[pick], condition, guidance).float()
            optimizer.zero_grad(set_to_none=True)
            content_loss(v, noised).backward()
            optimizer.step()
            on_step(step + 1, total)
        attach(transformer, EDIT, mix.layers())
        activate(transformer, [INVERSION, EDIT])
        start = int(START * steps)

        def velocity(z: torch.Tensor, sigma: torch.Tensor, step: int) -> torch.Tensor:
            if step < start:
                set_scales(transformer, {INVERSION: ALPHA / RANK, EDIT: 0.0})
                return base.velocity(z, sigma, condition, guidance).float()
            rows = len(z)
            inverts = torch.cat([torch.ones(rows), torch.zeros(rows)]).to(z.device)
            set_scales(transformer, {INVERSION: inverts * (ALPHA / RANK), EDIT: 1 - inverts})
            v = base.velocity(torch.cat([z, z]), sigma, condition, guidance).float()
            return v[:rows] + WEIGHT * (v[rows:] - v[:rows])

        z = torch.randn(x.shape, generator=generator).to(x.device)
        with torch.no_grad():
            return euler(z, sigmas, velocity, lambda done, _: on_step(train_steps + done, total))
    finally:
        base.set_gradient_checkpointing(False)
        detach_all(transformer)
