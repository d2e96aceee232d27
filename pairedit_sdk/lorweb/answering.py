"""Answering an analogy a : a′ :: b with a learned basis, in a single pass of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, Unpack

import torch

from pairedit_sdk.edits.guidance import instruction_guidance
from pairedit_sdk.flow import solvers
from pairedit_sdk.images.image import resized, to_image
from pairedit_sdk.lora.adapters import attached, set_scales
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lorweb.delta import PairFeatures
from pairedit_sdk.lorweb.mixing import side_by_side
from pairedit_sdk.lorweb.rows import batched, cell_size, laid_out, require_edit_model
from pairedit_sdk.models.image_encoder import ImageEncoder, load_encoder
from pairedit_sdk.models.prompts import prompt_condition
from pairedit_sdk.models.protocol import told

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.rows import Shown
    from pairedit_sdk.models.protocol import Condition, FlowModel

STEPS = 28


@dataclass(frozen=True)
class Answer:
    """What was made of b.

    Attributes:
        b_prime: as large as b.
        coefficients: mean over the weights of what each element of the basis had in the mix.
        mix: the mix, an ordinary LoRA, which may be used again.
    """

    b_prime: Image.Image
    coefficients: dict[str, float]
    mix: Edit


class AnswerSettings(TypedDict, total=False):
    """The fields of :class:`AnswerOptions` as keyword arguments."""

    prompt: str
    layout: str | None
    steps: int
    guidance: float | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How an analogy is answered.

    Attributes:
        prompt: what is asked for, in words, besides.
        layout: "grid", "sequence" or "alone"; ``None`` is what the basis was trained with, or
            "grid".
        steps: Euler steps.
        guidance: distilled guidance; ``None`` is what the model follows instructions with.
        seed: of the noise.
    """

    prompt: str = ""
    layout: str | None = None
    steps: int = STEPS
    guidance: float | None = None
    seed: int = 0


def answer(
    model: FlowModel,
    basis: LoRWeBBasis,
    a: Image.Image,
    a_prime: Image.Image,
    b: Image.Image,
    *,
    encoder: ImageEncoder | None = None,
    on_step: Callable[[int, int], None] | None = None,
    **settings: Unpack[AnswerSettings],
) -> Answer:
    """Do to b what was done from a to a′.

    Args:
        model: the edit model that the basis was trained on.
        basis: mixes itself for this analogy.
        a: before.
        a_prime: after.
        b: the picture to be edited.
        encoder: the basis's own; ``None`` loads it.
        on_step: called with (done, total).
        settings: the fields of :class:`AnswerOptions`.

    Raises:
        BaseModelError: a model that does not look at pictures.
        EditError: another model, or an encoder that does not fit.
    """
    basis.require_base(model)
    encoder = encoder or load_encoder(basis.info.encoder)
    options = AnswerOptions(**settings)
    trained = basis.info.settings
    coefficients = basis.coefficients(basis.embed(encoder, a, a_prime, b))
    mix = basis.mixed(coefficients)
    size = cell_size(model, b, trained.resolution)
    pictures = [resized(picture, size) for picture in (a, a_prime, b)]
    options = replace(options, layout=options.layout or trained.layout)
    said = basis.condition(encoder, a, a_prime, prompt_condition(model, options.prompt))
    b_prime = _answered(model, mix, pictures, options, on_step, said)
    mean = dict(zip(basis.elements, coefficients.mean(dim=0).tolist(), strict=True))
    return Answer(resized(b_prime, b.size), mean, mix)


def answer_with(
    model: FlowModel,
    mix: Edit | None,
    a: Image.Image,
    a_prime: Image.Image,
    b: Image.Image,
    *,
    on_step: Callable[[int, int], None] | None = None,
    **settings: Unpack[AnswerSettings],
) -> Image.Image:
    """b′ with a mix that is known, or with the model alone; pictures of the model's size."""
    return _answered(model, mix, [a, a_prime, b], AnswerOptions(**settings), on_step)


@holding
def _answered(
    model: FlowModel,
    mix: Edit | None,
    pictures: Sequence[Image.Image],
    options: AnswerOptions,
    on_step: Callable[[int, int], None] | None,
    said: Condition | None = None,
) -> Image.Image:
    a, a_prime, b = pictures
    layout = options.layout or "grid"
    like, references = laid_out(require_edit_model(model), layout, a, a_prime, b, b)
    said = said or prompt_condition(model, options.prompt)
    condition = replace(said, references=references)
    layers = {} if mix is None else mix.layers
    with attached(model.transformer, {"mix": layers} if layers else {}):
        return sampled(
            model,
            condition,
            like.shape,
            layout=layout,
            steps=options.steps,
            guidance=options.guidance,
            seed=options.seed,
            on_step=on_step,
        )


@holding
@torch.no_grad()
def answer_rows(
    model: FlowModel,
    basis: LoRWeBBasis | None,
    rows: Sequence[Shown],
    prompts: Sequence[str],
    *,
    layout: str,
    steps: int = STEPS,
    guidance: float | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """b′ of several analogies in one pass a step, each with its own mix and from the same noise.

    Args:
        model: an edit model.
        basis: without own edits; ``None`` is the model alone.
        rows: B analogies whose pictures have one size, as :class:`.AnalogyRows` gives them.
        prompts: what is asked for, of each.
        layout: "sequence" or "alone", as the rows have it.
        steps: Euler steps.
        guidance: distilled guidance; ``None`` is what the model follows instructions with.
        seed: of the noise.

    Returns:
        Pictures [B, 3, H, W] in −1 … 1, on the CPU.

    Raises:
        ValueError: own edits have joined the basis, or a layout of a grid.
    """
    if layout == "grid" or (basis is not None and basis.joined):
        raise ValueError("answer_rows: expected a basis of its own LoRAs alone, and no grid")
    said = [prompt_condition(model, prompt) for prompt in prompts]
    condition = batched(said, rows, model.device)
    loras = {}
    if basis is not None:
        if basis.delta is not None:
            seen = PairFeatures.joined([row.features for row in rows if row.features is not None])
            condition = told(condition, *basis.delta(seen))
        if basis.layers:
            loras = {"basis": {name: side_by_side(one) for name, one in basis.layers.items()}}
    with attached(model.transformer, loras):
        if basis is not None and loras:
            e = basis.coefficients_of(torch.stack([row.query for row in rows]))  # [B, W, N]
            scales = {
                name: basis.of_weight(e, name).repeat_interleave(layer.down.shape[1], dim=-1)
                for name, layer in basis.layers.items()
            }
            set_scales(
                model.transformer, {"basis": {n: s.to(model.device) for n, s in scales.items()}}
            )
        x = drawn_latents(
            model,
            condition,
            rows[0].target.shape,
            steps=steps,
            guidance=guidance,
            seed=seed,
            rows=len(rows),
        )
    return model.decode(x).cpu()


@holding
@torch.no_grad()
def drawn_latents(
    model: FlowModel,
    condition: Condition,
    shape: Sequence[int],
    *,
    steps: int = STEPS,
    guidance: float | None = None,
    seed: int = 0,
    rows: int = 1,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Latents from noise, with whatever is attached to the model.

    Args:
        model: an edit model.
        condition: what is said, and the pictures that are looked at.
        shape: of the latents that are drawn.
        steps: Euler steps.
        guidance: distilled guidance; ``None`` is :func:`.instruction_guidance` of the model.
        seed: of the noise.
        rows: of the condition; all begin with the same noise.
        on_step: called with (done, total).
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=model.dtype).to(model.device)
    x = x if rows == 1 else x.expand(rows, *x.shape[1:])
    sigmas = model.sigmas(steps, *model.image_size(x))
    hook = on_step or (lambda done, total: None)
    given = instruction_guidance(model) if guidance is None else guidance
    return solvers.euler(
        x, sigmas, lambda x, sigma, _: model.velocity(x, sigma, condition, given), hook
    )


def sampled(
    model: FlowModel,
    condition: Condition,
    shape: Sequence[int],
    *,
    layout: str,
    steps: int = STEPS,
    guidance: float | None = None,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Image.Image:
    """b′ from noise as a picture, of a grid its last quarter; otherwise as :func:`drawn_latents`.

    Args:
        model: an edit model.
        condition: what is said, and the pictures that are looked at.
        shape: of the latents that are drawn.
        layout: "grid", "sequence" or "alone".
        steps: Euler steps.
        guidance: distilled guidance.
        seed: of the noise.
        on_step: called with (done, total).
    """
    x = drawn_latents(
        model, condition, shape, steps=steps, guidance=guidance, seed=seed, on_step=on_step
    )
    picture = to_image(model.decode(x))
    if layout == "grid":
        width, height = picture.size
        return picture.crop((width // 2, height // 2, width, height))
    return picture
