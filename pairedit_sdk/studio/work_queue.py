"""One queue for all that wants the model: bounded, fair, and left by whoever no longer waits.

One thread works through it, so one request at a time has the model. Equal requests that wait
together are done once: they have the same key, and so the same answer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from pairedit_sdk.editing.hooks import StepHook
from pairedit_sdk.errors import PairEditError, counted

#: Requests that wait, bytes that they hold, and seconds that one may take with its waiting.
BOUND, BOUND_BYTES, TIMEOUT = 64, 512 * 2**20, 600.0
#: Urgent jobs in a row while others wait.
URGENT = 4
#: Seconds between two looks at whether a client is still there.
LOOK = 0.25


class BusyError(PairEditError):
    """The queue is full."""


class TooLateError(PairEditError):
    """A request that took too long."""


class LeftError(PairEditError):
    """Work that nobody waits for any more; raised in the work itself, between two steps."""


class Job:
    """Work in the queue, and how many wait for it.

    Args:
        work: called with a hook for (done, total).
        key: of equal work, if it has an equal.
        weight: bytes that it holds.
        urgent: whether it goes before what is not.
    """

    def __init__(
        self, work: Callable[[StepHook], Any], key: str | None, weight: int, urgent: bool = False
    ) -> None:
        self.work, self.key, self.weight, self.urgent = work, key, weight, urgent
        self.future: Future[Any] = Future()
        self.waiting = 1
        self.progress = (0, 0)

    def step(self, done: int, total: int) -> None:
        """The hook of the work.

        Raises:
            LeftError: nobody waits any more.
        """
        self.progress = (done, total)
        if self.waiting < 1:
            raise LeftError("Nobody waits for this request any more")


class Ticket:
    """One caller's place in the queue."""

    def __init__(self, queue: WorkQueue, job: Job) -> None:
        self._queue, self._job = queue, job
        self._until = time.monotonic() + queue.timeout
        self._left = False

    @property
    def progress(self) -> tuple[int, int]:
        """Steps that are done, and all; (0, 0) while it waits."""
        return self._job.progress

    @property
    def is_done(self) -> bool:
        """Whether there is a result, or an error."""
        return self._job.future.done()

    def leave(self) -> None:
        """Wait no more. Work that nobody else waits for is dropped, or ends after its step."""
        if not self._left:
            self._left = True
            self._queue.left(self._job)

    def result(self) -> Any:
        """What the work returns.

        Raises:
            TooLateError: it took too long.
            Exception: whatever the work raised.
        """
        try:
            return self._job.future.result(max(0.0, self._until - time.monotonic()))
        except FutureTimeoutError:
            if self._job.future.done():
                raise
            raise self._too_late() from None
        finally:
            self.leave()

    async def wait(self, gone: Callable[[], Awaitable[bool]] | None = None) -> Any:
        """The same without blocking.

        Args:
            gone: whether the client is not there any more.

        Raises:
            LeftError: the client is gone.
            TooLateError, Exception: as :meth:`result`.
        """
        future = asyncio.wrap_future(self._job.future)
        # Looked at even if nobody waits any more, or asyncio complains that nobody did.
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            while True:
                done, _ = await asyncio.wait([future], timeout=LOOK)
                if done:
                    return future.result()
                if gone is not None and await gone():
                    raise LeftError("The client is gone")
                if time.monotonic() > self._until:
                    raise self._too_late()
        finally:
            self.leave()

    def _too_late(self) -> TooLateError:
        return TooLateError(
            f"This request took more than {self._queue.timeout:g} seconds",
            next_step="Ask for fewer steps or a smaller picture, or try again when less is waiting",
        )


class WorkQueue:
    """A bounded queue and the thread that works through it.

    Args:
        bound: jobs that wait at most; one more is refused.
        timeout: seconds that a caller waits at most, its own work included.
        bound_bytes: that the waiting jobs hold at most.
    """

    def __init__(
        self, bound: int = BOUND, timeout: float = TIMEOUT, bound_bytes: int = BOUND_BYTES
    ) -> None:
        self.bound, self.timeout, self.bound_bytes = bound, timeout, bound_bytes
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._urgent_in_row = 0
        self._thread = threading.Thread(target=self._run, name="studio-work", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Jobs that wait or are under way."""
        with self._changed:
            return len(self._waiting) + (self._current is not None)

    def submit(
        self,
        work: Callable[[StepHook], Any],
        *,
        key: str | None = None,
        weight: int = 0,
        urgent: bool = False,
    ) -> Ticket:
        """Take a place in the queue.

        Args:
            work: to be done; called with a hook for (done, total), which it calls between steps.
            key: work with the same key has the same result, and shares it.
            weight: bytes that the work holds while it waits.
            urgent: goes before what is not, as somebody drags a slider; after :data:`URGENT` such
                jobs in a row one goes that is not.

        Raises:
            BusyError: the queue is full or closed.
        """
        with self._changed:
            if self._closed:
                raise BusyError("The studio is closing", next_step="Start it again")
            everything = [*self._waiting, *([self._current] if self._current else [])]
            for job in everything:
                if key is not None and job.key == key and job.waiting:
                    job.waiting += 1
                    return Ticket(self, job)
            held = sum(job.weight for job in self._waiting) + weight
            if len(self._waiting) >= self.bound or (self._waiting and held > self.bound_bytes):
                raise BusyError(
                    f"The queue is full: {counted(len(self._waiting), 'request')} waiting",
                    next_step="Try again in a few seconds",
                )
            job = Job(work, key, weight, urgent)
            (self._waiting.appendleft if urgent else self._waiting.append)(job)
            self._changed.notify()
            return Ticket(self, job)

    def left(self, job: Job) -> None:
        """A caller of this job waits no more."""
        with self._changed:
            job.waiting -= 1
            if job.waiting < 1 and job in self._waiting:
                self._waiting.remove(job)
                job.future.cancel()

    def close(self) -> None:
        """Refuse further work, drop what waits, and wait for the step under way."""
        with self._changed:
            self._closed = True
            for job in self._waiting:
                job.future.set_exception(BusyError("The studio is closing"))
            self._waiting.clear()
            if self._current is not None:
                self._current.waiting = 0
            self._changed.notify()
        self._thread.join(timeout=30)

    def _next(self) -> Job:
        """Take the job that is next."""
        job = self._waiting[0]
        if job.urgent and self._urgent_in_row >= URGENT:
            job = next((other for other in self._waiting if not other.urgent), job)
        self._urgent_in_row = self._urgent_in_row + 1 if job.urgent else 0
        self._waiting.remove(job)
        return job

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                job = self._current = self._next()
                job.future.set_running_or_notify_cancel()
            try:
                result = job.work(job.step)
            except BaseException as error:  # whatever it is, its caller is to have it
                job.future.set_exception(error)
                del error
            else:
                job.future.set_result(result)
                del result
            with self._changed:
                self._current = None
            del job  # or its pictures would stay until the next one comes
