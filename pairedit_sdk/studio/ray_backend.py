"""The HTTP API's work, handed to the replicas of a Ray: each request gets one answer.

Ray's router finds a replica that has time, and counts who waits. What is done here is to ask again
when a replica was lost with a request: the same request makes the same picture, so doing it twice
changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import ray.exceptions
from fastapi.concurrency import run_in_threadpool
from ray import serve
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)

from pairedit_sdk.errors import PairEditError, counted
from pairedit_sdk.studio.backend import Gone
from pairedit_sdk.studio.work import Made, Work
from pairedit_sdk.studio.work_queue import BOUND_BYTES, LOOK, BusyError, LeftError, TooLateError

#: A request that takes its replica down with it so many times is given up.
TRIES = 3


class RayBackend:
    """Replicas behind Ray's router, see :class:`~pairedit_sdk.studio.backend.Backend`.

    Args:
        replicas: Ray's handle of their deployment.
        model: the name of the model that they have.
        timeout: seconds that a request may take with its waiting and all its tries.
        bound_bytes: of the pictures of all requests under way, at most.
    """

    def __init__(
        self, replicas: Any, model: str, timeout: float, bound_bytes: int = BOUND_BYTES
    ) -> None:
        self._replicas, self._model, self._timeout = replicas, model, timeout
        self._bound_bytes = bound_bytes
        self._under_way = self._held = 0

    async def make(self, work: Work, gone: Gone) -> Made:
        """See :class:`~pairedit_sdk.studio.backend.Backend`.

        Raises:
            BusyError: too many requests wait.
            TooLateError: it took too long.
            LeftError: the client is gone.
            PairEditError: why it cannot be made.
        """
        weight = work.weight
        if self._under_way and self._held + weight > self._bound_bytes:
            raise _busy(f"{counted(self._under_way, 'request')} under way")
        until = time.monotonic() + self._timeout
        self._under_way += 1
        self._held += weight
        try:
            for _ in range(TRIES):
                try:
                    return await self._asked_once(work, gone, until)
                except ray.exceptions.RayTaskError as error:
                    # Ray's own class and traceback around what the replica raised.
                    cause = getattr(error, "cause", None)
                    raise (cause if isinstance(cause, Exception) else error) from None
                except (ray.exceptions.RayError, ReplicaUnavailableError) as error:
                    lost: Exception = error
                except BackPressureError as error:
                    raise _busy(f"{counted(error.args[0], 'request')} waiting") from None
                except DeploymentUnavailableError as error:
                    raise PairEditError(
                        "No replica could be started", next_step="See Ray's logs for the reason"
                    ) from error
            said = " ".join(str(lost).split())[:200]
            raise PairEditError(
                f"This request lost its replica {TRIES} times ({said})",
                next_step="See Ray's logs; often the memory ran out",
            )
        finally:
            self._under_way -= 1
            self._held -= weight

    async def health(self) -> dict[str, Any]:
        """See :class:`~pairedit_sdk.studio.backend.Backend`; with the number of replicas that are
        ready."""
        ready = await run_in_threadpool(self._ready)
        return {
            "model": self._model,
            "loaded": ready > 0,
            "waiting": self._under_way,
            "replicas": ready,
        }

    async def _asked_once(self, work: Work, gone: Gone, until: float) -> Made:
        names = sorted({part.name for part in getattr(work.request, "edits", [])})
        # Without edits any replica will do, and Ray takes the one with the least to do.
        asked = self._replicas.options(multiplexed_model_id=",".join(names)) if names else None
        response = (asked or self._replicas).make.remote(work)
        answer = asyncio.ensure_future(_awaited(response))
        try:
            while True:
                done, _ = await asyncio.wait([answer], timeout=LOOK)
                if done:
                    return answer.result()
                if await gone():
                    raise LeftError("The client is gone")
                if time.monotonic() > until:
                    raise TooLateError(
                        f"This request took more than {self._timeout:g} seconds",
                        next_step="Ask for fewer steps or a smaller picture, or try again when "
                        "less is waiting",
                    )
        finally:
            if not answer.done():
                response.cancel()  # in the replica too, after the step under way
                answer.cancel()

    def _ready(self) -> int:
        """Replicas that have their model."""
        here = serve.get_replica_context()
        states = serve.status().applications[here.app_name].deployments
        return int(states["Replica"].replica_states.get("RUNNING", 0))


async def _awaited(response: Any) -> Made:
    return cast("Made", await response)


def _busy(how: str) -> BusyError:
    return BusyError(f"The queue is full: {how}", next_step="Try again in a few seconds")
