"""The lock of a transformer, so that one thread at a time uses a model.

LoRAs are attached to the model's one transformer, so a pass of another thread would see them too.
Whoever attaches one holds this lock until all are detached (:mod:`pairedit_sdk.lora.adapters`), and
every method of a model that computes or moves something takes it. So a thread that calls a model
while another one's edit is attached waits, whichever way it calls it. The lock is re-entrant:
within one thread nothing waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from torch import nn

from pairedit_sdk.errors import UsageError

#: Beside the transformers, so that these can be copied and saved as they are.
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_NEW = threading.Lock()

F = TypeVar("F", bound=Callable[..., Any])


class Holdable(Protocol):
    """Anything with a lock, such as :class:`pairedit_sdk.models.protocol.FlowModel`."""

    @property
    def lock(self) -> threading.RLock:
        """The lock of its transformer."""


def lock_of(transformer: nn.Module) -> threading.RLock:
    """The lock of this transformer, always the same one."""
    with _NEW:  # two threads that ask first must get one lock
        return _LOCKS.setdefault(transformer, threading.RLock())


def require_model(model: object) -> None:
    """Refuse a model's name or path in the place of the model.

    Raises:
        UsageError: with how to load it.
    """
    if isinstance(model, str | Path):
        raise UsageError(
            f"{model!r} is no model",
            expected="what load_model gives",
            got=type(model).__name__,
            next_step=f"Load it with load_model({str(model)!r})",
        )


def holding(function: F) -> F:
    """Decorator: hold the model's lock while the function runs.

    Args:
        function: its first argument is a model; or a method of one.
    """

    @wraps(function)
    def held(model: Holdable, *args: Any, **kwargs: Any) -> Any:
        require_model(model)
        with model.lock:
            return function(model, *args, **kwargs)

    return cast(F, held)


def holding_transformer(function: F) -> F:
    """:func:`holding` for a function whose first argument is a transformer."""

    @wraps(function)
    def held(transformer: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with lock_of(transformer):
            return function(transformer, *args, **kwargs)

    return cast(F, held)
