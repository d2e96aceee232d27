"""The kinds of edits that functions accept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.errors import UsageError

#: An edit, a sum of edits, or a list of them, which are added.
Edits: TypeAlias = Edit | EditStack | Sequence[Edit | EditStack]


def as_stack(edits: Edits) -> EditStack:
    """An edit alone is a sum of one at scale 1, and a list of edits is their sum.

    Raises:
        UsageError: it is something else, or an empty list.
    """
    if isinstance(edits, EditStack):
        return edits
    if isinstance(edits, Edit):
        return edits @ 1.0
    if isinstance(edits, list | tuple) and edits:
        return EditStack([part for one in edits for part in as_stack(one).parts])
    is_path = isinstance(edits, str | Path)
    raise UsageError(
        "These are no edits",
        expected="an edit, a sum such as a @ 1 + b @ 0.5, or a list of them",
        got="an empty list" if isinstance(edits, list | tuple) else type(edits).__name__,
        next_step=f"Load it with Edit.load({str(edits)!r})" if is_path else "",
    )
