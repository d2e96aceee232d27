"""A learned edit: a semantic LoRA with what is known about it, in one safetensors file.

``edit @ 0.8`` gives it a strength, ``a @ 1 + b @ 0.5`` adds edits; both are an :class:`EditStack`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.metadata import (
    EditDirection,
    EditInfo,
    EditorSettings,
    description,
    read_description,
)
from pairedit_sdk.errors import EditError, UsageError, counted
from pairedit_sdk.io.files import write_tensors
from pairedit_sdk.lora.formats import LoraFile, read_lora, read_lora_header, to_diffusers
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")
#: Why an edit does nothing, and what to do about it.
IDLE = (
    "every layer of its LoRA is zero, as before the first training step. Train it again, or take "
    "another file."
)

__all__ = ["Edit", "EditDirection", "EditInfo", "EditStack", "EditorSettings"]


class Edit:
    """A learned edit.

    Args:
        layers: the update of each layer, by the layer's name in the transformer.
        info: what is known about it.
    """

    def __init__(self, layers: Mapping[str, LoraLayer], info: EditInfo) -> None:
        if not layers:
            raise EditError(f"Edit {info.name!r} has no layers")
        self.layers = dict(layers)
        self.info = info
        self._noted = False

    @property
    def name(self) -> str:
        return self.info.name

    def with_info(self, **changes: Any) -> Edit:
        """The same edit with some of its :class:`EditInfo` changed."""
        return Edit(self.layers, replace(self.info, **changes))

    def __matmul__(self, scale: float) -> EditStack:
        return EditStack([(self, scale)])

    def __add__(self, other: Edit | EditStack) -> EditStack:
        return (self @ 1.0) + other

    def __repr__(self) -> str:
        return f"<Edit {self.name}: {counted(len(self.layers), 'layer')}, rank {self.info.rank}>"

    def save(self, path: str | Path) -> Path:
        """Write the edit as one safetensors file that stock diffusers loads as a LoRA."""
        tensors, header = to_diffusers(self.layers)
        return write_tensors(Path(path), tensors, {**header, **self.header()})

    def header(self) -> dict[str, str]:
        """What a file's metadata says of the edit, for this SDK and for other tools."""
        return {"pairedit": description(self.info), **self._modelspec()}

    @classmethod
    def load(cls, path: str | Path) -> Edit:
        """Read an edit, or a LoRA of another tool; see :mod:`pairedit_sdk.lora.formats`.

        Raises:
            EditError: no such file, not safetensors, damaged, or no whole LoRA of FLUX.
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

    def require_base(self, model: FlowModel) -> None:
        """Refuse a model that the edit was not learned on. An edit that does nothing says so here,
        as this is called wherever one is applied.

        Raises:
            EditError: naming both models.
        """
        known = self.info.base_fingerprint
        if known and known != model.fingerprint:
            raise EditError(
                f"Edit {self.name!r} was learned on another model",
                expected=f"{self.info.base} ({known})",
                got=f"{model.name} ({model.fingerprint})",
                next_step=f"Load {self.info.base}, or train the edit again on {model.name}",
            )
        if self.info.editor.reference and not model.takes_references:
            raise EditError(
                f"Edit {self.name!r} is of a model that sees the picture that it edits",
                expected="an edit model, such as mini-kontext or FLUX.1-Kontext-dev",
                got=model.name,
                next_step="Load the model that the edit was learned on",
            )
        self.warn_if_idle()

    @property
    def is_idle(self) -> bool:
        """Whether it changes no weight at all: in every layer A or B is zero."""
        return not any(
            bool(layer.up.any()) and bool(layer.down.any()) for layer in self.layers.values()
        )

    def warn_if_idle(self) -> None:
        """Log a warning, once for this object, if the edit does nothing."""
        if not self._noted and self.is_idle:
            _log.warning("Edit %s does nothing: %s", self.name, IDLE)
        self._noted = True

    def _modelspec(self) -> dict[str, str]:
        side = self.info.resolution
        return {
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": f"{self.info.architecture}/lora",
            "modelspec.implementation": "diffusers",
            "modelspec.title": self.name,
            "modelspec.resolution": f"{side}x{side}",
            "modelspec.tags": "pairedit, image-editing",
            **({"modelspec.date": self.info.created} if self.info.created else {}),
            **({"modelspec.license": self.info.licence} if self.info.licence else {}),
        }


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

    @property
    def is_zero(self) -> bool:
        """Whether every scale is 0, so that nothing can change."""
        return all(scale == 0 for _, scale in self.parts)

    @property
    def guidance(self) -> float:
        """The distilled guidance that the parts were trained with.

        Raises:
            UsageError: it differs between parts that have an effect.
        """
        active = [edit.info for edit, scale in self.parts if scale != 0]
        known = {info.guidance for info in active or [self.parts[0][0].info]}
        if len(known) > 1:
            raise UsageError(
                "The edits were trained with different guidance",
                got=", ".join(f"{info.name} {info.guidance:g}" for info in active),
                next_step="Say which to use (guidance=…, or --guidance)",
            )
        return known.pop()

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

        Raises:
            EditError: two edits have a layer of one name and different shapes.
        """
        import torch

        merged: dict[str, LoraLayer] = {}
        for name in sorted({n for edit, _ in self.parts for n in edit.layers}):
            having = [(e.layers[name], s) for e, s in self.parts if name in e.layers]
            shapes = {(layer.up.shape[0], layer.down.shape[1]) for layer, _ in having}
            if len(shapes) > 1:
                raise EditError(
                    f"{self!r} mixes edits whose layer {name} differs in shape",
                    got=" and ".join(f"{out} x {into}" for out, into in sorted(shapes)),
                    next_step="Use edits that were learned on one model",
                )
            down = torch.cat([layer.down.float() for layer, _ in having])
            up = torch.cat([layer.up.float() * s for layer, s in having], dim=1)
            merged[name] = LoraLayer(down, up)
        return merged

    def merged(self, name: str, guidance: float | None = None) -> Edit:
        """The sum as a new edit.

        Args:
            name: of the new edit.
            guidance: its distilled guidance; ``None`` is the edits' own.

        Raises:
            UsageError: the edits' own guidance differs, and none is given.
            EditError: the edits were learned on different models, or their shapes differ.
        """
        # A LoRA from elsewhere says nothing of its model.
        own = [edit.info for edit, _ in self.parts if edit.info.base_fingerprint]
        if len({info.base_fingerprint for info in own}) > 1:
            raise EditError(
                f"{self!r} mixes edits of different models",
                got=", ".join(
                    f"{info.name} on {info.base} ({info.base_fingerprint})" for info in own
                ),
                next_step="Train them on one model",
            )
        first = (own or [self.parts[0][0].info])[0]
        layers = self.layers()
        info = EditInfo(
            name=name,
            base=first.base,
            architecture=first.architecture,
            base_fingerprint=first.base_fingerprint,
            precision=next(
                (kind for kind in ("nf4", "int8") if any(i.precision == kind for i in own)),
                first.precision,
            ),
            guidance=self.guidance if guidance is None else guidance,
            resolution=max(edit.info.resolution for edit, _ in self.parts),
            rank=max(layer.rank for layer in layers.values()),
            # What is one LoRA now cannot be told apart by what the pairs of each part show.
            editor=replace(self.editor, limit_scale=False),
            parts=[(edit.name, scale) for edit, scale in self.parts],
            created=EditInfo.now(),
            sdk_version=first.sdk_version,
        )
        return Edit(layers, info)


def _checked(scale: float, edit: Edit) -> float:
    value = float(scale)
    if not math.isfinite(value):
        raise UsageError(f"The scale of edit {edit.name!r} is {scale}", expected="a finite number")
    return value
