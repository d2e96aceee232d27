"""Ctrl-C and SIGTERM: noted between steps, at once outside of them, and others' handlers kept."""

import os
import signal
import threading
import time

import pytest

from pairedit_sdk.training.interrupts import (
    STOP_WITH_INPUT,
    Terminated,
    input_has_ended,
    stop_with_input,
    stopped_between_steps,
    terminable,
    terminate_at_end_of,
)

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def usual():
    """The handlers of a program in the foreground: a shell's background jobs ignore Ctrl-C."""
    before = {number: signal.getsignal(number) for number in BOTH}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_signal_is_noted_and_the_second_stops_at_once(number, kind):
    with terminable():
        before = [signal.getsignal(one) for one in BOTH]
        with stopped_between_steps() as stopped:
            assert not stopped.is_set()
            signal.raise_signal(number)
            assert stopped.is_set()
            assert type(stopped.as_interrupt()) is kind
            with pytest.raises(KeyboardInterrupt) as caught:
                signal.raise_signal(number)
            assert caught.type is kind
        assert [signal.getsignal(one) for one in BOTH] == before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_training_in_a_script_is_stopped_between_steps_too():
    with stopped_between_steps() as stopped:
        signal.raise_signal(signal.SIGTERM)  # outside it would end this process
        assert isinstance(stopped.as_interrupt(), Terminated)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_programs_own_answer_to_sigterm_stays():
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with stopped_between_steps() as stopped:
        signal.raise_signal(signal.SIGTERM)
        assert not stopped.is_set()
    assert heard == [signal.SIGTERM]


def test_a_request_of_another_process_is_an_interrupt():
    with stopped_between_steps() as stopped:
        assert type(stopped.as_interrupt()) is KeyboardInterrupt


def test_another_thread_leaves_signals_alone():
    found = []

    def work():
        with terminable(), stopped_between_steps() as stopped:
            found.append((stopped.is_set(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.SIG_DFL)]


@pytest.fixture
def pipe(monkeypatch):
    """The two ends of a pipe, reading and writing; forgotten afterwards that one has ended."""
    monkeypatch.setattr("pairedit_sdk.training.interrupts._ended", threading.Event())
    ends = list(os.pipe())
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # a test has closed it


def _wait(condition=lambda: False, seconds=30):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)


def _close_and_wait(stream):
    os.close(stream)  # the signal may come within this line already
    _wait()


def test_the_end_of_a_pipe_acts_like_sigterm(pipe):
    with terminable():
        terminate_at_end_of(pipe[0])
        os.write(pipe[1], b"what is said is of no matter")
        _wait(seconds=0.05)
        with pytest.raises(Terminated):
            _close_and_wait(pipe[1])


def test_the_end_of_a_pipe_stops_a_training_between_steps(pipe):
    with terminable(), stopped_between_steps() as stopped:
        terminate_at_end_of(pipe[0])
        os.close(pipe[1])
        _wait(stopped.is_set)
        assert isinstance(stopped.as_interrupt(), Terminated)


def test_a_signal_that_comes_to_nothing_stops_a_training_all_the_same(pipe):
    terminate_at_end_of(pipe[0])  # SIGTERM has no handler yet
    os.close(pipe[1])
    _wait(input_has_ended)
    with stopped_between_steps() as stopped:
        assert stopped.is_set()
        assert isinstance(stopped.as_interrupt(), Terminated)


def test_input_is_watched_only_where_that_is_asked_for(monkeypatch):
    watched = []
    monkeypatch.setattr("pairedit_sdk.training.interrupts.terminate_at_end_of", watched.append)
    monkeypatch.delenv(STOP_WITH_INPUT, raising=False)
    stop_with_input()
    assert watched == []
    monkeypatch.setenv(STOP_WITH_INPUT, "1")
    stop_with_input()
    assert watched == [0]
    assert STOP_WITH_INPUT not in os.environ  # what this process starts is not meant
