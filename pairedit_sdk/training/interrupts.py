"""Ctrl-C and SIGTERM: in a training the step under way is finished first."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Set in the environment of a command, it ends as by SIGTERM when its standard input ends.
STOP_WITH_INPUT = "PAIREDIT_STOP_WITH_STDIN"
#: Set when a stream that is watched has ended.
_ended = threading.Event()


class Terminated(KeyboardInterrupt):  # no "Error" in its name, like its base class
    """Raised for SIGTERM, which schedulers and ``kill`` send. It is handled like Ctrl-C."""


class StopRequest:
    """Whether a signal has asked the training to stop, and which one."""

    def __init__(self) -> None:
        self.number = 0

    def is_set(self) -> bool:
        """Whether there was one, or the input that is watched has ended."""
        return self.number != 0 or input_has_ended()

    def as_interrupt(self) -> KeyboardInterrupt:
        """The exception to raise: KeyboardInterrupt too if another process got the signal."""
        terminated = self.number == signal.SIGTERM or input_has_ended()
        return Terminated() if terminated else KeyboardInterrupt()


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM raises :class:`Terminated`, so that what is open is closed.

    Outside of the main thread nothing changes, as only that one receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        # None is a handler that was not set from Python, which cannot be put back.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def stop_with_input() -> None:
    """Let the end of standard input act like SIGTERM, if :data:`STOP_WITH_INPUT` is set.

    To be called within :func:`terminable`. Processes that this one starts are not told to.
    """
    if os.environ.pop(STOP_WITH_INPUT, None):
        terminate_at_end_of(0)


def terminate_at_end_of(stream: int) -> None:
    """From now on the end of ``stream``, a file descriptor, acts like SIGTERM.

    A program that starts a training keeps the other end of a pipe. The system closes that end
    however the program ends, so the training never goes on without it, and keeps its checkpoint.
    A pipe works on every system. Linux's own signal for this (PR_SET_PDEATHSIG) already comes when
    the thread that started the process ends, which in a server is soon.

    The exception may come to nothing where it is raised: in a destructor, or where a library is
    being imported that takes it for another error. So a training also asks after each step, see
    :func:`input_has_ended`. Where SIGTERM has no handler of Python's, only that is left.
    """

    def watch() -> None:
        # Not through sys.stdin, whose lock a thread that reads would still hold as Python ends.
        with suppress(OSError):
            while os.read(stream, 4096):
                pass
        _ended.set()
        _thread.interrupt_main(signal.SIGTERM)

    threading.Thread(target=watch, name="end of input", daemon=True).start()


def input_has_ended() -> bool:
    """Whether the stream of :func:`terminate_at_end_of` has ended."""
    return _ended.is_set()


@contextmanager
def stopped_between_steps() -> Iterator[StopRequest]:
    """Within the block a first Ctrl-C or SIGTERM only sets the request; a second one stops at once.

    In the middle of an optimiser's step the weights are no state that a checkpoint could hold. A
    SIGTERM that the program handles in its own way is left to it.
    """
    stopped = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {}
    # None is a handler that was not set from Python, which cannot be put back.
    if (interrupt := signal.getsignal(signal.SIGINT)) is not None:
        before[signal.SIGINT] = interrupt
    if (terminate := signal.getsignal(signal.SIGTERM)) in (signal.SIG_DFL, _terminate):
        before[signal.SIGTERM] = terminate

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: object) -> None:
        stopped.number = number
        restore()

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        restore()


def _terminate(number: int, frame: object) -> None:
    raise Terminated
