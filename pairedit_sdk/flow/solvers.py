"""Sampling and editing as loops over a velocity function.

A velocity function takes latents x [B, C, H, W] and a scalar σ and returns v of the same shape.
The functions that compare the edited with the plain model take a *pair* of states and return the
pair of velocities, so that the caller can run both rows as one batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: (x, σ, step) → velocity
StepVelocity = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
#: (x of the edited branch, x of the plain branch, σ) → (edited velocity, plain velocity)
PairVelocity = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]
]
StepHook = Callable[[int, int], None]

#: FlowEdit's published n_max as a share of its steps.
EDITED_SHARE = 24 / 28


def last_steps(steps: int) -> int:
    """FlowEdit's n_max for a schedule of ``steps``, unless it is given."""
    return max(1, round(steps * EDITED_SHARE))


def _no_hook(step: int, steps: int) -> None:
    pass


def euler(
    x: torch.Tensor, sigmas: torch.Tensor, velocity: StepVelocity,
    on_step: StepHook = _no_hook,
) -> torch.Tensor:  # fmt: skip
    """x ← x + (σ_next − σ) v(x, σ) along ``sigmas`` [steps + 1].

    ``velocity`` also gets the step's index, so that an edit can be limited to a window. The state
    is kept in float32 while it is updated, as diffusers' scheduler does.
    """
    steps = len(sigmas) - 1
    for i in range(steps):
        v = velocity(x, sigmas[i], i)
        x = (x.float() + (sigmas[i + 1] - sigmas[i]) * v).to(v.dtype)
        on_step(i + 1, steps)
    return x


def flowedit(
    x: torch.Tensor, sigmas: torch.Tensor, velocities: PairVelocity,
    noise: Callable[[int, int], torch.Tensor], *, n_max: int, n_avg: int = 1,
    threshold: float = 0.0, on_step: StepHook = _no_hook,
) -> torch.Tensor:  # fmt: skip
    """FlowEdit (arXiv 2412.08629) with a learned edit in place of a second prompt.

    For the last ``n_max`` steps of the schedule, with fresh noise ε each time:
    z_src = (1 − σ) x + σ ε, z_tar = z_src + (z − x), and
    z ← z + (σ_next − σ) [v_edit(z_tar, σ) − v_base(z_src, σ)]. z starts at x, so an edit without
    effect returns x.

    Args:
        x: clean latents.
        sigmas: [steps + 1], from 1 to 0.
        velocities: the edited model's and the plain model's velocity.
        noise: ε for (step, repeat), shaped like x.
        n_max: how many of the last steps to run; fewer keep more of the image.
        n_avg: noises averaged in every step; ``velocities`` gets the states of all of them,
            [B · n_avg], those of one row next to each other.
        threshold: of :func:`damped`, which the whole change goes through at the end.
    """
    steps = len(sigmas) - 1
    window = range(max(0, steps - n_max), steps)
    z = flowedit_steps(
        x, x, sigmas, window, velocities, noise, n_avg,
        lambda step: on_step(step + 1 - window.start, len(window)),
    )  # fmt: skip
    return x + damped(z - x, threshold) if threshold else z


def flowedit_steps(
    x: torch.Tensor, z: torch.Tensor, sigmas: torch.Tensor, window: range,
    velocities: PairVelocity, noise: Callable[[int, int], torch.Tensor], n_avg: int = 1,
    on_step: Callable[[int], None] = lambda step: None,
) -> torch.Tensor:  # fmt: skip
    """The steps of :func:`flowedit` in ``window``, for who has something to do in between.

    Args:
        x: clean latents.
        z: where the edit has come to before the first of these steps; x at the very beginning.
        window: indices into ``sigmas``.
        on_step: called with the index of every step that is done.
    """
    for i in window:
        sigma = sigmas[i]
        drawn = torch.stack([noise(i, k) for k in range(n_avg)], dim=1).flatten(0, 1)
        z_src = (1 - sigma) * x.repeat_interleave(n_avg, dim=0) + sigma * drawn
        # Written as z_src plus the change so far, so that both rows are equal while z = x.
        z_tar = z_src + (z - x).repeat_interleave(n_avg, dim=0)
        edited, plain = velocities(z_tar, z_src, sigma)
        change = torch.unflatten(edited.float() - plain.float(), 0, (-1, n_avg)).mean(dim=1)
        z = z + (sigmas[i + 1] - sigma) * change
        on_step(i)
    return z


def damped(change: torch.Tensor, threshold: float) -> torch.Tensor:
    """A change whose faint parts are damped: change · e / (e + threshold² max e).

    e is the mean square over channels and a 3 × 3 neighbourhood, the maximum each row's own. What
    an edit does on purpose is strong somewhere; what it does everywhere a little is mostly not
    meant. A change of everything at once is damped hardly at all.

    Args:
        change: [B, C, h, w].
        threshold: of the amplitude, as a share of the strongest place's; 0 damps nothing. A place
            with just this amplitude keeps half of its change.
    """
    e = F.avg_pool2d(
        change.square().mean(dim=1, keepdim=True), 3, stride=1, padding=1, count_include_pad=False
    )
    limit = threshold**2 * e.amax(dim=(2, 3), keepdim=True)
    return change * torch.where(e > 0, e / (e + limit), torch.ones_like(e))


def rf_inversion(
    x: torch.Tensor, sigmas: torch.Tensor, velocity: Velocity, edited: Velocity,
    noise: torch.Tensor, *, gamma: float = 0.5, eta: float = 0.9, controlled: float = 0.25,
    on_step: StepHook = _no_hook,
) -> torch.Tensor:  # fmt: skip
    """RF-Inversion (arXiv 2410.10792): a controlled ODE to noise, and a controlled one back.

    Forward, from σ = 0 to 1: dy/dσ = v + γ (v_(y→ε) − v), v_(y→ε) = (ε − y) / (1 − σ).
    Back, from σ = 1 to 0: dz/dσ = v_edit + η (v_(z→x) − v_edit), v_(z→x) = (z − x) / σ, where η
    applies in the first ``controlled`` share of the steps and the edit then runs freely.

    Args:
        x: clean latents.
        sigmas: [steps + 1], from 1 to 0.
        velocity: the plain model.
        edited: the edited model.
        noise: ε, shaped like x.
        gamma: pull towards ε on the way out, 0 to 1.
        eta: pull towards x on the way back, 0 to 1.
        controlled: share of the steps back in which η applies; published 7 of 28.
    """
    steps = len(sigmas) - 1
    y = x.clone()
    for i in range(steps, 0, -1):
        sigma, higher = sigmas[i], sigmas[i - 1]
        v = velocity(y, sigma).float()
        to_noise = (noise - y) / (1 - sigma).clamp(min=1e-3)
        y = y + (higher - sigma) * (v + gamma * (to_noise - v))
        on_step(steps - i + 1, 2 * steps)
    z = y
    for i in range(steps):
        sigma = sigmas[i]
        v = edited(z, sigma).float()
        if i < round(controlled * steps):
            v = v + eta * ((z - x) / sigma - v)
        z = z + (sigmas[i + 1] - sigma) * v
        on_step(steps + i + 1, 2 * steps)
    return z
