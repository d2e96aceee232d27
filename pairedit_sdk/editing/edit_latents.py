"""Using edits on the latents of pictures, at one scale or several; nothing here knows of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import torch

from pairedit_sdk.editing.composition import attached_stack
from pairedit_sdk.editing.guidance import check_edit_guidance
from pairedit_sdk.editing.hooks import StepHook, no_hook, part_of
from pairedit_sdk.editing.options import EditOptions, EditSettings, ResolvedOptions, options_from
from pairedit_sdk.editing.parts import each_alone, edited_by_parts
from pairedit_sdk.editing.told import check_told, drawn_as_shown
from pairedit_sdk.editing.words import changes_nothing
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.inputs import as_stack
from pairedit_sdk.flow.schedule import starting_noise
from pairedit_sdk.flow.solvers import euler, last_state, rf_inversion
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.prompts import prompt_condition

if TYPE_CHECKING:
    from pairedit_sdk.editing.kept import Kept
    from pairedit_sdk.models.protocol import FlowModel


def sweep_latents(
    model: FlowModel,
    x: torch.Tensor,
    edits: Edit | EditStack,
    scales: Sequence[float],
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    kept: Kept | None = None,
    **settings: Unpack[EditSettings],
) -> list[torch.Tensor]:
    """Latents [B, C, h, w] at several scales: one tensor of that shape for each of them.

    What does not depend on the scale, such as the inversion LoRA or a picture's scale limit, is
    done once, unless the mode is sequential: there every edit works on another picture. The same
    goes for instructions and shown changes. FlowEdit's plain model runs once for several scales, so
    many of them cost little more than half of as many edits. At scale 0 nothing runs, and the
    result is ``x`` itself.

    With ``kept``, which is of this ``x`` on this model alone, FlowEdit keeps what a later edit may
    share, and computes nothing that is kept. What comes out is the same within rounding.
    """
    stack = as_stack(edits)
    resolved = options_from(options, settings).resolved(stack)
    check_edit_guidance(model, stack, resolved)
    active = [] if stack.is_zero else [scale for scale in scales if scale != 0]
    found = _edit(model, x, stack, active, resolved, on_step or no_hook, kept)
    edited = dict(zip(active, found, strict=True))
    return [edited.get(scale, x) for scale in scales]


def edit_latents(
    model: FlowModel,
    x: torch.Tensor,
    edits: Edit | EditStack,
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    **settings: Unpack[EditSettings],
) -> torch.Tensor:
    """Latents [B, C, h, w] under edits; the rows are edited together, each with its own noise drawn
    in order from the seed."""
    stack = as_stack(edits)
    resolved = options_from(options, settings).resolved(stack)
    check_edit_guidance(model, stack, resolved)
    return _edit(model, x, stack, [1.0], resolved, on_step or no_hook)[0]


def changed_alone(
    model: FlowModel, x: torch.Tensor, edits: Sequence[Edit], *, seed: int = 0
) -> torch.Tensor:
    """What the LoRA of each edit by itself, at scale 1, makes of latents x [B, C, h, w]:
    [E, B, C, h, w].

    FlowEdit's plain model runs once for as many edits as there is room for. No scale is limited,
    and no instruction acts.
    """
    stack = EditStack([(edit, 1.0) for edit in edits])
    options = EditOptions(seed=seed, mode="guided", limit_scale=False).resolved(stack)
    conditioned = _conditioned(model, stack, options)
    return torch.stack(each_alone(conditioned, x, stack.parts, [1.0], options, no_hook)[0])


def _edit(
    model: FlowModel,
    x: torch.Tensor,
    stack: EditStack,
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
    kept: Kept | None = None,
) -> list[torch.Tensor]:
    """Latents x [B, C, h, w] under the stack at each of the scales."""
    for edit, _ in stack.parts:
        edit.require_base(model)
    check_told(model, stack, options)
    if not options.words:  # an instruction without words is no part of anything
        parts = [(edit, scale) for edit, scale in stack.parts if not edit.is_instruction]
        if not parts:
            return [x for _ in scales]
        stack = EditStack(parts)
    stack = stack if options.mode == "sequential" else stack.without_repeats()
    if not scales or changes_nothing(stack, options.method):
        return [x for _ in scales]
    if options.mode == "sequential":
        return [
            _one_after_the_other(model, x, stack @ scale, options, part_of(hook, k, len(scales)))
            for k, scale in enumerate(scales)
        ]
    if options.method == "inversion-lora":
        return _with_inversion_lora(model, x, [stack @ scale for scale in scales], options, hook)
    conditioned = _conditioned(model, stack, options)
    if options.method in _WHOLE:
        edited_by = _WHOLE[options.method]
        return [
            edited_by(conditioned, x, stack @ scale, options, part_of(hook, k, len(scales)))
            for k, scale in enumerate(scales)
        ]
    return edited_by_parts(conditioned, x, stack, scales, options, hook, kept)


def _inverted(
    model: ConditionedModel,
    x: torch.Tensor,
    stack: EditStack,
    options: ResolvedOptions,
    hook: StepHook,
) -> torch.Tensor:
    """RF-Inversion of x. The plain model runs by itself, so scales have nothing to share."""
    sigmas = model.base.sigmas(options.steps, *model.base.image_size(x))
    noise = options.noise_for(x)(0, 0)
    reference = x if stack.editor.reference else None
    with torch.no_grad(), attached_stack(model, stack, options.mode, reference) as velocities:
        states = rf_inversion(x, sigmas, velocities.plain, velocities.edited, noise)
        return last_state(states, lambda done: hook(done, 2 * options.steps))


def _from_noise(
    model: ConditionedModel,
    x: torch.Tensor,
    stack: EditStack,
    options: ResolvedOptions,
    hook: StepHook,
) -> torch.Tensor:
    """A picture drawn from noise by the edited model, which sees x as the reference.

    The noise is the one that ``FluxKontextPipeline`` draws with
    ``torch.Generator("cpu").manual_seed(seed)``, so with one edit as its LoRA both give the same
    picture. Scales have nothing to share: every state depends on them.
    """
    base = model.base
    count = 1 if options.same_noise else len(x)
    noise = starting_noise((count, *x.shape[1:]), options.seed, base.dtype).to(x.device)
    sigmas = base.sigmas(options.steps, *base.image_size(x))
    with torch.no_grad(), attached_stack(model, stack, options.mode, x) as velocities:
        drawing = drawn_as_shown(velocities, model, stack, x)

        def velocity(z: torch.Tensor, sigma: torch.Tensor, step: int) -> torch.Tensor:
            return drawing(z, sigma).to(base.dtype)

        return euler(noise.expand_as(x), sigmas, velocity, hook).float()


#: Methods that edit with all parts of a stack together, at one scale after the other.
_WHOLE = {"rf-inversion": _inverted, "from-noise": _from_noise}


def _with_inversion_lora(
    model: FlowModel,
    x: torch.Tensor,
    stacks: Sequence[EditStack],
    options: ResolvedOptions,
    hook: StepHook,
) -> list[torch.Tensor]:
    """x under each stack, with an inversion LoRA for each of its pictures."""
    from pairedit_sdk.editing.inversion import inversion_lora_edits

    conditioned = _conditioned(model, stacks[0], options)
    sigmas = model.sigmas(options.steps, *model.image_size(x))
    pictures = [
        inversion_lora_edits(
            conditioned, row[None], stacks, sigmas, options.seed, part_of(hook, k, len(x))
        )
        for k, row in enumerate(x)
    ]
    return [torch.cat(edited) for edited in zip(*pictures, strict=True)]


def _one_after_the_other(
    model: FlowModel, x: torch.Tensor, stack: EditStack, options: ResolvedOptions, hook: StepHook
) -> torch.Tensor:
    active = [(edit, scale) for edit, scale in stack.parts if scale != 0]
    alone = replace(options, mode="merged")
    for k, (edit, scale) in enumerate(active):
        (x,) = _edit(model, x, edit @ scale, [1.0], alone, part_of(hook, k, len(active)))
    return x


def _conditioned(model: FlowModel, stack: EditStack, options: ResolvedOptions) -> ConditionedModel:
    """The model as these edits want it: with the empty prompt, and their guidance."""
    return ConditionedModel(model, prompt_condition(model, ""), options.guidance_of(stack, model))
