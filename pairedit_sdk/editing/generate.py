"""Generating pictures, with edits active in the late steps, or applied to what was drawn.

An edit that sees its picture was learned with a reference, and drawing from noise has none. So the
model alone draws the picture, and such an edit is then applied to it as to any other picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, Unpack

import torch

from pairedit_sdk.editing.composition import attached_stack, check_mode
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.editing.guidance import cfg_scale, check_guidance
from pairedit_sdk.editing.hooks import part_of
from pairedit_sdk.editing.options import EditOptions, whole_number
from pairedit_sdk.editing.words import do_without_words, without_silent
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.inputs import as_stack
from pairedit_sdk.errors import UsageError, counted
from pairedit_sdk.flow import solvers
from pairedit_sdk.flow.schedule import starting_noise
from pairedit_sdk.images.image import as_rgb, fit_size, resized, to_image, to_tensor
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.prompts import each_condition

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel


class GenerateSettings(TypedDict, total=False):
    """The fields of :class:`GenerateOptions` as keyword arguments."""

    seed: int
    steps: int
    start_step: int | None
    guidance: float | None
    cfg: float
    negative_prompt: str
    width: int | None
    height: int | None
    mode: str


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """How a picture is generated.

    Attributes:
        seed: of the noise.
        steps: Euler steps.
        start_step: first step in which the edits act, from 0; ``None`` is half of the steps, so
            that they act in steps 15 to 28 of 28. Edits that see their picture act after the last.
        guidance: distilled guidance, for a model that takes it; ``None`` is the model's default.
        cfg: scale of classifier-free guidance in drawing, for a second pass in every step; 1 is
            none. See :mod:`pairedit_sdk.flow.guidance`. Edits that are applied to what was drawn
            are applied without it.
        negative_prompt: what the second pass is told; only with ``cfg``.
        width: pixels, a multiple of the model's grid; ``None`` is the size at which the first
            reference is seen, or else the model's own.
        height: as ``width``.
        mode: how several edits act together, one of :data:`pairedit_sdk.editing.composition.MODES`;
            "sequential" generates with the first one and edits the picture with the others.
    """

    seed: int = 0
    steps: int = 28
    start_step: int | None = None
    guidance: float | None = None
    cfg: float = 1.0
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    mode: str = "merged"

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", whole_number("seed", self.seed))
        object.__setattr__(self, "cfg", cfg_scale(self.cfg))
        if self.negative_prompt and self.cfg == 1:
            raise UsageError(
                "A negative prompt acts with classifier-free guidance alone",
                next_step="Say its scale, such as cfg=4 (--cfg 4)",
            )


@holding
def generate(
    model: FlowModel,
    prompt: str = "",
    edits: Edit | EditStack | None = None,
    options: GenerateOptions | None = None,
    *,
    references: Sequence[Image.Image] = (),
    on_step: Callable[[int, int], None] | None = None,
    **settings: Unpack[GenerateSettings],
) -> Image.Image:
    """Generate a picture, with edits active in the late steps only.

    Until ``start_step`` the model alone fixes the layout. Edits that see their picture
    (``EditorSettings.reference``) are applied to what was drawn, by FlowEdit. The noise is the one
    that ``FluxPipeline`` draws with ``torch.Generator("cpu").manual_seed(seed)``, so both give the
    same picture (with ``max_sequence_length=32`` on the built-in model, 256 on schnell). Its
    ``true_cfg_scale`` is ``cfg``.

    Args:
        model: the model.
        prompt: what to generate; the empty prompt draws freely.
        edits: an edit or a sum of them, or ``None``. Their LoRAs act. Their instructions act only
            where the edit sees its picture.
        options: how; ``settings`` take the place of its fields.
        references: condition images for an edit model, which then does to the first of them what
            the prompt says. Each is seen at the model's resolution, its aspect ratio kept.
        on_step: called with (done, total).

    Raises:
        UsageError: a size or steps that do not fit, an unknown mode, references for a model that
            takes none, guidance that the model cannot be given or that changes nothing, an edit
            that is an instruction alone, or edits that see their picture and whose guidance
            differs, where none is asked for.
        EditError: an edit of another model.
    """
    asked = replace(options or GenerateOptions(), **settings)
    sizes = [fit_size(*picture.size, model.resolution, model.multiple) for picture in references]
    own = sizes[0] if sizes else (model.resolution, model.resolution)
    width, height = asked.width or own[0], asked.height or own[1]
    start_step = asked.steps // 2 if asked.start_step is None else asked.start_step
    _check(model, (width, height), asked.steps, start_step)
    check_prompts(prompt, asked)
    check_guidance(model, asked.guidance, asked.cfg)
    check_mode(asked.mode)
    stack = None if edits is None else without_silent(as_stack(edits))
    for edit, _ in [] if stack is None else stack.parts:
        edit.require_base(model)
    drawing, later = (None, None) if stack is None else _in_turn(stack, asked.mode)
    then = EditOptions(mode=asked.mode, seed=asked.seed, guidance=asked.guidance)
    if later is not None and asked.mode != "sequential":
        then.resolved(later).guidance_of(later, model)  # refused before anything is drawn
    conditioned = _seeing(_conditioned(model, prompt, asked), references, sizes)
    shape = (1, *model.latent_shape(height, width))
    x = starting_noise(shape, asked.seed, model.dtype).to(model.device)
    sigmas, hook = model.sigmas(asked.steps, height, width), on_step or (lambda done, total: None)
    drawn_hook = hook if later is None else part_of(hook, 0, 2)
    x = _drawn(conditioned, x, sigmas, drawing, asked.mode, start_step, drawn_hook)
    if later is not None:
        x = edit_latents(model, x.float(), later, then, on_step=part_of(hook, 1, 2))
    return to_image(model.decode(x))


def _in_turn(stack: EditStack, mode: str) -> tuple[EditStack | None, EditStack | None]:
    """What the picture is drawn with, and what is then applied to it.

    Raises:
        UsageError: an edit is an instruction alone.
    """
    blind = [part for part in stack.parts if not _sees(part)]
    if blind:
        advice = "Say it in the prompt, with the picture as a reference"
        do_without_words(EditStack(blind), "generate", advice)
    if len(blind) == len(stack.parts) and mode != "sequential":
        return stack, None
    if mode == "sequential":
        count = 0 if _sees(stack.parts[0]) else 1
        drawing, later = stack.parts[:count], stack.parts[count:]
    else:
        drawing, later = blind, [part for part in stack.parts if _sees(part)]
    # An edit that does not see the picture does without its instruction in every mode.
    acting = [part if _sees(part) else _without_words(part) for part in later]
    return EditStack(drawing) if drawing else None, EditStack(acting) if acting else None


def _sees(part: tuple[Edit, float]) -> bool:
    return part[0].info.editor.reference


def _without_words(part: tuple[Edit, float]) -> tuple[Edit, float]:
    return EditStack([part]).without_words().parts[0]


def _check(model: FlowModel, size: tuple[int, int], steps: int, start_step: int) -> None:
    """Refuse a size (width, height) or steps that do not fit.

    Raises:
        UsageError: naming them.
    """
    width, height = size
    if width % model.multiple or height % model.multiple or min(width, height) < model.multiple:
        raise UsageError(
            f"{width} x {height} pixels do not fit {model.name}",
            expected=f"multiples of {model.multiple}",
        )
    if steps < 1 or not 0 <= start_step <= steps:
        raise UsageError(
            f"start_step {start_step} of {counted(steps, 'step')}", expected="0 to steps"
        )


def check_prompts(prompt: str, asked: GenerateOptions) -> None:
    """Refuse classifier-free guidance of a prompt against itself.

    Raises:
        UsageError: saying so.
    """
    if asked.cfg != 1 and prompt == asked.negative_prompt:
        raise UsageError(
            f"cfg {asked.cfg:g} would change nothing: the prompt and the negative prompt are both "
            f"{prompt!r}",
            next_step="Leave cfg out, or say another prompt or negative prompt",
        )


def _conditioned(model: FlowModel, prompt: str, asked: GenerateOptions) -> ConditionedModel:
    """The model with what it is told, and without references."""
    guidance = model.default_guidance if asked.guidance is None else asked.guidance
    prompts = [prompt] if asked.cfg == 1 else [prompt, asked.negative_prompt]
    conditions = each_condition(model, prompts)
    return ConditionedModel(model, conditions[0], guidance, conditions[-1], asked.cfg)


def _seeing(
    model: ConditionedModel, pictures: Sequence[Image.Image], sizes: Sequence[tuple[int, int]]
) -> ConditionedModel:
    """The model with pictures as references, each at its size (width, height)."""
    latents = tuple(
        model.base.encode(to_tensor(resized(as_rgb(picture), size)))
        for picture, size in zip(pictures, sizes, strict=True)
    )
    return replace(model, condition=replace(model.condition, references=latents))


@torch.no_grad()
def _drawn(
    model: ConditionedModel,
    x: torch.Tensor,
    sigmas: torch.Tensor,
    stack: EditStack | None,
    mode: str,
    start_step: int,
    hook: Callable[[int, int], None],
) -> torch.Tensor:
    """Latents drawn from the noise x [1, C, h, w], with the stack's edits from start_step on; one
    edit is the same in every mode."""
    if stack is None:
        return solvers.euler(x, sigmas, lambda x, sigma, _: model.velocity(x, sigma), hook)
    with attached_stack(model, stack, "guided" if mode == "guided" else "merged") as velocities:

        def velocity(x: torch.Tensor, sigma: torch.Tensor, step: int) -> torch.Tensor:
            one = velocities.edited if step >= start_step else velocities.plain
            return one(x, sigma).to(model.base.dtype)

        return solvers.euler(x, sigmas, velocity, hook)
