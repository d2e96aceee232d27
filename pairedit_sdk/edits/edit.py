"""A learned edit: a semantic LoRA with what is known about it, in one safetensors file.

Beside the LoRA an instruction may act, see :mod:`pairedit_sdk.editing.told`.

``edit @ 0.8`` gives it a strength, ``a @ 1 + b @ 0.5`` adds edits; both are an :class:`EditStack`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.edit_words import acting, lora_beside_words
from pairedit_sdk.edits.guidance import own_guidance
from pairedit_sdk.edits.learned_on import require_base
from pairedit_sdk.edits.merging import acting_words, merged_parts, summed_layers
from pairedit_sdk.edits.metadata import (
    EditDirection,
    EditInfo,
    EditorSettings,
    description,
    modelspec,
    read_description,
)
from pairedit_sdk.errors import EditError, UsageError, counted
from pairedit_sdk.io.files import write_tensors
from pairedit_sdk.lora.files import read_lora_header
from pairedit_sdk.lora.formats import to_diffusers
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.reading import LoraFile, read_lora

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")
#: Why an edit does nothing, and what to do about it.
IDLE = "every layer of its LoRA is zero, as before training. Train it again, or take another file."

__all__ = ["Edit", "EditDirection", "EditInfo", "EditStack", "EditorSettings"]


class Edit:
    """A learned edit.

    Args:
        layers: the update of each layer, by the layer's name in the transformer; none for an edit
            that acts by its instruction alone, see :class:`pairedit_sdk.Instruction`.
        info: what is known about it.

    Raises:
        EditError: there are no layers, and no instruction that acts.
    """

    def __init__(self, layers: Mapping[str, LoraLayer], info: EditInfo) -> None:
        if not layers and not acting(info):
            raise EditError(f"Edit {info.name!r} has no layers")
        self.layers = dict(layers)
        self.info = info
        self._noted = False

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def is_instruction(self) -> bool:
        """Whether an instruction is all that it is."""
        return not self.layers

    def with_info(self, **changes: Any) -> Edit:
        """The same edit with some of its :class:`EditInfo` changed."""
        return Edit(self.layers, replace(self.info, **changes))

    def with_rank(self, rank: int) -> tuple[Edit, float]:
        """The same edit at no more than a rank, as near as can be, and the relative error of its
        update, 0 … 1, see :func:`pairedit_sdk.lora.compression.compressed`.

        Raises:
            UsageError: the rank is below 1.
        """
        from pairedit_sdk.lora.compression import compressed  # brings torch along

        layers, error = compressed(self.layers, rank)
        held = max((layer.rank for layer in layers.values()), default=0)
        return Edit(layers, replace(self.info, rank=held)), error

    def __matmul__(self, scale: float) -> EditStack:
        return EditStack([(self, scale)])

    def __add__(self, other: Edit | EditStack) -> EditStack:
        return (self @ 1.0) + other

    def __repr__(self) -> str:
        return f"<Edit {self.name}: {counted(len(self.layers), 'layer')}, rank {self.info.rank}>"

    def save(self, path: str | Path) -> Path:
        """Write the edit as one safetensors file that stock diffusers loads as a LoRA.

        Raises:
            UsageError: it has no layers, so that there is nothing that a file could hold.
        """
        if not self.layers:
            raise UsageError(
                f"The instruction {self.name!r} cannot be saved as an edit",
                expected="an edit with a LoRA",
                got="an instruction alone",
                next_step="Say it again wherever it is wanted (Instruction, or --instruction), or "
                "add it to a learned edit: edit.with_info(words=[EditWords(…)])",
            )
        tensors, header = to_diffusers(self.layers)
        return write_tensors(Path(path), tensors, {**header, **self.header()})

    def header(self) -> dict[str, str]:
        """What a file's metadata says of the edit, for this SDK and for other tools."""
        return {"pairedit": description(self.info), **modelspec(self.info)}

    @classmethod
    def load(cls, path: str | Path) -> Edit:
        """Read an edit, or another tool's LoRA, see :mod:`pairedit_sdk.lora.formats`.

        Raises:
            EditError: no such file, not safetensors, damaged, or no whole LoRA.
        """
        path = Path(path)
        return cls.of_file(read_lora(path), path)

    @classmethod
    def of_file(cls, found: LoraFile, path: Path) -> Edit:
        """An edit of what was read from ``path``."""
        rank = max(layer.rank for layer in found.layers.values())
        return cls(found.layers, read_description(found.header, rank, path))

    @staticmethod
    def read_info(path: str | Path) -> EditInfo:
        """What is known about an edit, from the file's header alone.

        Raises:
            EditError: as :meth:`load`.
        """
        path = Path(path)
        header, ranks = read_lora_header(path)
        return read_description(header, max(ranks, default=0), path)

    def require_base(self, model: FlowModel, *, siblings: bool = True) -> None:
        """Refuse a model that the edit does not work on, see :mod:`pairedit_sdk.edits.learned_on`.
        An edit that does nothing says so here, as this is called wherever one is applied.

        Args:
            model: it works on the one that it was learned on.
            siblings: whether a sibling of that will do, such as the model distilled from it.

        Raises:
            EditError: naming both models, or a layer that the sibling does not have.
        """
        require_base(self, model, siblings=siblings)
        self.warn_if_idle()

    @property
    def is_idle(self) -> bool:
        """Whether it changes no weight at all, as in every layer A or B is zero, and says nothing
        to the model either."""
        return not acting(self.info) and not any(
            bool(layer.up.any()) and bool(layer.down.any()) for layer in self.layers.values()
        )

    def warn_if_idle(self) -> None:
        """Log a warning, once for this object, if the edit does nothing."""
        if not self._noted and self.is_idle:
            _log.warning("Edit %s does nothing: %s", self.name, IDLE)
        self._noted = True


class EditStack:
    """A weighted sum of edits. ``stack @ s`` scales all of it, ``+`` adds more.

    Attributes:
        default_mode: how the edits act together on a picture unless something else is said.
    """

    default_mode = "guided"

    def __init__(self, parts: Iterable[tuple[Edit, float]]) -> None:
        self.parts = [(edit, _checked(scale, edit)) for edit, scale in parts]
        if not self.parts:
            raise UsageError("A sum of no edits")

    def __matmul__(self, scale: float) -> EditStack:
        return EditStack([(edit, own * scale) for edit, own in self.parts])

    def __add__(self, other: Edit | EditStack) -> EditStack:
        more = [(other, 1.0)] if isinstance(other, Edit) else other.parts
        return EditStack([*self.parts, *more])

    def __repr__(self) -> str:
        return " + ".join(f"{edit.name} @ {scale:g}" for edit, scale in self.parts)

    def without_repeats(self) -> EditStack:
        """The same sum with every edit in it once, at the sum of its scales."""
        scales: dict[int, float] = {}
        edits = {id(edit): edit for edit, _ in self.parts}
        for edit, scale in self.parts:
            scales[id(edit)] = scales.get(id(edit), 0.0) + scale
        return EditStack([(edits[key], scale) for key, scale in scales.items()])

    def without_words(self) -> EditStack:
        """The same sum in which no instruction acts: those of edits describe them, and parts that
        are nothing else are left out.

        Raises:
            UsageError: nothing is left.
        """
        return EditStack(
            (edit.with_info(words=[replace(words, scale=0.0) for words in edit.info.words]), scale)
            for edit, scale in self.parts
            if not edit.is_instruction
        )

    def beside_words(self) -> EditStack:
        """The LoRAs alone, each at the scale that it has while its edit's instructions act.

        Raises:
            UsageError: no part has a LoRA.
        """
        return EditStack(
            (edit, scale * lora_beside_words(edit.info))
            for edit, scale in self.parts
            if edit.layers
        ).without_words()

    @property
    def is_zero(self) -> bool:
        """Whether every scale is 0, so that nothing can change."""
        return all(scale == 0 for _, scale in self.parts)

    @property
    def words(self) -> dict[str, float]:
        """The instructions that act, each with the sum of its scales over the parts."""
        return acting_words((edit.info, scale) for edit, scale in self.parts)

    @property
    def guidance(self) -> float:
        """The distilled guidance that the parts were trained with, see
        :func:`pairedit_sdk.edits.guidance.own_guidance`.

        Raises:
            UsageError: it differs between parts that have an effect.
        """
        return own_guidance(self)

    @property
    def editor(self) -> EditorSettings:
        """Settings that suit all parts that have an effect: the most steps and noises that any of
        them wants, the least damping, and a scale limit where one wants that."""
        active = [edit.info.editor for edit, scale in self.parts if scale != 0]
        every = active or [self.parts[0][0].info.editor]
        return EditorSettings(
            max(e.steps for e in every),
            max(e.n_avg for e in every),
            min(e.threshold for e in every),
            any(e.limit_scale for e in every),
            any(e.reference for e in every),
        )

    def layers(self) -> dict[str, LoraLayer]:
        """The sum as one LoRA, exactly: ranks are concatenated, scales go into B.

        ``ΔW = Σ s_i B_i A_i = [s_1 B_1, s_2 B_2, …] [A_1; A_2; …]``

        Instructions are no part of it.

        Raises:
            EditError: two edits have a layer of one name and different shapes.
        """
        return summed_layers(self)

    def merged(self, name: str, guidance: float | None = None) -> Edit:
        """The sum as a new edit. The instructions that act go along, each at the sum of its scales;
        the LoRA is then what they leave to the LoRAs of their edits. Instructions that only
        describe the parts do not describe the sum.

        Args:
            name: of the new edit.
            guidance: its distilled guidance; ``None`` is the edits' own.

        Raises:
            UsageError: the edits' own guidance differs, and none is given; or no edit has a LoRA.
            EditError: the edits were learned on different models, or their shapes differ.
        """
        return Edit(*merged_parts(self, name, guidance))


def _checked(scale: float, edit: Edit) -> float:
    value = float(scale)
    if not math.isfinite(value):
        raise UsageError(f"The scale of edit {edit.name!r} is {scale}", expected="a finite number")
    return value
