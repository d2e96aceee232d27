"""The user's edits as a basis: an analogy a : a′ :: b chooses from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.basis.index import Index, index_path
from pairedit_sdk.basis.mix import TOP, EditMix, mix_of
from pairedit_sdk.basis.placing import check_change, check_room, check_width, embedded
from pairedit_sdk.basis.router import Fitted, fit, top
from pairedit_sdk.basis.store import BasisStore, Entry, require
from pairedit_sdk.basis.velocity import strengths
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.library import EditLibrary, check_name
from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.files import require_writable
from pairedit_sdk.models.image_encoder import ImageEncoder, encoder_for, load_encoder
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.pairs.pair_set import Pairs, PairSet, as_pairs

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")
#: How many edits the velocity router considers.
CANDIDATES = 6


class EditBasis:
    """The edits of a library with keys to find them by.

    Every method that changes something may run in several processes at once, and may be killed
    at any moment: an edit is in the basis or it is not.

    Args:
        library: the edits; not on a URL.
        encoder: the image encoder's name; ``None`` is what the basis was begun with, or else the
            one that goes with the first edit's model.

    Raises:
        UsageError: the library is on a URL.
    """

    def __init__(self, library: EditLibrary | str | Path, encoder: str | None = None) -> None:
        self.library = EditLibrary.local(library)
        self.folder = self.library.folder
        self._store = BasisStore(self.library)
        self._encoder_name = encoder
        self._encoder: ImageEncoder | None = None

    @classmethod
    def open(cls, library: EditLibrary | str | Path, encoder: str | None = None) -> EditBasis:
        """The basis of ``library``; an empty one if nothing was placed there yet."""
        return cls(library, encoder)

    @property
    def index(self) -> Index:
        """The index as it now is on disk.

        Raises:
            EditError: it is damaged.
        """
        return self._store.index

    def prepare(self, base: str) -> None:
        """Load the encoder that edits of ``base`` need: better before a training than after it.

        Raises:
            BaseModelError: it cannot be loaded.
            WriteError: the basis cannot be written.
        """
        require_writable(index_path(self.folder))
        self._loaded(base)

    def place(self, edit: Edit, pairs: Pairs, *, replacing: bool = False) -> Entry:
        """Put an edit into the basis, with the pairs it was learned from.

        An edit that would not be found in its own pairs is placed with a warning in the log: the
        encoder sees another change in each of them, or none.

        Args:
            edit: is saved as FOLDER/NAME.safetensors, unless that is the file it came from.
            pairs: before and after; their embeddings are computed now, once.
            replacing: take the place of an edit of that name.

        Raises:
            UsageError: an edit of that name is there already.
            EditError: the edit was learned on another model than the others.
        """
        check_name(edit.name)
        pairs = as_pairs(pairs)
        require_writable(index_path(self.folder))  # before any work is done
        check_room(self.index, edit, replacing)
        edit.warn_if_idle()
        encoder = self._loaded(edit.info.base)
        embeddings = torch.stack([embedded(encoder, p.before, p.after) for p in pairs])
        self._store.place(edit, embeddings, encoder.name, replacing=replacing)
        placed = self._store.entry(edit.name)
        if not placed.recognised:
            _log.warning(
                "The image encoder %s does not find %s in the pairs that it was learned from: an "
                "analogy may not find it either. Give pairs that show the change more alike, or "
                "place it with another --encoder in a basis of its own.",
                encoder.name,
                edit.name,
            )
        return placed

    def remove(self, name: str) -> None:
        """Take an edit out of the basis. Its file stays in the library.

        Raises:
            UsageError: there is none of that name.
        """
        self._store.remove(name)

    def rename(self, old: str, new: str) -> None:
        """Give an edit another name.

        Raises:
            UsageError: there is none of the old name, or one of the new name already.
        """
        self._store.rename(old, new)

    def reindex(self) -> int:
        """Build the index again from the embeddings and edits on disk; how many there are."""
        return self._store.reindex()

    def fit(self, seed: int = 0) -> Fitted:
        """Fit the router to the placed pairs, and keep what came of it if that is better.

        Raises:
            UsageError: there are fewer than two edits.
        """
        index = self.index
        if len(index.names) < 2:
            raise UsageError(
                f"A router chooses between edits, and the basis has {len(index.names)}",
                expected="two or more",
                next_step="Place more edits first",
            )
        require_writable(index_path(self.folder))
        pairs = [self.embeddings(name) for name in index.names]
        result = fit(pairs, seed)
        self._store.keep_router(result.router if result.kept else None, index.names)
        return result

    def route(
        self,
        a: Image.Image,
        a_prime: Image.Image,
        b: Image.Image | None = None,
        *,
        count: int = TOP,
    ) -> EditMix:
        """The mix of edits that an analogy a : a′ :: b asks for.

        Args:
            a: before.
            a_prime: after.
            b: the picture to be edited; ``None`` asks with a in its place.
            count: at most so many edits are mixed.

        Raises:
            UsageError: the basis is empty, or nothing changes from a to a′.
        """
        index = self._filled()
        return self.mix(index, self.embed(a, a_prime, a if b is None else b), count)

    def mix(self, index: Index, given: torch.Tensor, count: int = TOP) -> EditMix:
        """:meth:`route` of an analogy that :meth:`embed` has seen, with a state of the index."""
        coefficients = top(index.router.coefficients(given), count)
        return mix_of(self.library, index, given, coefficients)

    def embed(self, a: Image.Image, a_prime: Image.Image, b: Image.Image) -> torch.Tensor:
        """E(a), E(a′) and E(b), concatenated, [3 D].

        Raises:
            UsageError: the basis is empty, or nothing changes from a to a′.
            EditError: it was filled with another version of its image encoder.
        """
        encoder = self._loaded(self.require_base())
        embeddings = encoder.embed([a, a_prime, b])
        check_width(self.index, embeddings)
        check_change(encoder.name, embeddings[0], embeddings[1])
        return embeddings.flatten()

    def embeddings(self, name: str) -> torch.Tensor:
        """E(a) and E(a′) of the pairs of an edit and of their other versions, [P, A, 2, D].

        Raises:
            UsageError: there is none of that name.
            EditError: their file is damaged.
        """
        return self._store.embeddings(name)

    def route_by_velocity(
        self,
        model: FlowModel,
        a: Image.Image,
        a_prime: Image.Image,
        *,
        count: int = TOP,
        seed: int = 0,
    ) -> EditMix:
        """The mix of edits that makes of a what is seen in a′: see :mod:`.velocity`.

        The encoder's coefficients sum to 1, these do not: an analogy that shows two edits gets
        both in full, one that shows half an edit gets half of it. It costs as much as editing one
        picture with each of the :data:`CANDIDATES` that the encoder finds nearest.

        Args:
            model: the loaded model that the edits were learned on, without any LoRA attached.
            a: before.
            a_prime: after.
            count: at most so many edits are mixed.
            seed: of the noise.

        Raises:
            UsageError: the basis is empty, or nothing changes from a to a′.
            EditError: the edits were learned on another model.
        """
        index = self._filled()
        given = self.embed(a, a_prime, a)
        nearest_ones = index.router.similarities(given).topk(min(CANDIDATES, len(index.names)))
        numbers = nearest_ones.indices.tolist()
        edits = [Edit.load(self.library.file(index.names[i])) for i in numbers]
        for edit in edits:
            edit.require_base(model)
        pair = PairSet.from_images([(a, a_prime)])
        resolution = max(edit.info.resolution for edit in edits)
        (latents,) = encode_pairs(model, pair, resolution or None)
        found = strengths(model, edits, latents.x_a, latents.x_b, seed)
        coefficients = torch.zeros(len(index.names))
        coefficients[nearest_ones.indices] = torch.tensor(found)
        kept = coefficients.topk(min(count, len(index.names))).indices
        largest = torch.zeros_like(coefficients).scatter(0, kept, coefficients[kept])
        return mix_of(self.library, index, given, largest)

    def require_base(self) -> str:
        """The name of the model that the edits were learned on.

        Raises:
            UsageError: the basis is empty.
        """
        return self._filled().base

    def neighbours(self, name: str, count: int = 3) -> dict[str, float]:
        """The edits whose keys are most like that of ``name``, with the similarity.

        Raises:
            UsageError: there is none of that name.
        """
        index = self.index
        require(index, name)
        own = index.names.index(name)
        found = index.keys @ index.keys[own]
        order = [i for i in found.argsort(descending=True).tolist() if i != own]
        return {index.names[i]: float(found[i]) for i in order[:count]}

    def _filled(self) -> Index:
        index = self.index
        if not index.names:
            raise UsageError(
                f"The basis in {self.folder} is empty",
                next_step="Place an edit with `pairedit basis place NAME PAIRS`",
            )
        return index

    def _loaded(self, base: str) -> ImageEncoder:
        if self._encoder is None:
            wanted = self._encoder_name or self.index.encoder or encoder_for(base)
            self._encoder = load_encoder(wanted)
        return self._encoder

    def show(self, name: str) -> Entry:
        """One edit of the basis.

        Raises:
            UsageError: there is none of that name; the nearest ones are named.
        """
        return self._store.entry(name)

    def list(self) -> Sequence[Entry]:
        """What is in the basis, in the order of placing."""
        return self._store.entries()
