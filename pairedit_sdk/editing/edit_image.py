"""Using edits on a real picture, once or as a strip over several strengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.composition import attached_stack
from pairedit_sdk.editing.flowedit import Path, follow
from pairedit_sdk.editing.options import Way, way_for
from pairedit_sdk.edits.edit import Edit, EditStack, as_stack
from pairedit_sdk.flow import solvers
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.images.image import as_rgb, fit_size, resized, to_image, to_tensor
from pairedit_sdk.models.prompts import prompt_condition

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowBase

StepHook = Callable[[int, int], None]
#: An edit and its scale.
Part = tuple[Edit, float]


def edit_image(
    base: FlowBase, image: Image.Image, edits: Edit | EditStack, *, method: str = "flowedit",
    steps: int | None = None, n_max: int | None = None, n_avg: int | None = None,
    threshold: float | None = None, even: bool | None = None, guidance: float | None = None,
    seed: int = 0, resolution: int | None = None, mode: str | None = None,
    on_step: StepHook | None = None,
) -> Image.Image:  # fmt: skip
    """Apply edits to a picture.

    The base sees the picture at the size that :func:`seen_size` says, keeping its aspect ratio; the
    result comes back at the picture's own size. At scale 0 it is the autoencoder's round trip, bit
    for bit.

    Args:
        base: the model the edits were learned on.
        image: any PIL picture; its EXIF rotation is applied.
        edits: an edit, or a sum such as ``a @ 1 + b @ 0.5``.
        method: "flowedit", "rf-inversion", or "inversion-lora" (as published; slow: it trains a
            LoRA on this one picture first).
        steps: length of the noise schedule. ``None`` is what FlowEdit needs with these edits, and
            28 with the other methods.
        n_max: FlowEdit only: how many of the last steps run; fewer keep more of the picture.
            ``None`` is FlowEdit's published share, 24 of 28.
        n_avg: FlowEdit only: noises averaged in each step; ``None`` is the edits' own.
        threshold: FlowEdit only: damps small changes, see
            :func:`pairedit_sdk.flow.solvers.damped`; ``None`` is the edits' own.
        even: FlowEdit only: whether every picture gets a factor of its own, with which scale 1
            changes it no more than the pairs show, see :mod:`pairedit_sdk.editing.scale_limit`.
            Edits that are merged into one LoRA cannot have it. ``None`` is each edit's own.
        guidance: distilled guidance; ``None`` is the edits' own.
        seed: of the noise.
        resolution: side of a square with the area at which the base sees the picture; ``None`` is
            the one that the edit was trained at.
        mode: how several edits act together, one of
            :data:`pairedit_sdk.editing.composition.MODES`. ``None`` is the stack's own with
            FlowEdit ("guided", or "merged" for the answer of a basis), and "merged" with the other
            methods.
        on_step: called with (done, total).

    Raises:
        UsageError: an unknown method or mode, numbers out of range, or ``even`` for edits that do
            not know how much their pairs show.
        EditError: an edit of another base.
        BaseModelError: the image encoder of an even strength cannot be loaded.
    """
    (result,) = sweep(
        base, image, edits, [1.0], method=method, steps=steps, n_max=n_max, n_avg=n_avg,
        threshold=threshold, even=even, guidance=guidance, seed=seed, resolution=resolution,
        mode=mode, on_step=on_step,
    )  # fmt: skip
    return result


def sweep(
    base: FlowBase, image: Image.Image, edits: Edit | EditStack, scales: Sequence[float], *,
    method: str = "flowedit", steps: int | None = None, n_max: int | None = None,
    n_avg: int | None = None, threshold: float | None = None, even: bool | None = None,
    guidance: float | None = None, seed: int = 0, resolution: int | None = None,
    mode: str | None = None, on_step: StepHook | None = None,
) -> list[Image.Image]:  # fmt: skip
    """The picture at several strengths: :func:`edit_image` with ``edits @ scale`` for each scale.

    What does not depend on the scale, such as the inversion LoRA or the factor of an even
    strength, is done once, unless the mode is sequential: there every edit works on another
    picture.
    """
    image = as_rgb(image)
    size = seen_size(base, image.size, as_stack(edits), resolution)
    x = base.encode(to_tensor(resized(image, size))).float()
    edited = sweep_latents(
        base, x, edits, scales, method=method, steps=steps, n_max=n_max, n_avg=n_avg,
        threshold=threshold, even=even, guidance=guidance, seed=seed, mode=mode, on_step=on_step,
    )  # fmt: skip
    return [resized(to_image(base.decode(z)), image.size) for z in edited]


def sweep_latents(
    base: FlowBase, x: torch.Tensor, edits: Edit | EditStack, scales: Sequence[float], *,
    method: str = "flowedit", steps: int | None = None, n_max: int | None = None,
    n_avg: int | None = None, threshold: float | None = None, even: bool | None = None,
    guidance: float | None = None, seed: int = 0, mode: str | None = None,
    on_step: StepHook | None = None,
) -> list[torch.Tensor]:  # fmt: skip
    """:func:`sweep` on latents [B, C, h, w]: one tensor of that shape for each scale.

    FlowEdit's plain model does not depend on the scale and runs once for several of them, so a
    sweep of many scales costs little more than half of as many edits. At scale 0 nothing runs.
    """
    stack = as_stack(edits)
    way = way_for(
        stack, method, steps=steps, n_max=n_max, n_avg=n_avg, threshold=threshold, even=even,
        guidance=guidance, seed=seed, mode=mode,
    )  # fmt: skip
    heard = [] if stack.is_zero else [scale for scale in scales if scale != 0]
    edited = dict(zip(heard, _edit(base, x, stack, heard, way, on_step), strict=True))
    return [edited.get(scale, x) for scale in scales]


def edit_latents(
    base: FlowBase, x: torch.Tensor, edits: Edit | EditStack, *, method: str = "flowedit",
    steps: int | None = None, n_max: int | None = None, n_avg: int | None = None,
    threshold: float | None = None, even: bool | None = None, guidance: float | None = None,
    seed: int = 0, mode: str | None = None, on_step: StepHook | None = None,
) -> torch.Tensor:  # fmt: skip
    """:func:`edit_image` on latents [B, C, h, w]; the rows are edited together, each with its own
    noise drawn in order from the seed."""
    stack = as_stack(edits)
    way = way_for(
        stack, method, steps=steps, n_max=n_max, n_avg=n_avg, threshold=threshold, even=even,
        guidance=guidance, seed=seed, mode=mode,
    )  # fmt: skip
    return _edit(base, x, stack, [1.0], way, on_step)[0]


def changed_alone(
    base: FlowBase, x: torch.Tensor, edits: Sequence[Edit], *, seed: int = 0
) -> torch.Tensor:
    """What each edit by itself, at scale 1, makes of latents x [B, C, h, w]: [E, B, C, h, w].

    FlowEdit's plain model runs once for as many edits as there is room for. No picture gets a
    factor of its own.
    """
    stack = EditStack([(edit, 1.0) for edit in edits])
    way = way_for(stack, seed=seed, mode="guided", even=False)
    return torch.stack(_moved(base, x, stack.parts, [1.0], way, stack.guidance, _silent)[0])


def seen_size(
    base: FlowBase, size: tuple[int, int], edits: Edit | EditStack, resolution: int | None = None
) -> tuple[int, int]:
    """The width and height in pixels at which the base sees a picture of ``size``.

    Args:
        base: the model.
        size: the picture's width and height.
        edits: what is to be applied.
        resolution: see :func:`edit_image`.
    """
    trained = max(edit.info.resolution for edit, _ in as_stack(edits).parts)
    return fit_size(*size, resolution or trained or base.resolution, base.multiple)


def _edit(
    base: FlowBase, x: torch.Tensor, stack: EditStack, scales: Sequence[float], way: Way,
    on_step: StepHook | None,
) -> list[torch.Tensor]:  # fmt: skip
    """Latents x [B, C, h, w] under the stack at each of the scales."""
    for edit, _ in stack.parts:
        edit.require_base(base)
    hook = on_step or _silent
    if not scales or (stack.is_zero and way.method == "flowedit"):
        return [x for _ in scales]
    if way.mode == "sequential":
        return [
            _one_after_the_other(base, x, stack @ scale, way, part_of(hook, index, len(scales)))
            for index, scale in enumerate(scales)
        ]
    if way.method == "inversion-lora":
        from pairedit_sdk.editing.inversion import inversion_lora_edits

        guidance = stack.guidance if way.guidance is None else way.guidance
        condition, sigmas = prompt_condition(base, ""), _sigmas(base, x, way.steps)
        stacks = [stack @ scale for scale in scales]
        pictures = [
            inversion_lora_edits(
                base, row[None], stacks, condition, guidance, sigmas, way.seed,
                part_of(hook, index, len(x)),
            )
            for index, row in enumerate(x)
        ]  # fmt: skip
        return [torch.cat(outs) for outs in zip(*pictures, strict=True)]
    stack = stack.without_repeats()
    guidance = stack.guidance if way.guidance is None else way.guidance
    if way.method == "rf-inversion":
        return [
            _inverted(base, x, stack @ s, way, guidance, part_of(hook, index, len(scales)))
            for index, s in enumerate(scales)
        ]
    # One picture that all parts move together, or a copy for each of them, and what they did added.
    heard: list[Part] = [(edit, scale) for edit, scale in stack.parts if scale != 0]
    if way.mode == "merged" and len(heard) > 1:
        heard = [(stack.merged("sum", guidance), 1.0)]
    moved = _moved(base, x, heard, scales, way, guidance, hook)
    return [each[0] if len(each) == 1 else x + sum(z - x for z in each) for each in moved]


def _moved(
    base: FlowBase, x: torch.Tensor, parts: Sequence[Part], scales: Sequence[float], way: Way,
    guidance: float, hook: StepHook,
) -> list[list[torch.Tensor]]:  # fmt: skip
    """For each scale, what each part by itself makes of x at its own scale times that one."""
    loras = {f"edit{k}": edit.layers for k, (edit, _) in enumerate(parts)}
    even = [edit.info.editor.limit_scale if way.even is None else way.even for edit, _ in parts]
    paths = [
        Path(name, own * scale, edit.info.direction if seen else None)
        for (name, (edit, own), seen) in zip(loras, parts, even, strict=True)
        for scale in scales
    ]
    ends = follow(base, x, loras, paths, way, prompt_condition(base, ""), guidance, hook)
    by_part = torch.unflatten(ends, 0, (len(parts), len(scales)))
    return [list(each) for each in by_part.unbind(dim=1)]


def _inverted(
    base: FlowBase, x: torch.Tensor, stack: EditStack, way: Way, guidance: float, hook: StepHook
) -> torch.Tensor:
    """RF-Inversion of x. The plain model runs by itself, so strengths have nothing to share."""
    condition, sigmas = prompt_condition(base, ""), _sigmas(base, x, way.steps)
    noise = noise_source(x, way.seed)(0, 0)
    with torch.no_grad(), attached_stack(base, stack, way.mode, condition, guidance) as rows:
        return solvers.rf_inversion(x, sigmas, rows.plain, rows.edited, noise, on_step=hook)


def _one_after_the_other(
    base: FlowBase, x: torch.Tensor, stack: EditStack, way: Way, on_step: StepHook
) -> torch.Tensor:
    heard = [(edit, scale) for edit, scale in stack.parts if scale != 0]
    alone = replace(way, mode="merged")
    for index, (edit, scale) in enumerate(heard):
        hook = part_of(on_step, index, len(heard))
        (x,) = _edit(base, x, edit @ scale, [1.0], alone, hook)
    return x


def _silent(done: int, total: int) -> None:
    """Nobody asks how far it is."""


def part_of(hook: StepHook, index: int, count: int) -> StepHook:
    """The hook of part number ``index`` of ``count`` equal parts of one long step."""
    return lambda done, total: hook(index * total + done, count * total)


def _sigmas(base: FlowBase, x: torch.Tensor, steps: int) -> torch.Tensor:
    """The schedule for latents of this size."""
    return base.sigmas(steps, *base.image_size(x))
