"""What an edit leaves in a basis: embeddings of its pairs, from which the index can be rebuilt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.basis.augment import augmented
from pairedit_sdk.basis.index import FOLDER, Index, read_index
from pairedit_sdk.basis.router import key_of
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.models.image_encoder import ImageEncoder, encoder_for

if TYPE_CHECKING:
    from PIL import Image

#: Embeddings of a photograph and of its copy as a JPEG differ by half of this to all of it, those
#: of the smallest changes of pairs by four times as much. Embeddings have length 1.
LEAST = 5e-3


def with_placed(index: Index, name: str, embeddings: torch.Tensor) -> Index:
    """The index with an edit, whose embeddings are [P, A, 2, D]."""
    return index.with_edit(
        name, len(embeddings), key_of(embeddings[:, 0]), own_similarities(embeddings)
    )


def own_similarities(embeddings: torch.Tensor) -> torch.Tensor:
    """Similarity of every version of a pair to the key of the other pairs, [P · A].

    A single pair is compared with its own versions, which is easier than a new pair will be.

    Args:
        embeddings: [P, A, 2, D], each pair's first version the pair itself.
    """
    found = []
    for k in range(len(embeddings)):
        others = torch.cat([embeddings[:k], embeddings[k + 1 :]])
        key = key_of((others if len(others) else embeddings)[:, 0])
        own = embeddings[k] if len(others) else embeddings[k, 1:]
        directions = torch.nn.functional.normalize(own[:, 1] - own[:, 0], dim=-1)
        found.append(directions @ key)
    return torch.cat(found)


def embedded(encoder: ImageEncoder, before: Image.Image, after: Image.Image) -> torch.Tensor:
    """The embeddings of a pair and of its other versions, [A, 2, D]."""
    flat = [image for pair in augmented(before, after) for image in pair]
    return torch.unflatten(encoder.embed(flat), 0, (-1, 2))


def embeddings_path(folder: Path, name: str) -> Path:
    """The file of the embeddings of an edit's pairs."""
    return folder / FOLDER / "pairs" / f"{name}.safetensors"


def read_embeddings(folder: Path, name: str) -> torch.Tensor:
    """The embeddings of an edit's pairs, [P, A, 2, D].

    Raises:
        EditError: their file is damaged or not there.
    """
    path = embeddings_path(folder, name)
    try:
        pairs = read_tensors(path)[0]["pairs"]
        if pairs.ndim != 4 or pairs.shape[2] != 2 or not bool(pairs.isfinite().all()):
            raise ValueError("they are no embeddings of pairs")
        return pairs
    except Exception as error:  # the readers of damaged bytes raise nearly every kind
        raise EditError(
            f"What was kept of the pairs of {name} is damaged: {path}",
            next_step=f"Place it again with `pairedit basis place {name} PAIRS --force`",
        ) from error


def check_room(index: Index, edit: Edit, replacing: bool) -> None:
    """Refuse an edit that the basis has no place for.

    Raises:
        UsageError: an edit of that name is there, and it is not to be replaced.
        EditError: the edit was learned on another model than the others.
    """
    if edit.name in index.names and not replacing:
        raise UsageError(
            f"There is an edit {edit.name} in the basis already",
            next_step="Choose another name, or replace it with --force",
        )
    own = edit.info.base_fingerprint
    if index.fingerprint and own and own != index.fingerprint:
        raise EditError(
            f"Edit {edit.name!r} was learned on another model than the edits of this basis",
            expected=f"{index.base} ({index.fingerprint})",
            got=f"{edit.info.base} ({own})",
            next_step="Keep a basis of its own for each model, siblings too: in a mix all edits "
            "are to go equally far, and those of another model do not",
        )


def check_width(index: Index, embeddings: torch.Tensor) -> None:
    """Refuse embeddings [..., D] that the keys [N, D] cannot be compared with.

    Raises:
        EditError: the image encoder has changed since the edits were placed.
    """
    known, found = index.keys.shape[1], embeddings.shape[-1]
    if index.names and known != found:
        raise EditError(
            f"The image encoder {index.encoder} is not the one that this basis was filled with",
            expected=f"embeddings of {known} numbers",
            got=f"{found}",
            next_step="Place the edits again into a new folder, with `pairedit basis place`",
        )


def check_change(encoder: str, before: torch.Tensor, after: torch.Tensor) -> None:
    """Refuse an analogy in which nothing changes.

    Args:
        encoder: its name.
        before: E(a), of length 1.
        after: E(a′).

    Raises:
        UsageError: the encoder sees no more between them than between two copies of a picture.
    """
    seen = float((after - before).norm())
    if seen < LEAST:
        raise UsageError(
            f"The image encoder {encoder} sees no change from the picture before to the one after",
            expected=f"embeddings that differ by {LEAST:g} or more",
            got=f"{seen:.2g}",
            next_step="Give two pictures that show the change",
        )


def rebuilt(folder: Path) -> Index:
    """The index anew, from the embeddings and edits on disk; a damaged one is not needed for it.

    Of one that is whole the names are kept: a change that was killed may have left files behind of
    an edit that is not, or no longer, in the basis.
    """
    try:
        old = read_index(folder)
    except EditError:
        old = Index()
    index = Index(encoder=old.encoder)
    paths = sorted((folder / FOLDER / "pairs").glob("*.safetensors"))
    if old.names:
        paths = [path for name in old.names if (path := embeddings_path(folder, name)).is_file()]
    for path in paths:
        edit_file = EditLibrary(folder).target(path.stem)
        if not edit_file.is_file():
            continue
        info = Edit.read_info(edit_file)
        index = replace(
            index,
            encoder=index.encoder or encoder_for(info.base),
            base=info.base or index.base,
            fingerprint=info.base_fingerprint or index.fingerprint,
        )
        index = with_placed(index, path.stem, read_embeddings(folder, path.stem))
    return index
