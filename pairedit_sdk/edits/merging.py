"""A sum of edits as one: its LoRA, what is known about it, and its instructions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pairedit_sdk.edits.edit_words import EditWords, acting
from pairedit_sdk.edits.learned_on import work_together
from pairedit_sdk.edits.metadata import EditInfo
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import EditStack


def summed_layers(stack: EditStack) -> dict[str, LoraLayer]:
    """``ΔW = Σ s_i B_i A_i = [s_1 B_1, s_2 B_2, …] [A_1; A_2; …]``, layer by layer.

    Returns:
        A [Σ r_i, in] and B [out, Σ r_i] of each layer.

    Raises:
        EditError: two edits have a layer of one name and different shapes.
    """
    import torch

    merged: dict[str, LoraLayer] = {}
    for name in sorted({n for edit, _ in stack.parts for n in edit.layers}):
        having = [(e.layers[name], s) for e, s in stack.parts if name in e.layers]
        shapes = {(layer.up.shape[0], layer.down.shape[1]) for layer, _ in having}
        if len(shapes) > 1:
            raise EditError(
                f"{stack!r} mixes edits whose layer {name} differs in shape",
                got=" and ".join(f"{out} x {into}" for out, into in sorted(shapes)),
                next_step="Use edits that were learned on one model",
            )
        down = torch.cat([layer.down.float() for layer, _ in having])
        up = torch.cat([layer.up.float() * s for layer, s in having], dim=1)
        merged[name] = LoraLayer(down, up)
    return merged


def acting_words(parts: Iterable[tuple[EditInfo, float]]) -> dict[str, float]:
    """The instructions that act in a sum, each with the sum of its scales over the parts.

    Args:
        parts: what is known about each edit, and its scale.
    """
    found: dict[str, float] = {}
    for info, scale in parts:
        for words in acting(info):
            found[words.phrase] = found.get(words.phrase, 0.0) + scale * words.scale
    return {phrase: scale for phrase, scale in found.items() if scale}


def merged_parts(
    stack: EditStack, name: str, guidance: float | None
) -> tuple[dict[str, LoraLayer], EditInfo]:
    """The layers of a sum, and what is known about it; see :meth:`EditStack.merged`.

    Args:
        stack: the sum.
        name: of the new edit.
        guidance: its distilled guidance; ``None`` is the edits' own.

    Raises:
        UsageError: the edits' own guidance differs, and none is given; or no edit has a LoRA.
        EditError: the edits were learned on different models, or their shapes differ.
    """
    info = _info(stack, name)
    # What the words leave to each LoRA, as it can be said of the sum no more.
    layers = summed_layers(stack.beside_words())
    return layers, replace(
        info,
        guidance=stack.guidance if guidance is None else guidance,
        rank=max(layer.rank for layer in layers.values()),
        # What is one LoRA now cannot be told apart by what the pairs of each part show.
        editor=replace(stack.editor, limit_scale=False),
        words=[EditWords(phrase, scale) for phrase, scale in stack.words.items()],
    )


def _info(stack: EditStack, name: str) -> EditInfo:
    """What a sum takes from its parts' descriptions. Of edits of sibling models the first says the
    model.

    Raises:
        EditError: the edits were learned on different models that are no siblings.
        UsageError: none of them has any layer, or one is a shown change.
    """
    learned = [edit.info for edit, _ in stack.parts if edit.layers]
    shown = [edit.name for edit, _ in stack.parts if not edit.layers and not edit.is_instruction]
    if shown:
        raise UsageError(
            f"The shown change {shown[0]!r} cannot be a part of one edit",
            expected="learned edits, and instructions",
            next_step="Leave it out, and add it wherever the edit is used",
        )
    if not learned:
        raise UsageError(
            f"{stack!r} has no LoRA that could be merged",
            expected="at least one learned edit",
            got="instructions alone",
            next_step="Add a learned edit",
        )
    # A LoRA from elsewhere says nothing of its model.
    own = [info for info in learned if info.base_fingerprint]
    if not work_together(own):
        raise EditError(
            f"{stack!r} mixes edits of different models",
            got=", ".join(f"{info.name} on {info.base} ({info.base_fingerprint})" for info in own),
            next_step="Train them on one model",
        )
    first = (own or learned)[0]
    return EditInfo(
        name=name,
        base=first.base,
        architecture=first.architecture,
        base_fingerprint=first.base_fingerprint,
        precision=next(
            (kind for kind in ("nf4", "int8") if any(i.precision == kind for i in own)),
            first.precision,
        ),
        resolution=max(info.resolution for info in learned),
        parts=[(edit.name, scale) for edit, scale in stack.parts],
        created=EditInfo.now(),
        sdk_version=first.sdk_version,
    )
