"""A library of saved edits: their names, and the files that hold them.

A library is a folder, or a URL that fsspec can read (see :mod:`pairedit_sdk.io.remote`). Nothing is
ever written to a URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.io import remote
from pairedit_sdk.io.remote import is_url
from pairedit_sdk.lora.files import is_lora_folder

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.edits.metadata import EditInfo

SUFFIX = ".safetensors"
LONGEST_NAME = 64

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
#: Windows opens a device for a file of these names, whatever its case and extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])", re.IGNORECASE)


def check_name(name: str) -> str:
    """``name``, if an edit can be called that.

    Names become file names and adapter names, so they are made of ASCII letters, digits, ``-``
    and ``_``, do not begin with ``-``, and have at most 64 characters. Those that Windows keeps for
    devices are refused everywhere, as a library can be copied there.

    Raises:
        UsageError: otherwise.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"{name!r} cannot be the name of an edit",
            expected=f"1 to {LONGEST_NAME} letters, digits, - and _, not beginning with -",
            next_step="Choose a name like glasses or red-hair_2",
        )
    if _DEVICES.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of an edit",
            expected="none of CON, PRN, AUX, NUL, COM0 to COM9 and LPT0 to LPT9, which Windows "
            "keeps for devices",
            next_step=f"Choose a name like {name}-edit",
        )
    return name


def preview_path(edit: Path) -> Path:
    """The picture beside an edit's file that shows what it does, whether it is there or not."""
    return edit.with_suffix(".png")


class EditLibrary:
    """A library of saved edits. Iterating gives the names; ``name in library`` asks for one.

    An edit NAME is the file NAME.safetensors, its preview NAME.png. The files of its training run
    are in runs/NAME.

    Args:
        place: the folder, which need not exist yet; or a URL such as ``s3://bucket/edits``.

    Attributes:
        place: a URL as it was given, or the folder.
    """

    def __init__(self, place: str | Path | EditLibrary) -> None:
        if isinstance(place, EditLibrary):
            place = place.place
        self.place: str | Path = place if is_url(place) else Path(place)

    @classmethod
    def local(cls, place: str | Path | EditLibrary) -> EditLibrary:
        """A library on this machine, for what does more than read edits.

        Raises:
            UsageError: it is on a URL.
        """
        library = cls(place)
        _ = library.folder
        return library

    def __str__(self) -> str:
        return str(self.place)

    def __repr__(self) -> str:
        return f"EditLibrary({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EditLibrary) and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    @property
    def is_remote(self) -> bool:
        """Whether the library is on a URL."""
        return is_url(self.place)

    @property
    def folder(self) -> Path:
        """The library's folder on this machine.

        Raises:
            UsageError: it is on a URL.
        """
        if self.is_remote:
            raise UsageError(
                f"The library {self} is on a URL, and edits are only read from there",
                expected="a folder of this machine for all that writes, for runs and for the basis",
                next_step="Name a folder with --library or PAIREDIT_LIBRARY",
            )
        return Path(self.place)

    def names(self) -> list[str]:
        """The names of all edits, sorted. No file is opened or copied.

        Raises:
            UsageError: the library is a file.
            LibraryError: it is on a URL, and cannot be read.
        """
        if self.is_remote:
            return remote.edit_names(str(self))
        return [path.stem for path in self.paths()]

    def paths(self) -> list[Path]:
        """The files of all edits in the order of their names; none if there is no such folder.

        Those of a library on a URL are copied into the cache, unless they are there already.

        Raises:
            UsageError, LibraryError: as :meth:`names`.
        """
        if self.is_remote:
            return remote.fetch_edits(str(self))
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise UsageError(
                f"The library {self} is a file",
                expected="a folder of saved edits",
                next_step="Name a folder with --library or PAIREDIT_LIBRARY",
            )
        return sorted(p for p in folder.glob(f"*{SUFFIX}") if not p.name.startswith("."))

    def path(self, name: str | Path) -> Path:
        """The file of a saved edit, given its name in the library or a path to it; a path may be
        that of a folder with a LoRA, as peft writes it.

        That of a library on a URL is a copy in the cache, as new as the library's own file.

        Raises:
            UsageError: there is none; the message suggests the nearest names.
            LibraryError: the library is on a URL, and cannot be read.
        """
        said = str(name)
        if _NAME.fullmatch(said) and (found := self._saved(said)) is not None:
            return found
        path = Path(said)
        if path.is_file() or is_lora_folder(path):
            return path
        if path.suffix == SUFFIX or "/" in said or "\\" in said:
            raise UsageError(f"There is no edit file {said}", next_step=self._suggestion(path.stem))
        raise self._unknown(said)

    def load(self, name: str | Path) -> Edit:
        """A saved edit, given as for :meth:`path`.

        Raises:
            UsageError, LibraryError: as :meth:`path`.
            EditError: its file is damaged.
        """
        from pairedit_sdk.edits.edit import Edit

        return Edit.load(self.path(name))

    def info(self, name: str | Path) -> EditInfo:
        """What is known about a saved edit, from its file's header alone.

        Raises:
            UsageError, LibraryError, EditError: as :meth:`load`.
        """
        from pairedit_sdk.edits.edit import Edit

        return Edit.read_info(self.path(name))

    def target(self, name: str, *, replace: bool = True) -> Path:
        """The file that an edit called ``name`` is saved in, whether it is there or not.

        Args:
            name: of the edit.
            replace: accept a name that is taken.

        Raises:
            UsageError: that is no name or it is taken, or the library is on a URL.
        """
        check_name(name)
        path = self.file(name)
        if path.exists() and not replace:
            raise UsageError(
                f"There is an edit {name} already ({path})",
                next_step="Choose another --name, or replace it with --force",
            )
        return path

    def file(self, name: str) -> Path:
        """The file of an edit that is called ``name`` already, whether it is there or not.

        Raises:
            UsageError: no file can have that name, or the library is on a URL.
        """
        return self.folder / f"{name if _DEVICES.fullmatch(name) else check_name(name)}{SUFFIX}"

    def save(
        self, edit: Edit, *, preview: Image.Image | None = None, replace: bool = False
    ) -> Path:
        """Save an edit under its own name; its file is written last.

        Args:
            edit: the edit.
            preview: a picture of what it does. Without it, that of a replaced edit is deleted.
            replace: take the place of an edit of that name.

        Returns:
            The edit's file.

        Raises:
            UsageError: as :meth:`target`.
        """
        from pairedit_sdk.images.files import write_image

        path = self.target(edit.name, replace=replace)
        edit.warn_if_idle()
        if preview is not None:
            write_image(preview, preview_path(path))
        edit.save(path)
        if preview is None:
            preview_path(path).unlink(missing_ok=True)
        return path

    def remove(self, name: str) -> Path:
        """Delete an edit and its preview. Its run stays.

        Returns:
            The file that was deleted.

        Raises:
            UsageError: there is no edit of that name, or the library is on a URL.
        """
        path = self.file(name)
        if not path.is_file():
            raise self._unknown(name)
        path.unlink()
        preview_path(path).unlink(missing_ok=True)
        return path

    def run_folder(self, name: str) -> Path:
        """The folder of a training run's own files: config, metrics, checkpoints, previews.

        Raises:
            UsageError: that is no name, or the library is on a URL.
        """
        return self.folder / "runs" / check_name(name)

    def _saved(self, name: str) -> Path | None:
        if self.is_remote:
            return remote.fetch_edit(str(self), name)
        path = self.file(name)
        return path if path.is_file() else None

    def _unknown(self, name: str) -> UsageError:
        return UsageError(
            f"There is no edit {name!r} in the library {self}", next_step=self._suggestion(name)
        )

    def _suggestion(self, name: str) -> str:
        if names := self.names():
            return nearest(name, names)
        return (
            f"The library {self} has no edits yet: train one with `pairedit train`, or say where "
            "they are with --library"
        )
