"""Renaming and deleting edits of the library, so that deleting can be undone."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pairedit_sdk.basis.placing import embeddings_path, read_embeddings
from pairedit_sdk.basis.store import BasisStore
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.library import EditLibrary, preview_path
from pairedit_sdk.errors import PairEditError, UsageError
from pairedit_sdk.io.files import atomic_write, write_tensors, writing

#: Deleted edits that are kept; of more the oldest are gone for good.
KEPT = 50
_EDIT, _PREVIEW, _ENTRY = "edit.safetensors", "preview.png", "entry.json"


@dataclass(frozen=True)
class Deleted:
    """An edit in the trash.

    Attributes:
        key: that it is put back by.
        name: of the edit.
    """

    key: str
    name: str


class Shelf:
    """The files of a library's edits: each its own, its preview, and what the basis has of it.

    All methods may be called from any thread.

    Args:
        library: of edits, on this machine.
        trash: a folder for what is deleted, on the same disk; it need not exist yet.

    Raises:
        UsageError: the library is on a URL.
    """

    def __init__(self, library: EditLibrary | str | Path, trash: Path) -> None:
        self.library, self.trash = EditLibrary.local(library), trash
        self._store = BasisStore(self.library)
        self._lock = threading.Lock()

    def rename(self, old: str, new: str) -> Path:
        """Give an edit another name: its file, its preview and its place in the basis. Its run
        stays.

        Returns:
            Its file.

        Raises:
            UsageError: there is none of the old name, or the new one is taken or cannot be one.
            EditError: the file is damaged.
            WriteError: the library cannot be written to.
        """
        with self._lock:
            source, target = self._file(old), self.library.target(new)
            if target.exists() or new in self._store.index.names:
                raise _taken(new)
            if old in self._store.index.names:
                self._store.rename(old, new)
            else:
                Edit.load(source).with_info(name=new).save(target)
                source.unlink()
            preview = preview_path(target)
            with writing(preview):
                preview.unlink(missing_ok=True)
                if preview_path(source).is_file():
                    preview_path(source).replace(preview)
            return target

    def delete(self, name: str) -> Deleted:
        """Move an edit to the trash, and take it out of the basis. Its run stays.

        Raises:
            UsageError: there is no edit of that name.
            EditError: the basis is damaged.
            WriteError: the library cannot be written to.
        """
        with self._lock:
            source, index = self._file(name), self._store.index
            deleted = Deleted(f"{time.time_ns():020d}-{name}", name)
            folder = self.trash / deleted.key
            encoder = index.encoder if name in index.names else ""
            if encoder:
                pairs = self._store.embeddings(name)
                write_tensors(embeddings_path(folder, name), {"pairs": pairs})
            said = json.dumps({"name": name, "encoder": encoder})
            atomic_write(folder / _ENTRY, lambda part: _write(part, said))
            if encoder:
                self._store.remove(name)
            with writing(folder):
                shutil.move(source, folder / _EDIT)
                if preview_path(source).is_file():
                    shutil.move(preview_path(source), folder / _PREVIEW)
            for old in self._deleted()[KEPT:]:
                shutil.rmtree(self.trash / old.key, ignore_errors=True)
            return deleted

    def deleted(self) -> list[Deleted]:
        """What can be put back, the newest first."""
        with self._lock:
            return self._deleted()

    def put_back(self, key: str) -> str:
        """Undo a deletion, whatever has happened to the basis since.

        Args:
            key: of :meth:`deleted`.

        Returns:
            Why the edit is not in the basis again; "" where it is, or never was.

        Raises:
            UsageError: it is not in the trash, or its name is taken by now.
            WriteError: the library cannot be written to.
        """
        with self._lock:
            found = {one.key: one for one in self._deleted()}.get(key)
            if found is None:
                raise UsageError("This edit is not in the trash any more")
            target, folder = self.library.file(found.name), self.trash / found.key
            if target.exists():
                raise _taken(found.name, "Rename or delete that one first")
            with writing(target):
                if (folder / _PREVIEW).is_file():
                    shutil.move(folder / _PREVIEW, preview_path(target))
                shutil.move(folder / _EDIT, target)
            reason = self._put_into_basis(found.name, folder)
            shutil.rmtree(folder, ignore_errors=True)
            return reason

    def _put_into_basis(self, name: str, folder: Path) -> str:
        encoder = _read(folder).get("encoder")
        if not encoder:
            return ""
        try:
            pairs = read_embeddings(folder, name)
            edit = Edit.load(self.library.file(name))
            self._store.place(edit, pairs, str(encoder), replacing=False)
        except PairEditError as error:  # it is in the library all the same
            return error.what
        return ""

    def _deleted(self) -> list[Deleted]:
        found = []
        for folder in sorted(self.trash.glob("*-*"), reverse=True):
            name = _read(folder).get("name")
            if isinstance(name, str) and (folder / _EDIT).is_file():
                with suppress(UsageError):  # no name of an edit: nobody knows who wrote it
                    self.library.file(name)
                    found.append(Deleted(folder.name, name))
        return found

    def _file(self, name: str) -> Path:
        path = self.library.file(name)
        if not path.is_file():
            self.library.path(name)  # raises, with the nearest names
            raise UsageError(f"There is no edit {name!r} in the library")
        return path


def _taken(name: str, next_step: str = "Choose another name") -> UsageError:
    return UsageError(f"There is an edit {name} already", next_step=next_step)


def _read(folder: Path) -> dict[str, object]:
    try:
        values = json.loads((folder / _ENTRY).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
