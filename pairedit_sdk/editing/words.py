"""Where instructions act: which of a stack do, and with which models and methods.

How they do is in :mod:`pairedit_sdk.editing.told`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pairedit_sdk.edits.edit import EditStack
from pairedit_sdk.errors import UsageError
from pairedit_sdk.models.folders import ANY_EDIT_MODEL

if TYPE_CHECKING:
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")
_noted: set[str] = set()


def words_for(stack: EditStack, options: EditOptions) -> dict[str, float]:
    """The instructions that act when the stack is applied so, each with the sum of its scales."""
    return stack.words if options.words and options.method == "flowedit" else {}


def check_words(model: FlowModel, stack: EditStack, options: EditOptions) -> None:
    """Refuse instructions that cannot act, and log where edits do without theirs.

    Raises:
        UsageError: the model takes no reference images; or the method is not FlowEdit, and an
            instruction is all that an edit is.
    """
    if not options.words:
        for edit, scale in stack.parts:
            if scale != 0 and edit.is_instruction:
                _note(
                    f"Edit {edit.name} does nothing: it acts by its instruction alone, and "
                    "instructions are left out."
                )
    elif options.method != "flowedit":
        do_without_words(
            stack,
            f"the method {options.method}",
            "Use the method flowedit, or leave the instruction out",
        )
    elif stack.words and not model.takes_references:
        raise UsageError(
            f"Model {model.name} cannot follow the instruction {next(iter(stack.words))!r}",
            expected=ANY_EDIT_MODEL,
            got=model.name,
            next_step="Load an edit model (--base mini-kontext), with edits that were learned on "
            "it, or leave instructions out (--no-words, words=False)",
        )


def changes_nothing(stack: EditStack, method: str) -> bool:
    """Whether the pictures stay as they are, as every scale is 0. The other methods go through the
    model all the same, if there is a LoRA to do it with."""
    return stack.is_zero and (method in ("flowedit", "from-noise") or not without_silent(stack))


def without_silent(stack: EditStack) -> EditStack | None:
    """The stack without what has no LoRA at scale 0, which says nothing; ``None`` if nothing is
    left."""
    parts = [(edit, scale) for edit, scale in stack.parts if edit.layers or scale != 0]
    return EditStack(parts) if parts else None


def do_without_words(stack: EditStack, what: str, next_step: str) -> None:
    """Where LoRAs alone act: refuse an edit that has none, and log that others do without words.

    Args:
        stack: the edits.
        what: has no instructions.
        next_step: for whoever gave one.

    Raises:
        UsageError: an instruction is all that an edit is.
    """
    alone = [edit.name for edit, scale in stack.parts if scale != 0 and edit.is_instruction]
    if alone:
        raise UsageError(
            f"The instruction {alone[0]!r} cannot be used with {what}",
            expected="edits with a LoRA",
            next_step=next_step,
        )
    if stack.words:
        _note(f"With {what} these instructions of edits are left out: {'; '.join(stack.words)}.")


def _note(warning: str) -> None:
    """Log a warning once, as many pictures are edited with the same edits."""
    if warning not in _noted:
        _noted.add(warning)
        _log.warning("%s", warning)
