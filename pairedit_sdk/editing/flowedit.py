"""FlowEdit (arXiv 2412.08629), on one picture or on several branches of it side by side.

:func:`flowedit` is the loop: a generator of states, so that whoever wants to look in between just
looks. :func:`edit_branches` runs it on branches: each is one LoRA at one scale, and the plain model
runs once for all of them. Where a scale is limited, see :mod:`pairedit_sdk.editing.scale_limit`,
the encoder looks when half of the steps are done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.composition import BranchVelocities, at_once, repeated
from pairedit_sdk.flow.solvers import PairVelocity, damped
from pairedit_sdk.lora.adapters import activate, attached
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lora.linear import Scale

if TYPE_CHECKING:
    from pairedit_sdk.editing.kept import Kept
    from pairedit_sdk.editing.options import ResolvedOptions
    from pairedit_sdk.edits.metadata import EditDirection
    from pairedit_sdk.lora.layers import LoraLayer
    from pairedit_sdk.models.conditioned import ConditionedModel


def flowedit_step(
    x: torch.Tensor,
    z: torch.Tensor,
    sigmas: tuple[torch.Tensor, torch.Tensor],
    velocities: PairVelocity,
    noises: Sequence[torch.Tensor],
) -> torch.Tensor:
    """One step of FlowEdit (arXiv 2412.08629), with a learned edit in place of a second prompt.

    With z_src = (1 − σ) x + σ ε and z_tar = z_src + (z − x):
    z ← z + (σ_next − σ) mean_ε [v_edit(z_tar, σ) − v_base(z_src, σ)].

    Args:
        x: clean latents [B, C, h, w].
        z: the edited state before the step, of the same shape; x before the first one.
        sigmas: (σ, σ_next), scalars.
        velocities: the edited and the plain model's velocity. They get the states of all noises,
            [B · n_avg, C, h, w], those of one row next to each other.
        noises: n_avg times ε, shaped like x; the step follows the mean over them.

    Returns:
        The edited state after the step, shaped like x.
    """
    sigma, sigma_next = sigmas
    n_avg = len(noises)
    drawn = torch.stack(list(noises), dim=1).flatten(0, 1)
    z_src = (1 - sigma) * x.repeat_interleave(n_avg, dim=0) + sigma * drawn
    # Written as z_src plus the change so far, so that both rows are equal while z = x.
    z_tar = z_src + (z - x).repeat_interleave(n_avg, dim=0)
    edited, plain = velocities(z_tar, z_src, sigma)
    change = torch.unflatten(edited.float() - plain.float(), 0, (-1, n_avg)).mean(dim=1)
    return z + (sigma_next - sigma) * change


def flowedit(
    x: torch.Tensor,
    sigmas: torch.Tensor,
    velocities: PairVelocity,
    noise: Callable[[int, int], torch.Tensor],
    *,
    n_max: int,
    n_avg: int = 1,
    z: torch.Tensor | None = None,
) -> Iterator[torch.Tensor]:
    """The edited states z of x along the last ``n_max`` steps of the schedule.

    Each step is a :func:`flowedit_step` with fresh noise. z starts at x,
    so an edit without effect returns x.

    Args:
        x: clean latents [B, C, h, w].
        sigmas: [steps + 1], from 1 to 0.
        velocities: the edited and the plain model's velocity, of states [B · n_avg, C, h, w].
        noise: ε for (step, repeat), shaped like x.
        n_max: how many of the last steps run; fewer keep more of the picture.
        n_avg: noises averaged in every step.
        z: the state to go on from, if the steps before the last ``n_max`` are done; else x.

    Yields:
        The state after each step, shaped like x; the last one is the edited x.
    """
    steps = len(sigmas) - 1
    z = x if z is None else z
    for i in range(max(0, steps - n_max), steps):
        noises = [noise(i, k) for k in range(n_avg)]
        z = flowedit_step(x, z, (sigmas[i], sigmas[i + 1]), velocities, noises)
        yield z


@dataclass(frozen=True, eq=False)
class EditBranch:
    """What moves one copy of the pictures.

    Attributes:
        lora: its name among those attached.
        scale: not 0; one for all pictures, or for each [B].
        limit: what the edit's pairs show, if no picture is to be changed more than that.
    """

    lora: str
    scale: Scale
    limit: EditDirection | None = None


@holding
def edit_branches(
    model: ConditionedModel,
    x: torch.Tensor,
    loras: Mapping[str, Mapping[str, LoraLayer]],
    branches: Sequence[EditBranch],
    options: ResolvedOptions,
    on_step: Callable[[int, int], None],
    *,
    sees_picture: bool = False,
    kept: Kept | None = None,
) -> torch.Tensor:
    """x [B, C, h, w] at the end of each of the P branches, [P, B, C, h, w].

    With a scale limit the first half of the steps is at scale 1, whatever the branch's own, so all
    branches of one LoRA share it; see :func:`_limited` for the second half.

    Args:
        model: without any LoRA attached; it is left so.
        x: latents of the pictures.
        loras: what is to be attached, by name.
        branches: each of them moves a copy of x, at a scale that is one number.
        options: of editing.
        on_step: called with (done, total).
        sees_picture: whether both models see x itself beside the states, as a reference.
        kept: of these pictures, if plain velocities and first halves are kept, by the LoRAs' names.

    Raises:
        BaseModelError: the image encoder of a scale limit cannot be loaded.
        EditError: that encoder, or a LoRA, does not fit.
    """
    first = options.steps - options.n_max
    trials = _trials(branches) if any(branch.limit for branch in branches) else {}
    half = first + max(1, options.n_max // 2) if trials else first
    known = _known(kept, trials)
    new = {key: trial for key, trial in trials.items() if key not in known}
    total = (half - first) * len(at_once(model.base, list(new), x, options.n_avg))
    total += (options.steps - half) * len(at_once(model.base, branches, x, options.n_avg))
    run = _Run(model, x, options, lambda done: on_step(done, total), sees_picture, kept)
    with torch.no_grad(), attached(model.base.transformer, loras):
        z = x.expand(len(branches), *x.shape)
        if trials:
            known |= _reached(run, new, range(first, half)) if new else {}
            branches, z = _limited(x, branches, known)
        _, ends = run.through(branches, z, range(half, options.steps))
        return without_faint(x, ends, options.threshold)


class _Run:
    """FlowEdit of pictures on branches, as many of them in one pass as there is room for.

    Args:
        model: with the branches' LoRAs attached.
        x: latents [B, C, h, w].
        options: of editing.
        on_step: called with the number of steps that are done.
        sees_picture: whether the model sees x beside the states.
        kept: of these pictures, or nothing.
    """

    def __init__(
        self,
        model: ConditionedModel,
        x: torch.Tensor,
        options: ResolvedOptions,
        on_step: Callable[[int], None],
        sees_picture: bool = False,
        kept: Kept | None = None,
    ) -> None:
        self.model, self.x, self.options, self.on_step = model, x, options, on_step
        self.kept = kept
        self.reference = x if sees_picture else None
        self.sigmas = model.base.sigmas(options.steps, *model.base.image_size(x))
        self.done = 0

    def through(
        self, branches: Sequence[EditBranch], z: torch.Tensor, steps: range
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The states z [P, B, C, h, w] before the last of these steps, and after it."""
        before, after = [], []
        for part in at_once(self.model.base, range(len(branches)), self.x, self.options.n_avg):
            last = now = z[list(part)].flatten(0, 1)
            for state in islice(self._states([branches[k] for k in part], now, steps), len(steps)):
                last, now = now, state
                self.done += 1
                self.on_step(self.done)
            before.append(torch.unflatten(last, 0, (len(part), len(self.x))))
            after.append(torch.unflatten(now, 0, (len(part), len(self.x))))
        return torch.cat(before), torch.cat(after)

    def _states(
        self, branches: Sequence[EditBranch], z: torch.Tensor, steps: range
    ) -> Iterator[torch.Tensor]:
        """The states [P · B, C, h, w] of a few branches from the first of these steps on."""
        count, options = len(branches), self.options
        scales = [{branch.lora: branch.scale} for branch in branches]
        activate(self.model.base.transformer, list(dict.fromkeys(b.lora for b in branches)))
        return flowedit(
            repeated(self.x, count),
            self.sigmas,
            BranchVelocities(self.model, scales, self.reference, self.kept),
            options.noise_for(self.x, count),
            n_max=options.steps - steps.start,
            n_avg=options.n_avg,
            z=z,
        )


Key = tuple[str, float, bool]
#: The state after the first half [B, C, h, w], and the limit of each picture [B] if there is one.
Reached = tuple[torch.Tensor, ...]
#: What first halves are kept by, with their key.
HALF = "half"


def _key(branch: EditBranch) -> Key:
    """The LoRA, the scale of a branch's first half, 1 or −1 under a limit, and if it has one."""
    scale, limited = float(branch.scale), branch.limit is not None
    return branch.lora, math.copysign(1.0, scale) if limited else scale, limited


def _trials(branches: Sequence[EditBranch]) -> dict[Key, EditBranch]:
    """The branches of the first half, each of them once."""
    return {_key(branch): replace(branch, scale=_key(branch)[1]) for branch in branches}


def _known(kept: Kept | None, trials: Mapping[Key, EditBranch]) -> dict[Key, Reached]:
    """Where the trials lead whose first half is kept."""
    found = {} if kept is None else {key: kept.get(HALF, *key) for key in trials}
    return {key: half for key, half in found.items() if half}


def _reached(run: _Run, trials: Mapping[Key, EditBranch], steps: range) -> dict[Key, Reached]:
    """The states after these steps, and the limits of the trials that have one.

    Straight on, at the velocity of the last step, lies where a trial would lead, and from that
    follows the limit f of each picture. At a negative scale all of this is done backwards.
    """
    from pairedit_sdk.editing.scale_limit import scale_limits  # brings transformers along

    x, sigmas, half = run.x, run.sigmas, steps.stop
    before, so_far = run.through(list(trials.values()), x.expand(len(trials), *x.shape), steps)
    velocity = (so_far - before) / (sigmas[half] - sigmas[half - 1])
    ahead = without_faint(x, so_far - sigmas[half] * velocity, run.options.threshold)
    limited = [k for k, trial in enumerate(trials.values()) if trial.limit]
    shown = [
        trial.limit if key[1] > 0 else replace(trial.limit, magnitude=-trial.limit.magnitude)
        for key, trial in trials.items()
        if trial.limit
    ]
    limits = scale_limits(run.model.base, shown, x, ahead[limited]) if limited else []
    found = {k: (limit,) for k, limit in zip(limited, limits, strict=True)}
    reached = {key: (so_far[k], *found.get(k, ())) for k, key in enumerate(trials)}
    if run.kept is not None:
        for key, tensors in reached.items():
            run.kept.put(HALF, *key, tensors=tensors)
    return reached


def _limited(
    x: torch.Tensor, branches: Sequence[EditBranch], reached: Mapping[Key, Reached]
) -> tuple[list[EditBranch], torch.Tensor]:
    """The branches of the second half, and the states [P, B, C, h, w] before it.

    With Δ the change so far, f the limit and s the branch's scale, it goes on from x + f |s| Δ at
    scale f s.
    """
    after, states = [], []
    for branch in branches:
        state, *limits = reached[_key(branch)]
        for limit in limits:
            scale = limit * branch.scale
            state = x + scale.abs().view(-1, 1, 1, 1) * (state - x)
            branch = replace(branch, scale=scale)
        states.append(state)
        after.append(branch)
    return after, torch.stack(states)


def without_faint(x: torch.Tensor, z: torch.Tensor, threshold: float) -> torch.Tensor:
    """Latents z [P, B, …] whose changes from x [B, …] are damped, each by itself."""
    if not threshold:
        return z
    return x + damped((z - x).flatten(0, 1), threshold).view_as(z)
