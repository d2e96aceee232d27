"""Answering an analogy a : a′ :: b with a learned basis, in a single pass of the base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow import solvers
from pairedit_sdk.images.image import resized, to_image
from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lorweb.rows import cell_size, laid_out, require_kontext
from pairedit_sdk.models.image_encoder import ImageEncoder, load_encoder
from pairedit_sdk.models.prompts import prompt_condition

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import Condition, FlowBase

#: What FLUX.1-Kontext is usually sampled with.
STEPS, GUIDANCE = 28, 2.5


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


def answer(
    base: FlowBase, basis: LoRWeBBasis, a: Image.Image, a_prime: Image.Image, b: Image.Image, *,
    prompt: str = "", encoder: ImageEncoder | None = None, layout: str | None = None,
    steps: int = STEPS, guidance: float = GUIDANCE, seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Answer:  # fmt: skip
    """Do to b what was done from a to a′.

    Args:
        base: the Kontext that the basis was trained on.
        basis: mixes itself for this analogy.
        a: before.
        a_prime: after.
        b: the picture to be edited.
        prompt: what is asked for, in words, besides.
        encoder: the basis's own; ``None`` loads it.
        layout: "grid" or "sequence"; ``None`` is what the basis was trained with.
        steps: Euler steps.
        guidance: distilled guidance.
        seed: of the noise.
        on_step: called with (done, total).

    Raises:
        BaseModelError: a base that does not look at pictures.
        EditError: another base, or an encoder that does not fit.
    """
    basis.require_base(base)
    encoder = encoder or load_encoder(basis.info.encoder)
    coefficients = basis.coefficients(basis.embed(encoder, a, a_prime, b))
    mix = basis.mixed(coefficients)
    settings = basis.info.settings
    size = cell_size(base, b, settings.resolution)
    b_prime = answer_with(
        base, mix, *(resized(picture, size) for picture in (a, a_prime, b)), prompt=prompt,
        layout=layout or settings.layout, steps=steps, guidance=guidance, seed=seed,
        on_step=on_step,
    )  # fmt: skip
    mean = dict(zip(basis.elements, coefficients.mean(dim=0).tolist(), strict=True))
    return Answer(resized(b_prime, b.size), mean, mix)


def answer_with(
    base: FlowBase, mix: Edit | None, a: Image.Image, a_prime: Image.Image, b: Image.Image, *,
    prompt: str = "", layout: str = "grid", steps: int = STEPS, guidance: float = GUIDANCE,
    seed: int = 0, on_step: Callable[[int, int], None] | None = None,
) -> Image.Image:  # fmt: skip
    """b′ with a mix that is known, or with the base alone; pictures of the base's size."""
    looking = require_kontext(base)
    like, references = laid_out(looking, layout, a, a_prime, b, b)
    condition = replace(prompt_condition(base, prompt), references=references)
    with attached(base.transformer, {} if mix is None else {"mix": mix.layers}):
        return sampled(
            base, condition, like.shape, layout=layout, steps=steps, guidance=guidance, seed=seed,
            on_step=on_step,
        )  # fmt: skip


@torch.no_grad()
def sampled(
    base: FlowBase, condition: Condition, shape: Sequence[int], *, layout: str,
    steps: int = STEPS, guidance: float = GUIDANCE, seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Image.Image:  # fmt: skip
    """b′ from noise, with whatever is attached to the base; of a grid its last quarter.

    Args:
        base: a Kontext.
        condition: what is said, and the pictures that are looked at.
        shape: of the latents that are drawn.
        layout: "grid" or "sequence".
        steps: Euler steps.
        guidance: distilled guidance.
        seed: of the noise.
        on_step: called with (done, total).
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=base.dtype).to(base.device)
    sigmas = base.sigmas(steps, *base.image_size(x))
    hook = on_step or (lambda done, total: None)
    x = solvers.euler(
        x, sigmas, lambda x, sigma, _: base.velocity(x, sigma, condition, guidance), hook
    )
    picture = to_image(base.decode(x))
    if layout == "grid":
        width, height = picture.size
        return picture.crop((width // 2, height // 2, width, height))
    return picture
