"""Using edits on the latents of pictures, at one scale or several; nothing here knows of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import torch

from pairedit_sdk.editing.composition import attached_stack
from pairedit_sdk.editing.flowedit import EditBranch, edit_branches
from pairedit_sdk.editing.guidance import check_edit_guidance
from pairedit_sdk.editing.hooks import StepHook, no_hook, part_of
from pairedit_sdk.editing.options import EditOptions, EditSettings, ResolvedOptions, options_from
from pairedit_sdk.editing.words import changes_nothing, check_words, edited_by_words, words_for
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.edit_words import lora_beside_words
from pairedit_sdk.edits.inputs import as_stack
from pairedit_sdk.flow.schedule import starting_noise
from pairedit_sdk.flow.solvers import euler, last_state, rf_inversion
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.prompts import prompt_condition

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

#: An edit and its scale.
Part = tuple[Edit, float]


def sweep_latents(
    model: FlowModel,
    x: torch.Tensor,
    edits: Edit | EditStack,
    scales: Sequence[float],
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    **settings: Unpack[EditSettings],
) -> list[torch.Tensor]:
    """Latents [B, C, h, w] at several scales: one tensor of that shape for each of them.

    What does not depend on the scale, such as the inversion LoRA or a picture's scale limit, is
    done once, unless the mode is sequential: there every edit works on another picture. The same
    goes for instructions. FlowEdit's plain model runs once for several scales, so many of them cost
    little more than half of as many edits. At scale 0 nothing runs, and the result is ``x`` itself.
    """
    stack = as_stack(edits)
    resolved = options_from(options, settings).resolved(stack)
    check_edit_guidance(model, stack, resolved)
    active = [] if stack.is_zero else [scale for scale in scales if scale != 0]
    found = _edit(model, x, stack, active, resolved, on_step or no_hook)
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
    return torch.stack(_each_alone(conditioned, x, stack.parts, [1.0], options, no_hook)[0])


def _edit(
    model: FlowModel,
    x: torch.Tensor,
    stack: EditStack,
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
) -> list[torch.Tensor]:
    """Latents x [B, C, h, w] under the stack at each of the scales."""
    for edit, _ in stack.parts:
        edit.require_base(model)
    check_words(model, stack, options)
    if not options.words:  # an instruction without words is no part of anything
        parts = [(edit, scale) for edit, scale in stack.parts if edit.layers]
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
    return _together(conditioned, x, stack, scales, options, hook)


def _together(
    model: ConditionedModel,
    x: torch.Tensor,
    stack: EditStack,
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
) -> list[torch.Tensor]:
    """x at each of the scales by FlowEdit, the changes of all LoRAs and instructions added."""
    # One picture that all LoRAs move together, or a copy for each of them.
    active: list[Part] = [
        (edit, scale) for edit, scale in stack.parts if scale != 0 and edit.layers
    ]
    # What the words leave to each: a part of what it does, which is more than a LoRA does that is
    # scaled down by as much.
    shares = [lora_beside_words(edit.info) if options.words else 1.0 for edit, _ in active]
    if options.mode == "merged" and len(active) > 1:
        loras = EditStack(active)
        loras = loras.beside_words() if options.words else loras.without_words()
        active, shares = [(loras.merged("sum", model.guidance), 1.0)], [1.0]
    words = words_for(stack, options)
    groups = bool(active) + bool(words)
    edited: list[list[torch.Tensor]] = [[] for _ in scales]
    if active:
        edited = _each_alone(model, x, active, scales, options, part_of(hook, 0, groups))
    moved = [_sum(x, each, shares) for each in edited]
    if not words:
        return moved
    # A pass has one prompt. What an instruction does is the same at every scale.
    by_words = edited_by_words(model, x, list(words), options, part_of(hook, groups - 1, groups))
    told = [own * (z - x) for own, z in zip(words.values(), by_words, strict=True)]
    return [z + scale * sum(told) for scale, z in zip(scales, moved, strict=True)]


def _sum(x: torch.Tensor, edited: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    """x with so much of what was done to each copy of it."""
    if not edited:
        return x
    if len(edited) == 1 and shares[0] == 1:
        return edited[0]
    each = zip(shares, edited, strict=True)
    return x + sum((z - x) if share == 1 else share * (z - x) for share, z in each)


def _each_alone(
    model: ConditionedModel,
    x: torch.Tensor,
    parts: Sequence[Part],
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
) -> list[list[torch.Tensor]]:
    """For each scale, what the LoRA of each part by itself makes of x at its own scale times that
    one.

    Parts that see the picture and those that do not cannot share a pass of equally long rows.
    """
    seeing = [edit.info.editor.reference for edit, _ in parts]
    if len(set(seeing)) > 1:
        return _in_two_groups(model, x, parts, scales, options, hook)
    loras = {f"edit{k}": edit.layers for k, (edit, _) in enumerate(parts)}
    branches = [
        EditBranch(name, own * scale, options.limit_of(edit))
        for name, (edit, own) in zip(loras, parts, strict=True)
        for scale in scales
    ]
    ends = edit_branches(model, x, loras, branches, options, hook, sees_picture=seeing[0])
    by_part = torch.unflatten(ends, 0, (len(parts), len(scales)))
    return [list(each) for each in by_part.unbind(dim=1)]


def _in_two_groups(
    model: ConditionedModel,
    x: torch.Tensor,
    parts: Sequence[Part],
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
) -> list[list[torch.Tensor]]:
    """:func:`_each_alone` of the parts that see the picture, and of those that do not."""
    found: dict[int, list[torch.Tensor]] = {}
    for number, sees in enumerate((False, True)):
        own = [k for k, (edit, _) in enumerate(parts) if edit.info.editor.reference is sees]
        chosen = [parts[k] for k in own]
        by_scale = _each_alone(model, x, chosen, scales, options, part_of(hook, number, 2))
        found |= {k: [each[place] for each in by_scale] for place, k in enumerate(own)}
    return [[found[k][n] for k in range(len(parts))] for n in range(len(scales))]


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

        def velocity(z: torch.Tensor, sigma: torch.Tensor, step: int) -> torch.Tensor:
            return velocities.edited(z, sigma).to(base.dtype)

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
