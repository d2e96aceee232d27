"""The basis's index file: names, keys, and how like their own key the edits' own pairs are.

One safetensors file, read and written as a whole: a reader sees the state before a change or after
it, never one in between. Writers hold a lock that the system releases when a process dies.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from pairedit_sdk.basis.router import Router, difference_projection
from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors, write_tensors

SCHEMA = 1
FOLDER, FILE, LOCK = "basis", "index.safetensors", "index.lock"
#: Of the analogies that an edit of the basis makes itself, this share may be refused.
REFUSED = 0.05
#: No edit is found in an analogy that is less like it: 97 % of what unrelated changes reach.
LOWEST = 0.3
#: How many similarities of an edit's own pairs are kept for the threshold.
KEPT = 32


@dataclass(frozen=True)
class Index:
    """What a basis holds.

    Attributes:
        encoder: name of the image encoder.
        base: name of the model that all its edits were learned on.
        fingerprint: of that model.
        names: of the edits, in the order of placing.
        pairs: how many pairs each was placed with.
        keys: the unfitted keys [N, D].
        own: similarities of each edit's own left-out pairs to its key, [N, KEPT], NaN-padded.
        fitted: the fitted router, if there is one for exactly these edits.
    """

    encoder: str = ""
    base: str = ""
    fingerprint: str = ""
    names: tuple[str, ...] = ()
    pairs: tuple[int, ...] = ()
    keys: torch.Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    own: torch.Tensor = field(default_factory=lambda: torch.zeros(0, KEPT))
    fitted: Router | None = None

    @property
    def router(self) -> Router:
        """The fitted router, or else the one that needs no fitting."""
        return self.fitted or self.plain

    @cached_property
    def plain(self) -> Router:
        """The router that needs no fitting."""
        return Router(difference_projection(self.keys.shape[1]), self.keys)

    @cached_property
    def thresholds(self) -> torch.Tensor:
        """The similarity [N] from which an analogy is one of this edit.

        All but :data:`REFUSED` of the edit's own left-out pairs reach it, and of those of all edits
        together: of few pairs one more can be much less like the others. It is :data:`LOWEST` at
        least, so that an edit whose pairs are unlike each other is not found in everything, and
        such an edit has no say in the others' thresholds.
        """
        known = self.own[self.recognised]
        known = known[~known.isnan()]
        # Only the lowest are sorted: a large basis has millions of similarities. NaN comes last.
        lowest = self.own.topk(1 + int(REFUSED * (KEPT - 1)), dim=1, largest=False).values
        refused = (REFUSED * (self._counts - 1).clamp(min=0)).long()
        own = lowest.gather(1, refused[:, None])[:, 0].nan_to_num(nan=LOWEST)
        if len(known):
            # torch.quantile takes 16 million values at most.
            shared = known.kthvalue(1 + int(REFUSED * (len(known) - 1))).values
            own = own.minimum(shared)
        return own.clamp(min=LOWEST)

    @cached_property
    def recognised(self) -> torch.Tensor:
        """Which edits [N] would be found in half of their own left-out pairs, or more of them."""
        return 2 * (self.own >= LOWEST).sum(dim=1) >= self._counts.clamp(min=1)

    @cached_property
    def _counts(self) -> torch.Tensor:
        """How many similarities are known of each edit [N]."""
        return KEPT - self.own.isnan().sum(dim=1)

    def with_edit(self, name: str, pairs: int, key: torch.Tensor, own: torch.Tensor) -> Index:
        """The index with an edit added, or replaced where it stands; no longer fitted."""
        row = torch.full((1, KEPT), float("nan"))
        kept = own.flatten()[torch.linspace(0, own.numel() - 1, min(KEPT, own.numel())).long()]
        row[0, : len(kept)] = kept
        if name in self.names:
            k = self.names.index(name)
            counts = (*self.pairs[:k], pairs, *self.pairs[k + 1 :])
            keys, rows = self.keys.clone(), self.own.clone()
            keys[k], rows[k] = key, row[0]
            return replace(self, pairs=counts, keys=keys, own=rows, fitted=None)
        keys = key[None] if not self.names else torch.cat([self.keys, key[None]])
        return replace(
            self,
            names=(*self.names, name),
            pairs=(*self.pairs, pairs),
            keys=keys,
            own=torch.cat([self.own, row]),
            fitted=None,
        )

    def without(self, name: str) -> Index:
        """The index without an edit; no longer fitted."""
        k = self.names.index(name)
        keep = [i for i in range(len(self.names)) if i != k]
        return replace(
            self,
            names=tuple(self.names[i] for i in keep),
            pairs=tuple(self.pairs[i] for i in keep),
            keys=self.keys[keep],
            own=self.own[keep],
            fitted=None,
        )

    def renamed(self, old: str, new: str) -> Index:
        """The index with an edit under another name."""
        return replace(self, names=tuple(new if name == old else name for name in self.names))


def index_path(folder: Path) -> Path:
    """The index file of the basis in ``folder``."""
    return folder / FOLDER / FILE


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process at a time is within this block for a basis."""
    path = folder / FOLDER / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def read_index(folder: Path) -> Index:
    """The index of the basis in ``folder``; an empty one if nothing was ever placed.

    Raises:
        EditError: it is damaged, or of another version of this SDK.
    """
    path = index_path(folder)
    if not path.is_file():
        return Index()
    try:
        tensors, metadata = read_tensors(path)
        values: dict[str, Any] = json.loads(metadata["basis"])
        schema = values["schema"]
        if schema == SCHEMA:
            fitted = None
            if "temperature" in values:
                fitted = Router(tensors["projection"], tensors["fitted"], values["temperature"])
            index = Index(
                values["encoder"],
                values["base"],
                values["fingerprint"],
                tuple(values["names"]),
                tuple(values["pairs"]),
                tensors["keys"],
                tensors["own"],
                fitted,
            )
            if not len(index.names) == len(index.pairs) == len(index.keys) == len(index.own):
                raise ValueError("names and keys differ in number")
    except Exception as error:
        raise EditError(
            f"The index of the basis is damaged: {path} ({' '.join(str(error).split())[:100]})",
            next_step="Build it again from what was placed, with `pairedit basis reindex`",
        ) from error
    if schema != SCHEMA:
        raise EditError(
            f"The basis in {folder} was written by another version of this SDK",
            expected=f"schema {SCHEMA}",
            got=f"schema {schema}",
            next_step="Update pairedit-sdk, or build the index again with `pairedit basis reindex`",
        )
    return index


def write_index(folder: Path, index: Index) -> None:
    """Write the index in the place of the one before, at once."""
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "encoder": index.encoder,
        "base": index.base,
        "fingerprint": index.fingerprint,
        "names": index.names,
        "pairs": index.pairs,
    }
    tensors = {"keys": index.keys, "own": index.own}
    if index.fitted is not None:
        values["temperature"] = index.fitted.temperature
        tensors |= {"projection": index.fitted.projection, "fitted": index.fitted.keys}
    write_tensors(index_path(folder), tensors, {"basis": json.dumps(values)})
