"""What a LoRWeB basis makes of an analogy, as an edit that is scaled and added like any other."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from pairedit_sdk.edits.guidance import instruction_guidance
from pairedit_sdk.edits.shown import ShownChange
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.image import resized, to_tensor
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lorweb.rows import cell_size, require_edit_model
from pairedit_sdk.models.folders import BUILT_IN, EDIT_MODEL
from pairedit_sdk.models.image_encoder import ImageEncoder, load_encoder

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import FlowModel

#: The basis that comes with the built-in edit model; see docs/analogies.md.
SHIPPED = BUILT_IN[EDIT_MODEL] / "lorweb.safetensors"


@holding
def shown_change(
    model: FlowModel,
    basis: LoRWeBBasis,
    a: Image.Image,
    a_prime: Image.Image,
    b: Image.Image,
    *,
    encoder: ImageEncoder | None = None,
    name: str = "lorweb",
    prompt: str = "",
) -> ShownChange:
    """The change a : a′ as a basis sees it beside b.

    It is the basis's mix for this analogy, what its delta network says of the pair, and with the
    layout "sequence" a and a′ as references. ``info.parts`` has the mean coefficient of every
    element, by its name.

    Args:
        model: the edit model that the basis was trained on.
        basis: of the layout "sequence" or "alone".
        a: before.
        a_prime: after.
        b: the picture that is to be edited. Others may be edited with it too; the mix is for b.
        encoder: the basis's own; ``None`` loads it.
        name: of the edit.
        prompt: what the model is told beside it. A caption as coarse as those of the basis's
            training, "make the hair", helps a lot.

    Raises:
        UsageError: the basis's layout is a grid.
        BaseModelError: a model that does not look at pictures.
        EditError: another model, or an encoder that does not fit.
    """
    settings = basis.info.settings
    _require_no_grid(basis)
    require_edit_model(model)
    basis.require_base(model)
    encoder = encoder or load_encoder(basis.info.encoder)
    coefficients = basis.coefficients(basis.embed(encoder, a, a_prime, b))
    mix = basis.mixed(coefficients, name)
    tokens, pooled = basis.tokens_for(encoder, a, a_prime) or (None, None)
    references: tuple[torch.Tensor, ...] = ()
    if settings.layout == "sequence":
        size = cell_size(model, b, settings.resolution)
        seen = (resized(picture, size) for picture in (a, a_prime))
        references = tuple(model.encode(to_tensor(picture)).float() for picture in seen)
    mean = zip(basis.elements, coefficients.mean(dim=0).tolist(), strict=True)
    info = replace(mix.info, guidance=instruction_guidance(model), parts=list(mean))
    return ShownChange(
        name,
        mix.layers,
        tokens=tokens,
        pooled=pooled,
        references=references,
        info=info,
        prompt=prompt,
    )


def _require_no_grid(basis: LoRWeBBasis) -> None:
    if basis.info.settings.layout == "grid":
        raise UsageError(
            f"The basis {basis.info.name} sees an analogy as a grid, which cannot be an edit of "
            "one picture",
            expected="a basis of the layout sequence or alone",
            got="grid",
            next_step="Answer with `pairedit lorweb answer`, or train one with "
            "--set layout=sequence",
        )


def default_lorweb(model: str) -> LoRWeBBasis | None:
    """The basis that comes with the built-in edit model, which answers where none is chosen; other
    models have none. It is read once, and is not to be changed.

    Args:
        model: name or folder of the model in use, which need not be loaded.
    """
    if model == EDIT_MODEL:
        return _shipped()
    folder = os.path.realpath(os.path.expanduser(model))
    return _shipped() if folder == os.path.realpath(BUILT_IN[EDIT_MODEL]) else None


@cache
def _shipped() -> LoRWeBBasis | None:
    from pairedit_sdk.lorweb.basis import LoRWeBBasis

    # A model that was just built has none yet.
    return LoRWeBBasis.load(SHIPPED) if SHIPPED.exists() else None
