"""An edit's file as others may get it."""

from __future__ import annotations

from pathlib import Path

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.metadata import shareable


def shareable_file(path: Path, edit: Edit, folder: Path) -> Path:
    """The file of ``edit``, or one in ``folder`` where that one names folders of this machine.

    Args:
        path: of the edit's file.
        edit: what is in it.
        folder: an empty one, for a file of the same name.
    """
    info = shareable(edit.info)
    return path if info == edit.info else Edit(edit.layers, info).save(folder / path.name)
