"""A replica: a process of Ray's with a model of its own, which does one request after the other."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ray import serve

from pairedit_sdk.io.threads import wait_politely
from pairedit_sdk.studio.engine import KEPT_EDITS, Engine
from pairedit_sdk.studio.work_queue import WorkQueue

if TYPE_CHECKING:
    from pairedit_sdk.studio.engine import LoadingOptions
    from pairedit_sdk.studio.work import Made, Work


class Replica:
    """One loaded model and the shared library.

    Args:
        library: the folder of edits.
        loading: the model, which is loaded before the first request is taken.
        timeout: seconds that a request may take here.

    Raises:
        BaseModelError: the model cannot be loaded.
    """

    def __init__(self, library: Path, loading: LoadingOptions, timeout: float) -> None:
        wait_politely(os.environ)  # nothing has imported torch yet
        self._engine = Engine(library, loading)
        _ = self._engine.model
        # Its thread has the model; this one stays free to tell Ray that the replica is alive.
        self._queue = WorkQueue(timeout=timeout)

    async def make(self, work: Work) -> Made:
        """Make the picture. Where Ray cancels the call, the work ends after its step.

        Raises:
            PairEditError: why it cannot be made.
        """
        names = serve.get_multiplexed_model_id()
        if names:
            await self.read(names)
        key = await asyncio.to_thread(lambda: work.key)
        ticket = self._queue.submit(
            lambda hook: work.do(self._engine, hook), key=key, weight=work.weight
        )
        return cast("Made", await ticket.wait())

    # Ray calls a "model" what is multiplexed; here it is the edits of a request, on the one model.
    # It notes which replica has read which, and sends requests for the same edits there while it
    # has time. So a replica reads and keeps some of a large library's edits, not all of them. The
    # engine keeps them, and looks at each request whether their files are still the same.
    @serve.multiplexed(max_num_models_per_replica=KEPT_EDITS)  # type: ignore[untyped-decorator]
    async def read(self, names: str) -> str:
        """Read edits of the library.

        Args:
            names: of the edits, with commas between them.

        Raises:
            UsageError: there is none of that name.
            EditError: its file is damaged.
        """

        def read(_: Any) -> None:
            for name in names.split(","):
                self._engine.edit_named(name)

        await self._queue.submit(read).wait()
        return names
