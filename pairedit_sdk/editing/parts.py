"""FlowEdit with the parts of a stack: what each LoRA, instruction and shown change does by itself,
added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.flowedit import EditBranch, edit_branches
from pairedit_sdk.editing.hooks import StepHook, part_of
from pairedit_sdk.editing.kept import Kept, Key, each_kept
from pairedit_sdk.editing.told import Telling, edited_as_told, tellings
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.edit_words import lora_beside_words

if TYPE_CHECKING:
    from pairedit_sdk.editing.options import ResolvedOptions
    from pairedit_sdk.models.conditioned import ConditionedModel

#: An edit and its scale.
Part = tuple[Edit, float]


def edited_by_parts(
    model: ConditionedModel,
    x: torch.Tensor,
    stack: EditStack,
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
    kept: Kept | None = None,
) -> list[torch.Tensor]:
    """x [B, C, h, w] at each of the scales by FlowEdit, the changes of all LoRAs, instructions and
    shown changes added.

    Args:
        model: with the empty prompt, without any LoRA attached.
        x: latents of the pictures.
        stack: the edits, each of them once.
        scales: of the whole stack.
        options: of editing, with the mode "guided" or "merged".
        hook: called with (done, total); not at all where everything is kept.
        kept: of this x on this model, or ``None`` to keep nothing.
    """
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
    told = tellings(stack, options)
    groups = bool(active) + len(told)
    edited: list[list[torch.Tensor]] = [[] for _ in scales]
    if active:
        edited = each_alone(model, x, active, scales, options, part_of(hook, 0, groups), kept)
    moved = [_sum(x, each, shares) for each in edited]
    if not told:
        return moved
    # A pass has one prompt. What is told does the same at every scale.
    changes: list[torch.Tensor] = []
    for number, (group, own_options) in enumerate(told, bool(active)):
        own_hook = part_of(hook, number, groups)
        ends = _each_told(model, x, [one for one, _ in group], own_options, own_hook, kept)
        changes += [own * (z - x) for (_, own), z in zip(group, ends, strict=True)]
    return [z + scale * sum(changes) for scale, z in zip(scales, moved, strict=True)]


def each_alone(
    model: ConditionedModel,
    x: torch.Tensor,
    parts: Sequence[Part],
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
    kept: Kept | None = None,
) -> list[list[torch.Tensor]]:
    """For each scale, what the LoRA of each part by itself makes of x [B, C, h, w] at its own scale
    times that one.

    Parts that see the picture and those that do not cannot share a pass of equally long rows.
    """
    seeing = [edit.info.editor.reference for edit, _ in parts]
    if len(set(seeing)) > 1:
        return _in_two_groups(model, x, parts, scales, options, hook, kept)
    names = [kept.store.name_of(edit) if kept else f"edit{k}" for k, (edit, _) in enumerate(parts)]
    branches = [
        EditBranch(name, own * scale, options.limit_of(edit))
        for name, (edit, own) in zip(names, parts, strict=True)
        for scale in scales
    ]
    layers = {name: edit.layers for name, (edit, _) in zip(names, parts, strict=True)}
    own_kept = _same_settings(kept, model, options, seeing[0])

    def ends_of(numbers: Sequence[int]) -> torch.Tensor:
        chosen = [branches[number] for number in numbers]
        loras = {branch.lora: layers[branch.lora] for branch in chosen}
        return edit_branches(
            model, x, loras, chosen, options, hook, sees_picture=seeing[0], kept=own_kept
        )

    keys = [("end", one.lora, float(one.scale), one.limit is not None) for one in branches]
    ends = each_kept(own_kept, keys, ends_of)
    by_part = torch.unflatten(ends, 0, (len(parts), len(scales)))
    return [list(each) for each in by_part.unbind(dim=1)]


def _in_two_groups(
    model: ConditionedModel,
    x: torch.Tensor,
    parts: Sequence[Part],
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
    kept: Kept | None,
) -> list[list[torch.Tensor]]:
    """:func:`each_alone` of the parts that see the picture, and of those that do not."""
    found: dict[int, list[torch.Tensor]] = {}
    for number, sees in enumerate((False, True)):
        own = [k for k, (edit, _) in enumerate(parts) if edit.info.editor.reference is sees]
        chosen = [parts[k] for k in own]
        by_scale = each_alone(model, x, chosen, scales, options, part_of(hook, number, 2), kept)
        found |= {k: [each[place] for each in by_scale] for place, k in enumerate(own)}
    return [[found[k][n] for k in range(len(parts))] for n in range(len(scales))]


def _each_told(
    model: ConditionedModel,
    x: torch.Tensor,
    told: Sequence[Telling],
    options: ResolvedOptions,
    hook: StepHook,
    kept: Kept | None,
) -> torch.Tensor:
    """What each of P tellings by itself makes of x [B, C, h, w]: [P, B, C, h, w]."""
    own_kept = _same_settings(kept, model, options, True)

    def ends_of(numbers: Sequence[int]) -> torch.Tensor:
        return edited_as_told(model, x, [told[k] for k in numbers], options, hook, own_kept)

    return each_kept(own_kept, [_key(one, options, own_kept) for one in told], ends_of)


def _key(told: Telling, options: ResolvedOptions, kept: Kept | None) -> Key:
    """What the end of a telling is kept by."""
    if isinstance(told, str):
        return ("words", options.cfg, told)
    return ("shown", "" if kept is None else kept.store.name_of(told))


def _sum(x: torch.Tensor, edited: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    """x with so much of what was done to each copy of it."""
    if not edited:
        return x
    if len(edited) == 1 and shares[0] == 1:
        return edited[0]
    each = zip(shares, edited, strict=True)
    return x + sum((z - x) if share == 1 else share * (z - x) for share, z in each)


def _same_settings(
    kept: Kept | None, model: ConditionedModel, options: ResolvedOptions, sees_picture: bool
) -> Kept | None:
    """What is kept under everything that FlowEdit's states depend on beside edits and words."""
    if kept is None:
        return None
    schedule = (options.steps, options.n_max, options.n_avg, options.threshold)
    noise = (options.seed, options.same_noise)
    return kept.under(*schedule, *noise, model.guidance, sees_picture)
