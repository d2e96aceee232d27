"""The files of an edit basis, and every change to them.

A change is made under a lock, so several processes may make theirs at once. It may be killed at any
moment: an edit is in the basis or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pairedit_sdk.basis.index import Index, index_path, locked, read_index, write_index
from pairedit_sdk.basis.placing import (
    check_room,
    check_width,
    embeddings_path,
    read_embeddings,
    rebuilt,
    with_placed,
)
from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import EditError, UsageError, nearest
from pairedit_sdk.io.files import write_tensors


@dataclass(frozen=True)
class Entry:
    """An edit in a basis.

    Attributes:
        name: of the edit.
        path: its file.
        pairs: how many it was placed with.
        recognised: whether it would be found in half of them or more, each left out in turn.
    """

    name: str
    path: Path
    pairs: int
    recognised: bool = True


class BasisStore:
    """The index of a basis, and the embeddings of its edits' pairs.

    Args:
        library: that holds the edits, on this machine.
    """

    def __init__(self, library: EditLibrary) -> None:
        self.library, self.folder = library, library.folder
        self._read: tuple[tuple[int, int], Index] | None = None

    @property
    def index(self) -> Index:
        """The index as it now is on disk.

        Raises:
            EditError: it is damaged.
        """
        try:
            status = index_path(self.folder).stat()
        except FileNotFoundError:
            return Index()
        seen = (status.st_mtime_ns, status.st_ino)
        if self._read is None or self._read[0] != seen:
            self._read = (seen, read_index(self.folder))
        return self._read[1]

    def entry(self, name: str) -> Entry:
        """One edit.

        Raises:
            UsageError: there is none of that name; the nearest ones are named.
        """
        index = self.index
        require(index, name)
        return self._entry(index, index.names.index(name))

    def entries(self) -> list[Entry]:
        """All of them, in the order of placing."""
        index = self.index
        return [self._entry(index, k) for k in range(len(index.names))]

    def embeddings(self, name: str) -> torch.Tensor:
        """E(a) and E(a′) of the pairs of an edit and of their other versions, [P, A, 2, D].

        Raises:
            UsageError: there is none of that name.
            EditError: their file is damaged.
        """
        require(self.index, name)
        return read_embeddings(self.folder, name)

    def _entry(self, index: Index, k: int) -> Entry:
        name = index.names[k]
        path = self.library.file(name)
        return Entry(name, path, index.pairs[k], bool(index.recognised[k]))

    def place(self, edit: Edit, embeddings: torch.Tensor, encoder: str, *, replacing: bool) -> None:
        """Put an edit into the basis, and save it in the library.

        Args:
            edit: the edit.
            embeddings: of its pairs, [P, A, 2, D].
            encoder: name of the image encoder that they are from.
            replacing: take the place of an edit of that name.

        Raises:
            UsageError: an edit of that name is there already, or the encoder is another one.
            EditError: the edit was learned on another model than the others.
        """
        with locked(self.folder):
            index = read_index(self.folder)
            check_room(index, edit, replacing)
            check_width(index, embeddings)
            if index.names and index.encoder != encoder:
                raise UsageError(
                    f"The basis looks at pictures with {index.encoder}, not with {encoder}"
                )
            write_tensors(embeddings_path(self.folder, edit.name), {"pairs": embeddings})
            edit.save(self.library.target(edit.name))
            index = replace(
                index,
                encoder=encoder,
                base=edit.info.base or index.base,
                fingerprint=edit.info.base_fingerprint or index.fingerprint,
            )
            write_index(self.folder, with_placed(index, edit.name, embeddings))

    def remove(self, name: str) -> None:
        """Take an edit out of the basis. Its file stays in the library.

        Raises:
            UsageError: there is none of that name.
        """
        with locked(self.folder):
            index = read_index(self.folder)
            require(index, name)
            write_index(self.folder, index.without(name))
            embeddings_path(self.folder, name).unlink(missing_ok=True)

    def rename(self, old: str, new: str) -> None:
        """Give an edit another name.

        Raises:
            UsageError: there is none of the old name, or one of the new name already.
        """
        target = self.library.target(new)
        with locked(self.folder):
            index = read_index(self.folder)
            require(index, old)
            renamed = Edit.load(self.library.target(old)).with_info(name=new)
            if new in index.names or (target.exists() and not _is_copy(target, renamed)):
                raise UsageError(f"There is an edit {new} already ({target})")
            renamed.save(target)
            pairs = read_embeddings(self.folder, old)
            write_tensors(embeddings_path(self.folder, new), {"pairs": pairs})
            write_index(self.folder, index.renamed(old, new))
            self.library.target(old).unlink(missing_ok=True)
            embeddings_path(self.folder, old).unlink(missing_ok=True)

    def reindex(self) -> int:
        """Build the index again from the embeddings and edits on disk; how many there are."""
        with locked(self.folder):
            index = rebuilt(self.folder)
            write_index(self.folder, index)
            return len(index.names)

    def keep_router(self, router: Router | None, names: tuple[str, ...]) -> None:
        """Keep the router that was fitted to the edits ``names``; ``None`` keeps the unfitted one.

        Raises:
            UsageError: these are no longer the edits of the basis.
        """
        with locked(self.folder):
            index = read_index(self.folder)
            if index.names != names:
                raise UsageError("The basis was changed meanwhile", next_step="Fit it again")
            write_index(self.folder, replace(index, fitted=router))


def _is_copy(target: Path, edit: Edit) -> bool:
    """Whether the file holds this edit: a renaming that was killed has left it there."""
    try:
        there = Edit.load(target)
    except EditError:
        return False
    return (
        there.info == edit.info
        and there.layers.keys() == edit.layers.keys()
        and all(
            torch.equal(there.layers[n].down, layer.down)
            and torch.equal(there.layers[n].up, layer.up)
            for n, layer in edit.layers.items()
        )
    )


def require(index: Index, name: str) -> None:
    """Refuse a name that is not in the basis.

    Raises:
        UsageError: there is none of that name; the nearest ones are suggested.
    """
    if name not in index.names:
        raise UsageError(
            f"There is no edit {name!r} in the basis",
            next_step=nearest(name, list(index.names)) if index.names else "It is empty",
        )
