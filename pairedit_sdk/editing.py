"""Using edits on a real picture, once or as a strip over several strengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk import cache
from pairedit_sdk.compose import (
    Rows,
    at_once,
    attached_stack,
    check_mode,
    default_mode,
    repeated,
)
from pairedit_sdk.edit import Edit, EditorSettings, EditStack, as_stack
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow import solvers
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.pictures.images import as_rgb, fit_size, resized, to_image, to_tensor

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.bases.protocol import FlowBase

METHODS = ("flowedit", "rf-inversion", "inversion-lora")

StepHook = Callable[[int, int], None]


def edit_image(
    base: FlowBase, image: Image.Image, edits: Edit | EditStack, *, method: str = "flowedit",
    steps: int | None = None, n_max: int | None = None, n_avg: int | None = None,
    threshold: float | None = None, guidance: float | None = None, seed: int = 0,
    resolution: int | None = None, mode: str | None = None, on_step: StepHook | None = None,
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
        guidance: distilled guidance; ``None`` is the edits' own.
        seed: of the noise.
        resolution: side of a square with the area at which the base sees the picture; ``None`` is
            the one that the edit was trained at.
        mode: how several edits act together, one of :data:`pairedit_sdk.compose.MODES`. ``None``
            is the stack's own with FlowEdit ("guided", or "merged" for the answer of a basis), and
            "merged" with the other methods.
        on_step: called with (done, total).

    Raises:
        UsageError: an unknown method or mode, or numbers out of range.
        EditError: an edit of another base.
    """
    (result,) = sweep(
        base, image, edits, [1.0], method=method, steps=steps, n_max=n_max, n_avg=n_avg,
        threshold=threshold, guidance=guidance, seed=seed, resolution=resolution, mode=mode,
        on_step=on_step,
    )  # fmt: skip
    return result


def sweep(
    base: FlowBase, image: Image.Image, edits: Edit | EditStack, scales: Sequence[float], *,
    method: str = "flowedit", steps: int | None = None, n_max: int | None = None,
    n_avg: int | None = None, threshold: float | None = None, guidance: float | None = None,
    seed: int = 0, resolution: int | None = None, mode: str | None = None,
    on_step: StepHook | None = None,
) -> list[Image.Image]:  # fmt: skip
    """The picture at several strengths: :func:`edit_image` with ``edits @ scale`` for each scale.

    What does not depend on the scale, such as the inversion LoRA, is done once, unless the mode is
    sequential: there every edit works on another picture.
    """
    image = as_rgb(image)
    size = seen_size(base, image.size, as_stack(edits), resolution)
    x = base.encode(to_tensor(resized(image, size))).float()
    edited = sweep_latents(
        base, x, edits, scales, method=method, steps=steps, n_max=n_max, n_avg=n_avg,
        threshold=threshold, guidance=guidance, seed=seed, mode=mode, on_step=on_step,
    )  # fmt: skip
    return [resized(to_image(base.decode(z)), image.size) for z in edited]


def sweep_latents(
    base: FlowBase, x: torch.Tensor, edits: Edit | EditStack, scales: Sequence[float], *,
    method: str = "flowedit", steps: int | None = None, n_max: int | None = None,
    n_avg: int | None = None, threshold: float | None = None, guidance: float | None = None,
    seed: int = 0, mode: str | None = None, on_step: StepHook | None = None,
) -> list[torch.Tensor]:  # fmt: skip
    """:func:`sweep` on latents [B, C, h, w]: one tensor of that shape for each scale.

    FlowEdit's plain model does not depend on the scale and runs once for several of them, so a
    sweep of many scales costs little more than half of as many edits. At scale 0 nothing runs.
    """
    stack = as_stack(edits)
    way = _way(stack, method, steps, n_max, n_avg, threshold, guidance, seed, mode)
    heard = [] if stack.silent else [scale for scale in scales if scale != 0]
    edited = dict(zip(heard, _edit(base, x, stack, heard, way, on_step), strict=True))
    return [edited.get(scale, x) for scale in scales]


def edit_latents(
    base: FlowBase, x: torch.Tensor, edits: Edit | EditStack, *, method: str = "flowedit",
    steps: int | None = None, n_max: int | None = None, n_avg: int | None = None,
    threshold: float | None = None, guidance: float | None = None, seed: int = 0,
    mode: str | None = None, on_step: StepHook | None = None,
) -> torch.Tensor:  # fmt: skip
    """:func:`edit_image` on latents [B, C, h, w]; the rows are edited together, each with its own
    noise drawn in order from the seed."""
    stack = as_stack(edits)
    way = _way(stack, method, steps, n_max, n_avg, threshold, guidance, seed, mode)
    return _edit(base, x, stack, [1.0], way, on_step)[0]


def changed_alone(
    base: FlowBase, x: torch.Tensor, edits: Sequence[Edit], *, seed: int = 0
) -> torch.Tensor:
    """What each edit by itself, at scale 1, makes of latents x [B, C, h, w]: [E, B, C, h, w].

    FlowEdit's plain model runs once for as many edits as there is room for.
    """
    stack = EditStack([(edit, 1.0) for edit in edits])
    way = _way(stack, "flowedit", None, None, None, None, None, seed, "guided")
    return torch.cat(
        [
            _copies(base, x, EditStack(part), [1.0], way, _silent)[0]
            for part in at_once(stack.parts, x, way.n_avg)
        ]
    )


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


@dataclass(frozen=True)
class _Way:
    """How pictures are edited; see :func:`edit_image`."""

    method: str
    steps: int
    n_max: int | None
    n_avg: int
    threshold: float
    guidance: float | None
    seed: int
    mode: str

    def __post_init__(self) -> None:
        check_mode(self.mode, self.method)
        if self.method not in METHODS:
            raise UsageError(
                f"There is no method {self.method!r}", expected="one of " + ", ".join(METHODS)
            )
        fits = self.steps >= 1 and 1 <= self.last_steps <= self.steps and self.n_avg >= 1
        if not fits or not 0 <= self.threshold <= 1:
            raise UsageError(
                f"steps {self.steps}, n_max {self.last_steps}, n_avg {self.n_avg}, threshold "
                f"{self.threshold:g}",
                expected="steps and n_avg of at least 1, n_max from 1 to steps, and a threshold "
                "from 0 to 1",
            )

    @property
    def last_steps(self) -> int:
        """How many of the steps FlowEdit runs."""
        return solvers.last_steps(self.steps) if self.n_max is None else self.n_max


def _way(
    edits: EditStack, method: str, steps: int | None, n_max: int | None, n_avg: int | None,
    threshold: float | None, guidance: float | None, seed: int, mode: str | None,
) -> _Way:  # fmt: skip
    """What was asked for, and for the rest what suits the edits."""
    own = edits.editor if method == "flowedit" else EditorSettings()
    given = {"n_max": n_max, "n_avg": n_avg, "threshold": threshold}
    known = [name for name, value in given.items() if value is not None]
    if method in METHODS and method != "flowedit" and known:
        raise UsageError(
            f"Only FlowEdit has {' and '.join(known)}, and the method is {method}",
            next_step="Leave that out",
        )
    return _Way(
        method, own.steps if steps is None else steps, n_max,
        own.n_avg if n_avg is None else n_avg,
        own.threshold if threshold is None else threshold, guidance, seed,
        mode or default_mode(edits, method),
    )  # fmt: skip


def _edit(
    base: FlowBase, x: torch.Tensor, stack: EditStack, scales: Sequence[float], way: _Way,
    on_step: StepHook | None,
) -> list[torch.Tensor]:  # fmt: skip
    """Latents x [B, C, h, w] under the stack at each of the scales."""
    for edit, _ in stack.parts:
        edit.require_base(base)
    hook = on_step or _silent
    if not scales or (stack.silent and way.method == "flowedit"):
        return [x for _ in scales]
    if way.mode == "sequential":
        return [
            _one_after_the_other(base, x, stack @ scale, way, part_of(hook, index, len(scales)))
            for index, scale in enumerate(scales)
        ]
    if way.method == "inversion-lora":
        from pairedit_sdk.inversion import inversion_lora_edits

        guidance = stack.guidance if way.guidance is None else way.guidance
        condition, sigmas = cache.condition(base, ""), _sigmas(base, x, way.steps)
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
    heard = [part for part in stack.parts if part[1] != 0]
    if way.method != "flowedit" or way.mode != "guided" or len(heard) < 2:
        return [each[0] for each in _copies(base, x, stack, scales, way, hook)]
    # Every edit moves a copy of its own, as many at once as there is room for, and what they did is
    # added.
    parts, way = at_once(heard, x, way.n_avg), replace(way, guidance=guidance)
    moved = [
        _copies(base, x, EditStack(part), scales, way, part_of(hook, index, len(parts)))
        for index, part in enumerate(parts)
    ]
    each_scale = (torch.cat(copies) for copies in zip(*moved, strict=True))
    return [each[0] + (each[1:] - x).sum(dim=0) for each in each_scale]


def _copies(
    base: FlowBase, x: torch.Tensor, stack: EditStack, scales: Sequence[float], way: _Way,
    hook: StepHook,
) -> list[torch.Tensor]:  # fmt: skip
    """For each scale [E, B, C, h, w]: one copy of x that the whole stack moves, or as FlowEdit does
    what is guided, one for each edit that is heard."""
    guidance = stack.guidance if way.guidance is None else way.guidance
    condition, sigmas = cache.condition(base, ""), _sigmas(base, x, way.steps)
    copies = sum(scale != 0 for _, scale in stack.parts)
    paths = way.method == "flowedit" and way.mode == "guided" and copies > 1
    copies = copies if paths else 1
    # RF-Inversion runs the plain model by itself, so its strengths have nothing to share.
    parts = (
        at_once(scales, x, way.n_avg * copies)
        if way.method == "flowedit"
        else [[scale] for scale in scales]
    )
    results: list[torch.Tensor] = []
    mode = "paths" if paths else "merged" if way.method == "flowedit" else way.mode
    with torch.no_grad(), attached_stack(base, stack, mode, condition, guidance) as rows_at:
        for index, strengths in enumerate(parts):
            rows, count = rows_at(strengths), copies * len(strengths)
            z = _sample(x, count, sigmas, rows, way, part_of(hook, index, len(parts)))
            results += z.unflatten(0, (copies, len(strengths), len(x))).unbind(dim=1)
    return results


def _one_after_the_other(
    base: FlowBase, x: torch.Tensor, stack: EditStack, way: _Way, on_step: StepHook
) -> torch.Tensor:
    heard = [(edit, scale) for edit, scale in stack.parts if scale != 0]
    alone = replace(way, mode="merged")
    for index, (edit, scale) in enumerate(heard):
        hook = part_of(on_step, index, len(heard))
        (x,) = _edit(base, x, edit @ scale, [1.0], alone, hook)
    return x


def _sample(
    x: torch.Tensor, count: int, sigmas: torch.Tensor, rows: Rows, way: _Way, on_step: StepHook
) -> torch.Tensor:
    """x [B, …] at ``count`` strengths, [count · B, …]; all of them see the same noise."""
    noise = noise_source(x, way.seed, count)
    if way.method == "flowedit":
        return solvers.flowedit(
            repeated(x, count), sigmas, rows, noise, n_max=way.last_steps, n_avg=way.n_avg,
            threshold=way.threshold, on_step=on_step,
        )  # fmt: skip
    return solvers.rf_inversion(x, sigmas, rows.plain, rows.edited, noise(0, 0), on_step=on_step)


def _silent(done: int, total: int) -> None:
    """Nobody asks how far it is."""


def part_of(hook: StepHook, index: int, count: int) -> StepHook:
    """The hook of part number ``index`` of ``count`` equal parts of one long step."""
    return lambda done, total: hook(index * total + done, count * total)


def _sigmas(base: FlowBase, x: torch.Tensor, steps: int) -> torch.Tensor:
    """The schedule for latents of this size."""
    return base.sigmas(steps, *base.image_size(x))
