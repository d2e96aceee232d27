"""What is known about an edit: kept in its file, and taken from there with care.

A file has a ``schema``, raised when an older SDK can no longer read it, and a ``revision``, raised
with every other change. Revision 2 reads both spellings of what version 0.1 calls ``editor.even``
and ``shown`` with a ``size``. It writes the older one, so that 0.1 reads its files. Revision 3 adds
``words`` and ``editor.reference`` to the edits that have them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pairedit_sdk.edits.edit_words import EditWords, checked_words
from pairedit_sdk.edits.model_names import read_name, shared_name
from pairedit_sdk.errors import EditError

SCHEMA, REVISION = 1, 3
#: Settings that may name a folder or file of this machine.
_PLACES = ("base", "encoder")
_ARCHITECTURE, _RESOLUTION = "modelspec.architecture", "modelspec.resolution"
_ANEW = "Copy the file again, or train the edit again"


@dataclass(frozen=True)
class EditorSettings:
    """How FlowEdit applies an edit unless the user says otherwise; the defaults are published.

    Attributes:
        steps: length of the noise schedule, of which the last 24 / 28 run.
        n_avg: noises averaged in each step.
        threshold: damps small changes, see :func:`pairedit_sdk.flow.solvers.damped`.
        limit_scale: whether no picture is changed more than the pairs show, see
            :mod:`pairedit_sdk.editing.scale_limit`.
        reference: whether the model sees the picture that it edits, as a reference; only an edit
            model can.
    """

    steps: int = 28
    n_avg: int = 1
    threshold: float = 0.0
    limit_scale: bool = False
    reference: bool = False


@dataclass(frozen=True)
class EditDirection:
    """The direction in which an edit's pairs change an image encoder's embedding E [D].

    Attributes:
        direction: the mean of E(a′) − E(a) over the pairs, brought to length 1, [D].
        magnitude: the mean of (E(a′) − E(a)) · direction over the pairs; above 0.
        encoder: the encoder's name where the edit was learned; to be read, not to be loaded.
    """

    direction: list[float]
    magnitude: float
    encoder: str


@dataclass(frozen=True)
class EditInfo:
    """What an edit was learned from and on.

    Attributes:
        name: the edit's name.
        base: name of the model it was learned on; of one in a folder of this machine its absolute
            path, and in a file that was shared the folder's name.
        architecture: the model's kind, as in the modelspec standard.
        base_fingerprint: hash of the model's weights; an edit works on that model and its siblings.
        precision: precision of the frozen model.
        guidance: distilled guidance in training, also the default in use; 0 where the model takes
            none.
        resolution: side of the square with the training pictures' area, pixels.
        rank: the LoRA's rank; a sum of edits has the sum of their ranks.
        steps: optimiser steps.
        pairs: names of the training pairs.
        pairs_fingerprint: hash of their pictures; empty where it is not known.
        settings: the whole training configuration.
        unit_scale: the factor that gain and calibration have put into the LoRA.
        editor: how the edit is meant to be applied to pictures.
        direction: that the pairs show an image encoder; ``None`` where nobody asked.
        words: instructions that act together with the LoRA, or name the change; a learned edit has
            one at most, a sum those of its parts.
        parts: for a merged edit, the names and scales it is made of, in order.
        created: UTC time, ISO 8601; empty in a file that should depend on the training alone.
        licence: under which the edit may be used, in its owner's words.
        sdk_version: version of this package.
    """

    name: str
    base: str = ""
    architecture: str = ""
    base_fingerprint: str = ""
    precision: str = ""
    guidance: float = 3.5
    resolution: int = 0
    rank: int = 0
    steps: int = 0
    pairs: list[str] = field(default_factory=list)
    pairs_fingerprint: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    unit_scale: float = 1.0
    editor: EditorSettings = field(default_factory=EditorSettings)
    direction: EditDirection | None = None
    words: list[EditWords] = field(default_factory=list)
    parts: list[tuple[str, float]] = field(default_factory=list)
    created: str = ""
    licence: str = ""
    sdk_version: str = ""

    @staticmethod
    def now() -> str:
        """The present moment for ``created``."""
        return datetime.now(UTC).isoformat(timespec="seconds")


def shareable(info: EditInfo) -> EditInfo:
    """``info`` without the folders of this machine, for a file that others get.

    Of a model or image encoder in a folder the folder's own name stays, and the fingerprint tells
    whether a model is the right one; see :func:`~pairedit_sdk.edits.model_names.shared_name`.
    """
    base, direction = shared_name(info.base), info.direction
    settings = {
        key: shared_name(value) if key in _PLACES and isinstance(value, str) else value
        for key, value in info.settings.items()
    }
    if direction is not None:
        direction = replace(direction, encoder=shared_name(direction.encoder))
    return replace(info, base=base, settings=settings, direction=direction)


def description(info: EditInfo) -> str:
    """``info`` as a file's metadata says it, in the spelling that version 0.1 reads too.

    Raises:
        EditError: a number in it is not finite, which no reader would believe.
    """
    values = asdict(info)
    values["editor"]["even"] = values["editor"].pop("limit_scale")
    if not info.editor.reference:  # what earlier versions do not know, they need not read
        del values["editor"]["reference"]
    if not info.words:
        del values["words"]
    seen = values["shown"] = values.pop("direction")
    if seen is not None:
        seen["size"] = seen.pop("magnitude")
    wrong = [name for name, value in values.items() if not _is_finite(value)]
    if wrong:
        raise EditError(
            f"The edit {info.name} cannot be written: a number in its description is none",
            expected="finite numbers",
            got=f"nan or inf in {', '.join(wrong)}",
            next_step="Put it right with edit.with_info(…), or train the edit again",
        )
    return json.dumps({"schema": SCHEMA, "revision": REVISION, **values}, sort_keys=True)


def _is_finite(value: object) -> bool:
    """Whether every number in a plain value is finite."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def modelspec(info: EditInfo) -> dict[str, str]:
    """What a file's metadata says of an edit for other tools, as the modelspec standard has it.
    What is not known is left out."""
    side = info.resolution
    return {
        "modelspec.sai_model_spec": "1.0.1",
        **({_ARCHITECTURE: f"{info.architecture}/lora"} if info.architecture else {}),
        "modelspec.implementation": "diffusers",
        "modelspec.title": info.name,
        **({_RESOLUTION: f"{side}x{side}"} if side else {}),
        "modelspec.tags": "pairedit, image-editing",
        **({"modelspec.date": info.created} if info.created else {}),
        **({"modelspec.license": info.licence} if info.licence else {}),
    }


def read_description(header: Mapping[str, str], rank: int, path: Path) -> EditInfo:
    """What a file's metadata says of the edit in it; of a LoRA from elsewhere, its name and rank,
    and what it says itself of architecture and resolution.

    Args:
        header: the file's metadata.
        rank: of its layers.
        path: of the file.

    Raises:
        EditError: the description is damaged, or of another version of this SDK.
    """
    if "pairedit" not in header:
        return replace(_foreign(header), name=path.stem, rank=rank)
    try:
        values = json.loads(header["pairedit"])
        schema = values.pop("schema")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EditError(f"{path.name}: its description is damaged", next_step=_ANEW) from error
    if schema != SCHEMA:
        raise EditError(
            f"{path.name} was written by another version of this SDK",
            expected=f"schema {SCHEMA}",
            got=f"schema {schema}",
            next_step="Update pairedit-sdk, or train the edit again",
        )
    try:
        return checked_info(values)
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise EditError(
            f"{path.name}: its description is damaged ({str(error)[:120]})", next_step=_ANEW
        ) from error


def _foreign(header: Mapping[str, str]) -> EditInfo:
    """What another tool's file says of itself by the modelspec standard."""
    kind = re.fullmatch(r"([\w.-]{1,64})/lora", header.get(_ARCHITECTURE, ""))
    size = re.fullmatch(r"(\d{1,4})x(\d{1,4})", header.get(_RESOLUTION, ""))
    side = round(math.sqrt(int(size[1]) * int(size[2]))) if size else 0
    return EditInfo("", architecture=kind[1] if kind else "", resolution=min(side, 4096))


def checked_info(values: dict[str, Any]) -> EditInfo:
    """A description from a file, of which nothing is taken for granted.

    Raises:
        ValueError, TypeError, OverflowError, AttributeError: it is not as :func:`description`
            writes it.
    """
    values = _renamed(values, {"shown": "direction"})
    parts = [(str(name), float(scale)) for name, scale in values.get("parts", [])]
    editor = EditorSettings(**_renamed(values.get("editor", {}), {"even": "limit_scale"}))
    seen = values.get("direction")
    direction = None if seen is None else _checked_direction(seen)
    words = checked_words(values.get("words", []))
    known = {f.name: f.type for f in fields(EditInfo)}
    read = {"parts": parts, "editor": editor, "direction": direction, "words": words}
    info = EditInfo(**{k: v for k, v in values.items() if k in known} | read)
    kinds: dict[Any, Any] = {"str": str, "int": int, "float": (int, float)}
    for name, kind in known.items():
        value = getattr(info, name)
        if kind in kinds and (not isinstance(value, kinds[kind]) or isinstance(value, bool)):
            raise TypeError(f"{name} is not of its kind")
    numbers = [info.guidance, info.unit_scale, editor.threshold, *(scale for _, scale in parts)]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a number is not finite")
    plain = isinstance(info.pairs, list) and all(isinstance(name, str) for name in info.pairs)
    if not plain or not isinstance(info.settings, dict):
        raise TypeError("pairs or settings are not of their kind")
    whole = all(isinstance(n, int) for n in (editor.steps, editor.n_avg))
    if not whole or not 2 <= editor.steps <= 1000 or not 1 <= editor.n_avg <= 1000:
        raise ValueError("the editor's settings are out of range")
    for name in ("limit_scale", "reference"):
        if not isinstance(getattr(editor, name), bool):
            raise TypeError(f"{name} is not of its kind")
    if info.guidance < 0 or not 0 <= info.resolution <= 4096 or not 0 <= editor.threshold <= 1:
        raise ValueError("a setting is out of range")
    return replace(info, base=read_name(info.base))


def _checked_direction(values: dict[str, Any]) -> EditDirection:
    found = EditDirection(**_renamed(values, {"size": "magnitude"}))
    numbers = [found.magnitude, *found.direction]
    if not isinstance(found.encoder, str) or not isinstance(found.direction, list):
        raise TypeError("the direction is not of its kind")
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise TypeError("the direction is not of numbers")
    if not all(math.isfinite(n) for n in numbers) or not found.direction or found.magnitude <= 0:
        raise ValueError("the direction is out of range")
    return found


def _renamed(values: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """``values`` with the newer name of each key."""
    twice = [old for old, new in names.items() if {old, new} <= values.keys()]
    if twice:
        raise ValueError(f"it says {twice[0]} twice")
    return {names.get(key, key): value for key, value in values.items()}
