"""What the HTTP API hands its work to: this process, or many with Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from pairedit_sdk.studio.engine import Engine
    from pairedit_sdk.studio.work import Made, Work
    from pairedit_sdk.studio.work_queue import WorkQueue

#: Whether a client is gone.
Gone = Callable[[], Awaitable[bool]]


class Backend(Protocol):
    """Makes pictures."""

    async def make(self, work: Work, gone: Gone) -> Made:
        """The picture; work that nobody waits for any more is dropped.

        Raises:
            PairEditError: why it cannot be made.
        """
        ...

    async def health(self) -> dict[str, Any]:
        """What is there, as JSON."""
        ...


class LocalBackend:
    """One engine behind one queue."""

    def __init__(self, engine: Engine, queue: WorkQueue) -> None:
        self.engine, self.queue = engine, queue

    async def make(self, work: Work, gone: Gone) -> Made:
        """See :class:`Backend`."""
        # A hash of all its pictures: not on the event loop.
        key = await asyncio.to_thread(lambda: work.key)
        ticket = self.queue.submit(
            lambda hook: work.do(self.engine, hook), key=key, weight=work.weight
        )
        return cast("Made", await ticket.wait(gone))

    async def health(self) -> dict[str, Any]:
        """See :class:`Backend`."""
        return {
            "model": self.engine.model_name,
            "loaded": self.engine.is_loaded,
            "waiting": len(self.queue),
        }
