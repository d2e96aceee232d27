"""What was used last, a bounded number of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by their keys; beyond the bound, what was not used for longest goes.

    Args:
        bound: values at most.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._held: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of this key; made if it is not held."""
        if key not in self._held:
            self._held[key] = make()
        self._held.move_to_end(key)
        while len(self._held) > self.bound:
            self._held.popitem(last=False)
        return self._held[key]

    def clear(self) -> None:
        """Hold nothing any more."""
        self._held.clear()
