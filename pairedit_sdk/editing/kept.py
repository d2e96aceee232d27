"""What edits of one picture have in common, kept in memory from one edit to the next.

FlowEdit's plain branch sees no edit: its velocities are the same whatever the edits and their
scales are. What the LoRA of an edit does to the picture at a scale does not depend on the edits
beside it, and an instruction or a shown change does the same at every scale. So where a person
tries scales on one picture, most of the work has been done before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import Edit

#: What tensors depend on.
Key = tuple[Hashable, ...]
Tensors = tuple[torch.Tensor, ...]


class TensorStore:
    """Tensors by their keys. Beyond a number of bytes those are dropped that were not asked for
    longest; the newest stay whatever their size.

    Args:
        most: bytes that are held at most.
    """

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self._tensors: OrderedDict[Key, Tensors] = OrderedDict()
        self._names: WeakKeyDictionary[Edit, str] = WeakKeyDictionary()
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._tensors)

    def get(self, key: Key) -> Tensors | None:
        """What was put there, if it is still held."""
        found = self._tensors.get(key)
        if found is not None:
            self._tensors.move_to_end(key)
        return found

    def put(self, key: Key, tensors: Sequence[torch.Tensor]) -> None:
        """Hold these tensors. A view is copied, as it would hold the whole that it is a part of."""
        self._drop(key)
        self._tensors[key] = tuple(_alone(tensor.detach()) for tensor in tensors)
        self.held += _bytes(self._tensors[key])
        while self.held > self.most and len(self._tensors) > 1:
            self._drop(next(iter(self._tensors)))

    def name_of(self, edit: Edit) -> str:
        """A name for the edit that no other one gets, even after this one is gone. The edit is not
        held by it."""
        if edit not in self._names:
            self._names[edit] = f"edit{next(self._numbers)}"
        return self._names[edit]

    def _drop(self, key: Key) -> None:
        self.held -= _bytes(self._tensors.pop(key, ()))


@dataclass(frozen=True)
class Kept:
    """What is kept of one picture on one model, as far as it depends on what is named here.

    It is used while the model's lock is held.

    Attributes:
        store: of the tensors.
        about: what all of them depend on, such as the size at which the picture is seen.
    """

    store: TensorStore
    about: Key = ()

    def under(self, *about: Hashable) -> Kept:
        """What depends on this too."""
        return replace(self, about=(*self.about, *about))

    def get(self, *key: Hashable) -> Tensors | None:
        """What is kept by this key, if it is."""
        return self.store.get((*self.about, *key))

    def put(self, *key: Hashable, tensors: Sequence[torch.Tensor]) -> None:
        """Keep tensors by this key."""
        self.store.put((*self.about, *key), tensors)


def each_kept(
    kept: Kept | None, keys: Sequence[Key], make: Callable[[Sequence[int]], torch.Tensor]
) -> torch.Tensor:
    """One tensor for each key, [K, …]: those that are kept, and the others, which are kept then.

    Args:
        kept: ``None`` keeps nothing.
        keys: K of them.
        make: of the keys with these numbers, in one go: [N, …].
    """
    if kept is None:
        return make(range(len(keys)))
    found = {key: tensors[0] for key in keys if (tensors := kept.get(*key)) is not None}
    new = [keys.index(key) for key in dict.fromkeys(keys) if key not in found]
    for number, tensor in zip(new, make(new) if new else (), strict=True):
        kept.put(*keys[number], tensors=[tensor])
        found[keys[number]] = tensor
    return torch.stack([found[key] for key in keys])


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    whole = tensor.untyped_storage().nbytes()
    return tensor if whole == tensor.nbytes else tensor.clone()


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)
