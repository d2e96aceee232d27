"""The folder of saved edits: names, the files that they stand for, and a list of them.

A library may also be on a URL, see :mod:`pairedit_sdk.io.remote`; that one is only
read.
"""

from __future__ import annotations

import re
from pathlib import Path

from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.io import remote
from pairedit_sdk.io.remote import is_url

SUFFIX = ".safetensors"
LONGEST_NAME = 64

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def check_name(name: str) -> str:
    """``name``, if an edit can be called that.

    Names become file names and adapter names, so they are made of ASCII letters, digits, ``-``
    and ``_``, do not begin with ``-``, and have at most 64 characters.

    Raises:
        UsageError: otherwise.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"{name!r} cannot be the name of an edit",
            expected=f"1 to {LONGEST_NAME} letters, digits, - and _, not beginning with -",
            next_step="Choose a name like glasses or red-hair_2",
        )
    return name


def local_folder(library: str | Path) -> Path:
    """The folder of a library that is on this machine, for what does more than read edits.

    Raises:
        UsageError: it is on a URL.
    """
    if is_url(library):
        raise UsageError(
            f"The library {library} is on a URL, and edits are only read from there",
            expected="a folder of this machine for all that writes, for runs and for the basis",
            next_step="Name a folder with --library or PAIREDIT_LIBRARY",
        )
    return Path(library)


def library_place(library: str | Path) -> str:
    """A library's URL as it was given, or its folder as a path is written."""
    return str(library) if is_url(library) else str(Path(library))


def edit_path(name: str, library: str | Path) -> Path:
    """The file that an edit called ``name`` has in ``library``, whether it is there or not.

    Raises:
        UsageError: that is no name, or the library is on a URL.
    """
    return local_folder(library) / f"{check_name(name)}{SUFFIX}"


def preview_path(edit: Path) -> Path:
    """The picture beside an edit's file that shows what it does, whether it is there or not."""
    return edit.with_suffix(".png")


def run_folder(name: str, library: str | Path) -> Path:
    """The folder of a training run's own files: config, metrics, checkpoints, previews.

    Raises:
        UsageError: that is no name, or the library is on a URL.
    """
    return local_folder(library) / "runs" / check_name(name)


def list_edits(library: str | Path) -> list[Path]:
    """The edit files in ``library`` in the order of their names; none if there is no such folder.

    Those of a library on a URL are copied into the cache, unless they are there already.

    Raises:
        UsageError: ``library`` is a file.
        LibraryError: it is on a URL, and cannot be read.
    """
    if is_url(library):
        return remote.fetch_edits(str(library))
    library = Path(library)
    if library.exists() and not library.is_dir():
        raise UsageError(
            f"The library {library} is a file",
            expected="a folder of saved edits",
            next_step="Name a folder with --library or PAIREDIT_LIBRARY",
        )
    return sorted(p for p in library.glob(f"*{SUFFIX}") if not p.name.startswith("."))


def find_edit_path(name_or_path: str | Path, library: str | Path) -> Path:
    """The file of an edit, given its name in ``library`` or a path to it.

    That of a library on a URL is a copy in the cache, as new as the library's own file.

    Raises:
        UsageError: there is none; the message names the nearest there is.
        LibraryError: the library is on a URL, and cannot be read.
    """
    said = str(name_or_path)
    if _NAME.fullmatch(said) and (found := _in_library(said, library)) is not None:
        return found
    path = Path(said)
    if path.is_file():
        return path
    if path.suffix == SUFFIX or "/" in said or "\\" in said:
        raise UsageError(f"There is no edit file {said}", next_step=_known(path.stem, library))
    raise UsageError(
        f"There is no edit {said!r} in the library {library}", next_step=_known(said, library)
    )


def _in_library(name: str, library: str | Path) -> Path | None:
    if is_url(library):
        return remote.fetch_edit(str(library), name)
    path = edit_path(name, library)
    return path if path.is_file() else None


def _known(name: str, library: str | Path) -> str:
    if is_url(library):
        names = remote.edit_names(str(library))
    else:
        names = [path.stem for path in list_edits(library)]
    if names:
        return nearest(name, names)
    return (
        f"The library {library} has no edits yet: train one with `pairedit train`, or say where "
        "they are with --library"
    )
