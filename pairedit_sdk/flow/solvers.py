"""Sampling and editing with a velocity function.

A velocity function takes latents x [B, C, H, W] and a scalar σ and returns v of the same shape.
The functions that compare the edited with the plain model take a *pair* of states and return the
pair of velocities, so that the caller can run both rows as one batch. FlowEdit is in
:mod:`pairedit_sdk.editing.flowedit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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
    x: torch.Tensor, sigmas: torch.Tensor, velocity: StepVelocity, on_step: StepHook = _no_hook
) -> torch.Tensor:
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
    x: torch.Tensor,
    sigmas: torch.Tensor,
    velocity: Velocity,
    edited: Velocity,
    noise: torch.Tensor,
    *,
    gamma: float = 0.5,
    eta: float = 0.9,
    controlled: float = 0.25,
) -> Iterator[torch.Tensor]:
    """RF-Inversion (arXiv 2410.10792): a controlled ODE to noise, and a controlled one back.

    Forward, from σ = 0 to 1: dy/dσ = v + γ (v_(y→ε) − v), v_(y→ε) = (ε − y) / (1 − σ).
    Back, from σ = 1 to 0: dz/dσ = v_edit + η (v_(z→x) − v_edit), v_(z→x) = (z − x) / σ, where η
    applies in the first ``controlled`` share of the steps and the edit then runs freely.

    Args:
        x: clean latents [B, C, h, w].
        sigmas: [steps + 1], from 1 to 0.
        velocity: the plain model.
        edited: the edited model.
        noise: ε, shaped like x.
        gamma: pull towards ε on the way out, 0 to 1.
        eta: pull towards x on the way back, 0 to 1.
        controlled: share of the steps back in which η applies; published 7 of 28.

    Yields:
        The state after each of the 2 · steps, shaped like x; the last is the edited one.
    """
    steps = len(sigmas) - 1
    y = x.clone()
    for i in range(steps, 0, -1):
        sigma, higher = sigmas[i], sigmas[i - 1]
        v = velocity(y, sigma).float()
        to_noise = (noise - y) / (1 - sigma).clamp(min=1e-3)
        y = y + (higher - sigma) * (v + gamma * (to_noise - v))
        yield y
    z = y
    for i in range(steps):
        sigma = sigmas[i]
        v = edited(z, sigma).float()
        if i < round(controlled * steps):
            v = v + eta * ((z - x) / sigma - v)
        z = z + (sigmas[i + 1] - sigma) * v
        yield z


def last_state(
    states: Iterable[torch.Tensor], on_state: Callable[[int], None] | None = None
) -> torch.Tensor:
    """The state that a solver ends with.

    Args:
        states: of the solver, after each of its steps.
        on_state: called with the number of steps that are done.

    Raises:
        ValueError: there are none.
    """
    last = None
    for done, state in enumerate(states, start=1):
        last = state
        if on_state is not None:
            on_state(done)
    if last is None:
        raise ValueError("A solver without steps")
    return last
