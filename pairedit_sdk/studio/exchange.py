"""Edits as other tools' files and back, as the page hands them out and takes them in."""

from __future__ import annotations

import shutil
import time
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.edits.library import SUFFIX
from pairedit_sdk.errors import UsageError, counted, nearest, printable
from pairedit_sdk.io.files import require_writable, writing
from pairedit_sdk.studio.kept import newest_first

if TYPE_CHECKING:
    from pairedit_sdk.edits.library import EditLibrary

#: Seconds that an exported file is kept for its download.
KEPT_SECONDS = 3600.0


@dataclass(frozen=True)
class Exported:
    """A file for another tool.

    Attributes:
        path: of the file.
        note: what the other tool does not get, or "".
    """

    path: Path
    note: str


def export_file(library: EditLibrary, name: str, form: str, dtype: str, folder: Path) -> Exported:
    """Write an edit in another tool's form, as ``pairedit edits export`` does; peft's folder as a
    ZIP file.

    Args:
        library: that has the edit.
        name: of the edit.
        form: one of :data:`pairedit_sdk.lora.export.FORMATS`.
        dtype: one of :data:`pairedit_sdk.lora.export.DTYPES`.
        folder: for such files. Older ones in it are deleted.

    Raises:
        UsageError: there is no such edit, form or dtype.
        EditError: the edit cannot be written in this form, or its file is damaged.
        WriteError: the system did not let it be written.
    """
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.edits.edit_words import acting
    from pairedit_sdk.edits.metadata import shareable
    from pairedit_sdk.lora.export import export
    from pairedit_sdk.sharing.model_card import lora_elsewhere

    if name not in library:  # a name alone: what is asked for cannot be a path
        raise UsageError(
            f"There is no edit {name!r} in the library", next_step=nearest(name, library.names())
        )
    loaded = Edit.load(library.file(name))
    shared = Edit(loaded.layers, shareable(loaded.info))
    _forget(folder)
    # A folder of its own, so that the file has a plain name and nobody waits for anybody.
    own = folder / uuid.uuid4().hex
    path = own / (f"{name}-peft" if form == "peft" else f"{name}-{form}-{dtype}{SUFFIX}")
    with writing(path):
        own.mkdir(parents=True)
        export(shared.layers, form, path, shared.header(), dtype, shared.info.base)
        if form == "peft":
            path = _zipped(path)
    return Exported(path, lora_elsewhere(loaded.info) if acting(loaded.info) else "")


def import_file(
    library: EditLibrary,
    file: Path,
    name: str,
    *,
    base: str | None = None,
    rank: int | None = None,
    partly: bool = False,
) -> str:
    """Make an edit of the library from another tool's file, as ``pairedit edits import`` does.

    Args:
        library: that the edit goes to.
        file: that was handed in.
        name: of the edit; "" is the file's.
        base: the model it was made for, where that is known.
        rank: cut every layer to it; ``None`` leaves the ranks as they are.
        partly: leave out what cannot be read.

    Returns:
        What was made of it, in sentences.

    Raises:
        UsageError: the name is taken or cannot be one.
        EditError: the file cannot be read, or does not fit the model.
        WriteError: the library cannot be written to.
    """
    from pairedit_sdk.edits.importing import import_edit

    target = library.target(name or file.stem)
    if target.exists():
        raise UsageError(f"There is an edit {target.stem} already", next_step="Give another name")
    require_writable(target)
    edit, found = import_edit(file, name=target.stem, base=base, rank=rank, partly=partly)
    library.save(edit)
    said = [
        f"Added {target.stem}: {counted(len(edit.layers), 'layer')}, rank {edit.info.rank}, from "
        f"{' and '.join(found.forms)}."
    ]
    if found.converted:
        said.append(f"Made a LoRA of {' and '.join(found.converted)}.")
    if rank is not None:
        said.append(f"The rank of {rank} loses {found.error:.2%} of the update.")
    if found.left_out:
        said.append(f"Left out {counted(len(found.left_out), 'tensor')}.")
    return printable(" ".join(said))


def _forget(folder: Path) -> None:
    for old, known in newest_first(folder):
        if time.time() - known.st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


def _zipped(folder: Path) -> Path:
    target = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{folder.name}/{file.name}")
    shutil.rmtree(folder)
    return target
