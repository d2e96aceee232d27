"""Which models an edit works on: the one that it was learned on, and siblings of that.

Siblings are models of one network with other weights, such as a base model and what was distilled
from it. A family says which they are (:attr:`pairedit_sdk.models.families.family.Family.siblings`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError
from pairedit_sdk.models.folders import ANY_EDIT_MODEL, EDIT_MODEL, PLAIN_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")
#: An edit's name and fingerprint, and the fingerprint of the sibling that it was used on.
_noted: set[tuple[str, str, str]] = set()


def require_base(edit: Edit, model: FlowModel, *, siblings: bool = True) -> None:
    """Refuse a model that the edit does not work on, and log where that is a sibling.

    Args:
        edit: of which the model and the layers are looked at.
        model: without or with LoRAs attached.
        siblings: whether a sibling of the edit's model will do.

    Raises:
        EditError: naming both models, or a layer that the sibling does not have.
    """
    known = edit.info.base_fingerprint
    if known and known != model.fingerprint:
        if not (siblings and _siblings(edit.info.architecture, model.architecture)):
            raise EditError(
                f"Edit {edit.name!r} was learned on another model",
                expected=f"{edit.info.base} ({known})",
                got=f"{model.name} ({model.fingerprint})",
                next_step=f"Load {edit.info.base}, or train the edit again on {model.name}",
            )
        _use_on_sibling(edit, model)
    if edit.info.editor.reference and not model.takes_references:
        raise EditError(
            f"Edit {edit.name!r} is of a model that sees the picture that it edits",
            expected=ANY_EDIT_MODEL,
            got=model.name,
            next_step="Load the model that the edit was learned on",
        )


def work_together(infos: list[EditInfo]) -> bool:
    """Whether all of these edits, which say their models, work on the model of the first one."""
    return all(
        info.base_fingerprint == infos[0].base_fingerprint
        or _siblings(info.architecture, infos[0].architecture)
        for info in infos[1:]
    )


def own_model(infos: Sequence[EditInfo], *, told: bool) -> tuple[str, str]:
    """The model for edits where none is named, and its precision.

    It is the one that the first of them was learned on. Where none says its model, it is a built-in
    one: mini-kontext for instructions and edits that see the picture, and else mini, which draws
    best from prompts.

    Args:
        infos: of the edits; there may be none.
        told: whether instructions act along with them.

    Returns:
        The name of the model, and "nf4", "int8" or "auto".
    """
    sees = told or any(info.editor.reference for info in infos)
    known = next((info.base for info in infos if info.base), None)
    # Whoever trained on a quantised model has no memory for more; any other precision is the
    # device's matter.
    held = {info.precision for info in infos}
    precision = next((kind for kind in ("nf4", "int8") if kind in held), "auto")
    return known or (EDIT_MODEL if sees else PLAIN_MODEL), precision


def _siblings(one: str, other: str) -> bool:
    from pairedit_sdk.models.families import are_siblings  # takes torch along

    return bool(one and other) and are_siblings(one, other)


def _use_on_sibling(edit: Edit, model: FlowModel) -> None:
    """Log, once for an edit and a model, that they are siblings.

    Raises:
        EditError: a layer does not exist in the model, or has another shape.
    """
    from pairedit_sdk.lora.adapters import check_fit

    note = (edit.name, edit.info.base_fingerprint, model.fingerprint)
    if note in _noted:
        return
    if edit.layers:
        check_fit(model.transformer, edit.layers)
    _noted.add(note)
    _log.warning(
        "Edit %s was learned on %s, and is used on its sibling %s. The scale that suits it may be "
        "another one there.",
        edit.name,
        edit.info.base or edit.info.architecture,
        model.name,
    )
