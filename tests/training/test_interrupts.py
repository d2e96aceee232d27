"""Ctrl-C and SIGTERM: noted between steps, at once outside of them, and others' handlers kept."""

import signal
import threading

import pytest

from pairedit_sdk.training.interrupts import Terminated, stopped_between_steps, terminable

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
