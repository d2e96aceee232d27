"""Using edits on a real picture, once or as a strip over several scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import torch

from pairedit_sdk.editing.composition import attached_stack
from pairedit_sdk.editing.flowedit import EditBranch, edit_branches
from pairedit_sdk.editing.options import EditOptions, EditSettings, ResolvedOptions, options_from
from pairedit_sdk.editing.resolution import warn_if_far_above
from pairedit_sdk.edits.edit import Edit, EditStack, as_stack
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import last_state, rf_inversion
from pairedit_sdk.images.image import as_rgb, fit_size, resized, to_image, to_tensor
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.prompts import prompt_condition

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel

StepHook = Callable[[int, int], None]
#: An edit and its scale.
Part = tuple[Edit, float]


def edit_image(
    model: FlowModel,
    image: Image.Image,
    edits: Edit | EditStack,
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    **settings: Unpack[EditSettings],
) -> Image.Image:
    """Apply edits to a picture.

    The model sees the picture at the size that :func:`seen_size` says, keeping its aspect ratio;
    the result comes back at the picture's own size. At scale 0 it is the autoencoder's round trip,
    bit for bit.

    Args:
        model: the model the edits were learned on.
        image: any PIL picture; its EXIF rotation is applied.
        edits: an edit, or a sum such as ``a @ 1 + b @ 0.5``.
        options: how it is edited; ``None`` is what suits the edits.
        on_step: called with (done, total).
        settings: single fields of :class:`pairedit_sdk.editing.options.EditOptions`, such as
            ``steps=14`` or ``seed=1``; they take the place of those in ``options``.

    Raises:
        UsageError: an unknown method or mode, numbers out of range, or ``limit_scale`` for edits
            that do not know how much their pairs show.
        EditError: an edit of another model.
        BaseModelError: the image encoder of a scale limit cannot be loaded.
        TypeError: an unknown setting.
    """
    options = options_from(options, settings)
    (result,) = sweep(model, image, edits, [1.0], options, on_step=on_step)
    return result


def sweep(
    model: FlowModel,
    image: Image.Image,
    edits: Edit | EditStack,
    scales: Sequence[float],
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    **settings: Unpack[EditSettings],
) -> list[Image.Image]:
    """The picture at several scales: :func:`edit_image` with ``edits @ scale`` for each of them.

    What does not depend on the scale, such as the inversion LoRA or a picture's scale limit, is
    done once, unless the mode is sequential: there every edit works on another picture.
    """
    options = options_from(options, settings)
    image = as_rgb(image)
    size = seen_size(model, image.size, as_stack(edits), options.resolution)
    x = model.encode(to_tensor(resized(image, size))).float()
    edited = sweep_latents(model, x, edits, scales, options, on_step=on_step)
    return [resized(to_image(model.decode(z)), image.size) for z in edited]


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
    """:func:`sweep` on latents [B, C, h, w]: one tensor of that shape for each scale.

    FlowEdit's plain model does not depend on the scale and runs once for several of them, so a
    sweep of many scales costs little more than half of as many edits. At scale 0 nothing runs.
    """
    stack = as_stack(edits)
    resolved = options_from(options, settings).resolved(stack)
    active = [] if stack.is_zero else [scale for scale in scales if scale != 0]
    found = _edit(model, x, stack, active, resolved, on_step or _no_hook)
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
    """:func:`edit_image` on latents [B, C, h, w]; the rows are edited together, each with its own
    noise drawn in order from the seed."""
    stack = as_stack(edits)
    resolved = options_from(options, settings).resolved(stack)
    return _edit(model, x, stack, [1.0], resolved, on_step or _no_hook)[0]


def changed_alone(
    model: FlowModel, x: torch.Tensor, edits: Sequence[Edit], *, seed: int = 0
) -> torch.Tensor:
    """What each edit by itself, at scale 1, makes of latents x [B, C, h, w]: [E, B, C, h, w].

    FlowEdit's plain model runs once for as many edits as there is room for. No scale is limited.
    """
    stack = EditStack([(edit, 1.0) for edit in edits])
    options = EditOptions(seed=seed, mode="guided", limit_scale=False).resolved(stack)
    conditioned = _conditioned(model, stack, options)
    return torch.stack(_each_alone(conditioned, x, stack.parts, [1.0], options, _no_hook)[0])


def seen_size(
    model: FlowModel, size: tuple[int, int], edits: Edit | EditStack, resolution: int | None = None
) -> tuple[int, int]:
    """The width and height in pixels at which the model sees a picture of ``size``.

    Args:
        model: the model.
        size: the picture's width and height.
        edits: what is to be applied.
        resolution: see :class:`pairedit_sdk.editing.options.EditOptions`.
    """
    trained = max(edit.info.resolution for edit, _ in as_stack(edits).parts)
    resolution = resolution or trained or model.resolution
    warn_if_far_above(as_stack(edits), resolution)
    return fit_size(*size, resolution, model.multiple)


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
    if not scales or (stack.is_zero and options.method == "flowedit"):
        return [x for _ in scales]
    if options.mode == "sequential":
        return [
            _one_after_the_other(model, x, stack @ scale, options, part_of(hook, k, len(scales)))
            for k, scale in enumerate(scales)
        ]
    if options.method == "inversion-lora":
        return _with_inversion_lora(model, x, [stack @ scale for scale in scales], options, hook)
    stack = stack.without_repeats()
    conditioned = _conditioned(model, stack, options)
    if options.method == "rf-inversion":
        return [
            _inverted(conditioned, x, stack @ scale, options, part_of(hook, k, len(scales)))
            for k, scale in enumerate(scales)
        ]
    # One picture that all parts move together, or a copy for each of them, and what they did added.
    active: list[Part] = [(edit, scale) for edit, scale in stack.parts if scale != 0]
    if options.mode == "merged" and len(active) > 1:
        active = [(stack.merged("sum", conditioned.guidance), 1.0)]
    edited = _each_alone(conditioned, x, active, scales, options, hook)
    return [each[0] if len(each) == 1 else x + sum(z - x for z in each) for each in edited]


def _each_alone(
    model: ConditionedModel,
    x: torch.Tensor,
    parts: Sequence[Part],
    scales: Sequence[float],
    options: ResolvedOptions,
    hook: StepHook,
) -> list[list[torch.Tensor]]:
    """For each scale, what each part by itself makes of x at its own scale times that one."""
    loras = {f"edit{k}": edit.layers for k, (edit, _) in enumerate(parts)}
    branches = [
        EditBranch(name, own * scale, options.limit_of(edit))
        for name, (edit, own) in zip(loras, parts, strict=True)
        for scale in scales
    ]
    ends = edit_branches(model, x, loras, branches, options, hook)
    by_part = torch.unflatten(ends, 0, (len(parts), len(scales)))
    return [list(each) for each in by_part.unbind(dim=1)]


def _inverted(
    model: ConditionedModel,
    x: torch.Tensor,
    stack: EditStack,
    options: ResolvedOptions,
    hook: StepHook,
) -> torch.Tensor:
    """RF-Inversion of x. The plain model runs by itself, so scales have nothing to share."""
    sigmas = model.base.sigmas(options.steps, *model.base.image_size(x))
    noise = noise_source(x, options.seed)(0, 0)
    with torch.no_grad(), attached_stack(model, stack, options.mode) as velocities:
        states = rf_inversion(x, sigmas, velocities.plain, velocities.edited, noise)
        return last_state(states, lambda done: hook(done, 2 * options.steps))


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
    return ConditionedModel(model, prompt_condition(model, ""), options.guidance_of(stack))


def _no_hook(done: int, total: int) -> None:
    """Progress is not wanted."""


def part_of(hook: StepHook, index: int, count: int) -> StepHook:
    """The hook of part number ``index`` of ``count`` equal parts of one long step."""
    return lambda done, total: hook(index * total + done, count * total)
