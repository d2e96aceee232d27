"""An edit by what is shown: the change from a picture a to a picture a′, in the place of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.guidance import GUIDANCE
from pairedit_sdk.edits.instruction import EDITOR
from pairedit_sdk.edits.metadata import EditInfo, EditorSettings
from pairedit_sdk.errors import EditError, UsageError

if TYPE_CHECKING:
    import torch

    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.lora.layers import LoraLayer


class ShownChange(Edit):
    """The change a : a′ as an edit: what a model is told and shown of it, and a LoRA that helps it.

    It is scaled, added and applied like any other edit, but only on an edit model, and it cannot be
    saved. Nothing is learned: :func:`pairedit_sdk.lorweb.shown.shown_change` makes one of two
    pictures and a LoRWeB basis. See :mod:`pairedit_sdk.editing.told`.

    The LoRA acts only while the model is told and shown the rest. So it is none of :attr:`layers`,
    which an edit brings into a sum of LoRAs, and a scale is one of the change, not of the LoRA.

    Args:
        name: what the change is called.
        layers: the LoRA, by the layer's name in the transformer; may be empty.
        tokens: embeddings behind the prompt's own, [1, k, D].
        pooled: added to the prompt's pooled embedding, [1, P]; without effect on models that have
            none.
        references: latents of a and a′ [1, C, h, w], which the model sees behind the picture that
            is edited: (x, a, a′). Without them it sees x alone.
        editor: how FlowEdit applies it; ``None`` is as for an instruction.
        info: what else is known, such as ``base`` and ``base_fingerprint`` of the model.
        prompt: a text that the model is told besides, such as a coarse "make the hair".

    Attributes:
        mix: the LoRA.
        tokens, pooled, references, prompt: as they were given.

    Raises:
        EditError: there is nothing to be told or shown, and no LoRA; or a tensor has another number
            of dimensions, or more than one row.
    """

    def __init__(
        self,
        name: str,
        layers: Mapping[str, LoraLayer] | None = None,
        *,
        tokens: torch.Tensor | None = None,
        pooled: torch.Tensor | None = None,
        references: tuple[torch.Tensor, ...] = (),
        editor: EditorSettings | None = None,
        info: EditInfo | None = None,
        prompt: str = "",
    ) -> None:
        self.mix = dict(layers or {})
        self.tokens, self.pooled, self.references = tokens, pooled, tuple(references)
        self.prompt = prompt
        self.layers: dict[str, LoraLayer] = {}
        sees = replace(editor or EDITOR, reference=True)
        known = info or EditInfo(name, guidance=GUIDANCE)
        self.info = replace(known, name=name, editor=sees, words=[])
        self._noted = False
        self._check()

    def _check(self) -> None:
        given = [("tokens", self.tokens, 3), ("pooled", self.pooled, 2)]
        given += [("a reference", picture, 4) for picture in self.references]
        there = [(what, tensor, wanted) for what, tensor, wanted in given if tensor is not None]
        if not there and not self.mix and not self.prompt:
            raise EditError(f"The shown change {self.name!r} shows nothing")
        for what, tensor, wanted in there:
            if tensor.ndim != wanted or len(tensor) != 1:
                raise EditError(
                    f"The shown change {self.name!r}: {what}",
                    expected=f"a tensor of {wanted} dimensions, the first of them 1",
                    got=f"{list(tensor.shape)}",
                )

    @property
    def is_instruction(self) -> bool:
        return False

    @property
    def is_idle(self) -> bool:
        """Whether it changes no weight, and tells and shows nothing either."""
        if self.prompt or self.references:
            return False
        if self.tokens is not None or self.pooled is not None:
            return False
        return not any(bool(one.up.any()) and bool(one.down.any()) for one in self.mix.values())

    def with_info(self, **changes: Any) -> ShownChange:
        """The same change with some of its :class:`EditInfo` changed."""
        info = replace(self.info, **changes)
        return ShownChange(
            info.name,
            self.mix,
            tokens=self.tokens,
            pooled=self.pooled,
            references=self.references,
            editor=info.editor,
            info=info,
            prompt=self.prompt,
        )

    def with_rank(self, rank: int) -> tuple[Edit, float]:
        """There is no such change of a lower rank.

        Raises:
            UsageError: always.
        """
        raise self._refusal("cannot be brought to a rank")

    def save(self, path: str | Path) -> Path:
        """What is told and shown has no place in the file of a LoRA.

        Raises:
            UsageError: always.
        """
        raise self._refusal("cannot be saved as an edit")

    def _refusal(self, what: str) -> UsageError:
        told = self.prompt or self.tokens is not None or self.pooled is not None
        alone = not told and not self.references
        return UsageError(
            f"The shown change {self.name!r} {what}",
            expected="an edit with a LoRA",
            got="a change that the model is shown",
            next_step="Take its LoRA alone, which is all of it: Edit(change.mix, change.info)"
            if alone
            else "Keep the pictures a and a\N{PRIME}, and show them again wherever it is wanted",
        )

    def __repr__(self) -> str:
        return f"<ShownChange {self.name!r}>"


def shown_parts(stack: EditStack) -> list[tuple[ShownChange, float]]:
    """The shown changes of a sum that act, with their scales."""
    return [
        (edit, scale) for edit, scale in stack.parts if isinstance(edit, ShownChange) and scale != 0
    ]
