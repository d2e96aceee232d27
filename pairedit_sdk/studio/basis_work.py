"""The basis as the page shows it, and what the page changes in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.edits.library import check_name
from pairedit_sdk.errors import InputError, UsageError, counted
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.pairs.pair_set import PairSet, natural

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.basis.store import Entry
    from pairedit_sdk.studio.service import Service


@dataclass(frozen=True)
class BasisShown:
    """What is in a basis, and what could be.

    Attributes:
        model: the model of all its edits; "" while it is empty.
        encoder: the image encoder that looks at pictures.
        entries: its edits.
        others: the library's edits that are not in it.
    """

    model: str
    encoder: str
    entries: tuple[Entry, ...]
    others: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of its edits."""
        return [entry.name for entry in self.entries]


def basis_shown(service: Service) -> BasisShown:
    """The basis of the library.

    Raises:
        EditError: its index is damaged.
    """
    basis = EditBasis.open(service.library)
    entries, index = tuple(basis.list()), basis.index
    placed = {entry.name for entry in entries}
    others = tuple(name for name in service.library.names() if name not in placed)
    return BasisShown(index.base, index.encoder, entries, others)


def kept_pairs(service: Service, name: str | None) -> Path | None:
    """The folder of the pairs that the studio trained an edit from, if it is there."""
    folder = service.folder / "pairs" / check_name(name) if name else None
    return folder if folder is not None and folder.is_dir() else None


def place(service: Service, name: str | None, befores: Sequence[str], afters: Sequence[str]) -> str:
    """Put an edit into the basis.

    Args:
        service: of the library; its queue is waited for.
        name: of the edit.
        befores: files of its before pictures. Without any, the pairs that the studio trained it
            from are taken.
        afters: files of its after pictures, in the same order by their names.

    Returns:
        What was done, in words.

    Raises:
        UsageError: no edit is named, or it is there already.
        InputError: no pairs, or pictures that cannot be used.
        EditError: the edit was learned on another model than the others.
    """
    if not name:
        raise UsageError("No edit is chosen", next_step="Choose one that is not in the basis yet")
    kept = kept_pairs(service, name)
    if befores or afters or kept is None:
        pairs = uploaded_pairs(befores, afters)
    else:
        pairs = PairSet.from_folder(kept)
    edit_named = service.engine.edit_named
    entry = service.do(lambda _: EditBasis.open(service.library).place(edit_named(name), pairs))
    done = f"Placed {entry.name} with {counted(entry.pairs, 'pair')}."
    if entry.recognised:
        return done
    return (
        f"{done} The image encoder does not find it in its own pairs, so an analogy may not find "
        "it either. Pairs that show the change more alike would help."
    )


def uploaded_pairs(befores: Sequence[str], afters: Sequence[str]) -> PairSet:
    """Uploaded pictures as pairs: both sides are sorted by their names.

    Raises:
        InputError: there are none, or not as many before as after, or one cannot be read.
    """
    if not befores or len(befores) != len(afters):
        raise InputError(
            "These pictures are no pairs",
            expected="as many after pictures as before pictures, and at least one of each",
            got=f"{counted(len(befores), 'before picture')} and "
            f"{counted(len(afters), 'after picture')}",
            next_step="Choose the pairs that the edit was learned from",
        )
    sides = [
        [_read(path) for path in sorted(side, key=lambda path: natural(Path(path).stem))]
        for side in (befores, afters)
    ]
    return PairSet.from_images(list(zip(*sides, strict=True)))


def remove(service: Service, name: str | None) -> str:
    """Take an edit out of the basis; its file stays.

    Raises:
        UsageError: no edit of the basis is named.
    """
    EditBasis.open(service.library).remove(_chosen(name))
    return f"Removed {name} from the basis; the edit itself is still there."


def neighbours(service: Service, name: str | None) -> str:
    """Which edits of the basis are most like one of them, in words.

    Raises:
        UsageError: no edit of the basis is named.
    """
    found = EditBasis.open(service.library).neighbours(_chosen(name))
    if not found:
        return f"{name} is the only edit of the basis."
    alike = ", ".join(f"{other} {similarity:.2f}" for other, similarity in found.items())
    return f"Most like {name}: {alike} (similarity; 1 is the same change)."


def _chosen(name: str | None) -> str:
    if not name:
        raise UsageError("No edit of the basis is chosen", next_step="Choose one")
    return name


def _read(path: str) -> Image.Image:
    return Photo.read(BytesIO(Path(path).read_bytes()), Path(path).name).seen()
