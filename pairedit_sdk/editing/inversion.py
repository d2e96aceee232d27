"""The published way to edit a real image: an inversion LoRA on that one image, then sampling.

Slow, and kept so that it can be compared: it trains 1,500 steps for every picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.losses import content_loss
from pairedit_sdk.flow.schedule import standard_noising
from pairedit_sdk.flow.solvers import euler
from pairedit_sdk.lora.adapters import activate, add_trainable, attach, detach_all, require_bare

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.models.conditioned import ConditionedModel

INVERSION, EDIT = "inversion", "edit"
STEPS, RANK, ALPHA, LEARNING_RATE = 1500, 16, 1.0, 2e-3
WEIGHT, START = 0.75, 0.5  # w, and the share of the schedule after which the edit acts


def inversion_lora_edits(
    model: ConditionedModel,
    x: torch.Tensor,
    stacks: Sequence[EditStack],
    sigmas: torch.Tensor,
    seed: int,
    on_step: Callable[[int, int], None],
    train_steps: int = STEPS,
) -> list[torch.Tensor]:
    """v = v_inv + w (v_sem − v_inv) from half of the schedule on, w = 0.75.

    v_inv is the model with a LoRA trained on ``x`` alone (standard schedule and target), v_sem the
    model with the edit alone, as in the released code. The LoRA is trained once, for all stacks.

    Where an edit sees the picture, the model sees ``x`` as the reference in all of it, while the
    LoRA is trained as well: then v_sem is what was learned, and v_sem − v_inv is the edit and not
    the sight of the picture.

    Args:
        model: with the empty prompt, without any LoRA attached; it is left so.
        x: clean latents [1, C, h, w] of one picture.
        stacks: the edits, each to be applied by itself.
        sigmas: the sampling schedule [steps + 1].
        seed: of the training and of the starting noise.
        on_step: called with (done, total) over training and sampling.
        train_steps: steps of the inversion LoRA; published 1,500.

    Returns:
        Edited latents [1, C, h, w], one for each stack.
    """
    transformer = model.base.transformer
    require_bare(transformer)
    seen = x.to(model.base.dtype) if any(one.editor.reference for one in stacks) else None
    generator = torch.Generator("cpu").manual_seed(seed)
    steps = len(sigmas) - 1
    total = train_steps + steps * len(stacks)
    try:
        _fit(model, x, seen, sigmas, generator, train_steps, lambda done: on_step(done, total))
        start = torch.randn(x.shape, generator=generator).to(x.device)
        results = []
        for index, stack in enumerate(stacks):
            name = f"{EDIT}{index}"
            attach(transformer, name, stack.layers())
            before = train_steps + index * steps

            def hook(done: int, _: int, before: int = before) -> None:
                on_step(before + done, total)

            with torch.no_grad():
                results.append(_sample(model, start, name, sigmas, seen, hook))
        return results
    finally:
        detach_all(transformer)


def _fit(
    conditioned: ConditionedModel,
    x: torch.Tensor,
    seen: torch.Tensor | None,
    sigmas: torch.Tensor,
    generator: torch.Generator,
    train_steps: int,
    on_step: Callable[[int], None],
) -> None:
    """Train the inversion LoRA on ``x``, beside what is seen, and leave it attached."""
    scales = {INVERSION: ALPHA / RANK}
    model, transformer = conditioned.base, conditioned.base.transformer
    targets = model.lora_targets("attention")
    parameters = add_trainable(transformer, INVERSION, targets, RANK, generator)
    activate(transformer, [INVERSION])
    optimizer = torch.optim.AdamW(parameters.values(), lr=LEARNING_RATE)
    # One picture at the full size of FLUX.1 would not fit a usual GPU otherwise.
    model.set_gradient_checkpointing(model.device.type != "cpu")
    try:
        for step in range(train_steps):
            pick = int(torch.randint(len(sigmas) - 1, (1,), generator=generator))
            noise = torch.randn(x.shape, generator=generator).to(x.device)
            noised = standard_noising(x, noise, sigmas[pick].expand(len(x)))
            with torch.enable_grad():
                v = conditioned.velocity(noised.x, sigmas[pick], scales, seen).float()
                loss = content_loss(v, noised)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            on_step(step + 1)
    finally:
        model.set_gradient_checkpointing(False)


def _sample(
    model: ConditionedModel,
    start: torch.Tensor,
    edit: str,
    sigmas: torch.Tensor,
    seen: torch.Tensor | None,
    on_step: Callable[[int, int], None],
) -> torch.Tensor:
    """A picture drawn from the noise ``start`` [1, C, h, w], with the edit in the late steps, by a
    model that sees ``seen`` [1, C, h, w], if that is given."""
    both = None if seen is None else torch.cat([seen, seen])
    activate(model.base.transformer, [INVERSION, edit])
    first = int(START * (len(sigmas) - 1))

    def velocity(z: torch.Tensor, sigma: torch.Tensor, step: int) -> torch.Tensor:
        if step < first:
            return model.velocity(z, sigma, {INVERSION: ALPHA / RANK, edit: 0.0}, seen).float()
        rows = len(z)
        inverts = torch.cat([torch.ones(rows), torch.zeros(rows)]).to(z.device)
        scales = {INVERSION: inverts * (ALPHA / RANK), edit: 1 - inverts}
        v = model.velocity(torch.cat([z, z]), sigma, scales, both).float()
        return v[:rows] + WEIGHT * (v[rows:] - v[:rows])

    return euler(start, sigmas, velocity, on_step)
