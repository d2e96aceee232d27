"""Whether edits fit the way in which they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import Edit


def check_sight(active: list[Edit]) -> None:
    """Refuse to draw a picture anew with an edit that does not see it: nothing of it would stay.

    Raises:
        UsageError: naming the edit.
    """
    blind = [edit.name for edit in active if not edit.info.editor.reference]
    if blind:
        raise UsageError(
            f"The method from-noise draws the picture anew, and edit {blind[0]!r} does not see it",
            expected="an edit of an edit model, learned with loss.reference=before",
            next_step="Use the method flowedit",
        )


def check_limits(acting: list[Edit], is_merged: bool) -> None:
    """Refuse a scale limit where nobody knows how much should be seen.

    Args:
        acting: the edits, instructions and shown changes that act.
        is_merged: whether the edits act as one LoRA.

    Raises:
        UsageError: naming the edit.
    """
    if is_merged:
        raise UsageError(
            "Edits that are merged into one LoRA have no scale limit",
            next_step="Use --mode guided or sequential, or leave out --limit-scale",
        )
    active = [edit for edit in acting if edit.layers]
    if acting and not active:
        told = "Instructions" if any(edit.is_instruction for edit in acting) else "Shown changes"
        raise UsageError(
            f"{told} have no scale limit, as no pairs show how much is meant",
            next_step="Use a smaller scale, and leave out --limit-scale",
        )
    unknown = [edit.name for edit in active if edit.info.direction is None]
    if unknown:
        raise UsageError(
            f"Edit {unknown[0]!r} does not know how much its pairs show",
            expected="an edit that was trained with editing.limit_scale=true",
            next_step="Train it again with --set editing.limit_scale=true, or leave out "
            "--limit-scale",
        )
