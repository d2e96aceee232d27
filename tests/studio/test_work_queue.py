"""The queue: bounded, in order, equal work once, and nobody works for those who left."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pairedit_sdk.errors import InputError
from pairedit_sdk.studio.work_queue import BusyError, LeftError, TooLateError, WorkQueue


class Gate:
    """Work that goes on when it is let, and calls its hook all the while."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.ended: str | None = None

    def __call__(self, hook: Callable[[int, int], None]) -> str:
        self.begun.set()
        try:
            for step in range(2000):
                hook(step, 2000)
                if self.open.wait(0.01):
                    break
        except LeftError:
            self.ended = "left"
            raise
        self.ended = "done"
        return "through the gate"


@pytest.fixture
def queue() -> Iterator[WorkQueue]:
    made = WorkQueue(bound=3, timeout=30)
    yield made
    made.close()


@pytest.fixture
def gate(queue: WorkQueue) -> Iterator[Gate]:
    """Work that is under way in the queue."""
    made = Gate()
    made.ticket = queue.submit(made)  # type: ignore[attr-defined]
    assert made.begun.wait(5)
    yield made
    made.open.set()


def test_work_is_done_in_order_and_urgent_work_first(queue: WorkQueue, gate: Gate) -> None:
    done: list[str] = []
    tickets = [
        queue.submit(lambda hook, name=name: done.append(name), urgent=name == "urgent")
        for name in ("first", "second", "urgent")
    ]
    gate.open.set()
    for ticket in tickets:
        ticket.result()
    assert done == ["urgent", "first", "second"]


def test_ordinary_work_gets_its_turn_among_urgent_work() -> None:
    queue, blocked, done = WorkQueue(bound=99), Gate(), []
    queue.submit(blocked)
    assert blocked.begun.wait(5)
    tickets = [queue.submit(lambda hook, n=n: done.append(n)) for n in ("a", "b")]
    tickets += [queue.submit(lambda hook: done.append("u"), urgent=True) for _ in range(11)]
    blocked.open.set()
    for ticket in tickets:
        ticket.result()
    queue.close()
    assert "".join(done) == "uuuuauuuubuuu"


def test_ordinary_work_gets_its_turn_while_urgent_work_keeps_coming() -> None:
    queue, done = WorkQueue(), []

    def urgent(hook: Any) -> None:
        done.append("u")
        if len(done) < 50:
            queue.submit(urgent, urgent=True)

    blocked = Gate()
    queue.submit(blocked)
    assert blocked.begun.wait(5)
    queue.submit(urgent, urgent=True)
    ordinary = queue.submit(lambda hook: done.append("a"))
    blocked.open.set()
    ordinary.result()
    queue.close()
    assert "".join(done)[:5] == "uuuua"


def test_equal_work_is_done_once(queue: WorkQueue, gate: Gate) -> None:
    done: list[int] = []

    def work(hook: Any) -> int:
        done.append(1)
        return 7

    tickets = [queue.submit(work, key="same") for _ in range(20)]  # beyond the bound of 3
    gate.open.set()
    assert [ticket.result() for ticket in tickets] == [7] * 20
    assert done == [1]


def test_work_is_not_shared_when_it_is_over(queue: WorkQueue) -> None:
    numbers = iter(range(9))
    assert queue.submit(lambda hook: next(numbers), key="same").result() == 0
    assert queue.submit(lambda hook: next(numbers), key="same").result() == 1


def test_a_full_queue_refuses(queue: WorkQueue, gate: Gate) -> None:
    for _ in range(3):
        queue.submit(lambda hook: None)
    with pytest.raises(BusyError, match="The queue is full: 3 requests waiting"):
        queue.submit(lambda hook: None)
    assert len(queue) == 4


def test_a_queue_that_holds_too_much_refuses(gate: Gate) -> None:
    queue = WorkQueue(bound=9, bound_bytes=100)
    blocked = Gate()
    queue.submit(blocked)
    assert blocked.begun.wait(5)
    queue.submit(lambda hook: None, weight=500)  # one alone may be larger
    with pytest.raises(BusyError):
        queue.submit(lambda hook: None, weight=1)
    blocked.open.set()
    queue.close()


def test_whoever_leaves_frees_the_place(queue: WorkQueue, gate: Gate) -> None:
    done: list[int] = []
    tickets = [queue.submit(lambda hook: done.append(1)) for _ in range(3)]
    tickets[1].leave()
    last = queue.submit(lambda hook: done.append(2))
    gate.open.set()
    last.result()
    assert done == [1, 1, 2]


def test_work_under_way_ends_after_its_step_when_all_have_left(queue: WorkQueue) -> None:
    work = Gate()
    one, other = queue.submit(work, key="k"), queue.submit(work, key="k")
    assert work.begun.wait(5)
    one.leave()
    time.sleep(0.1)
    assert work.ended is None  # somebody still waits
    other.leave()
    assert queue.submit(lambda hook: "next").result() == "next"
    assert work.ended == "left"


def test_new_equal_work_does_not_join_what_is_being_dropped(queue: WorkQueue) -> None:
    work, again = Gate(), Gate()
    queue.submit(work, key="k").leave()
    again.open.set()
    assert queue.submit(again, key="k").result() == "through the gate"


def test_an_error_reaches_all_who_wait_and_the_queue_goes_on(queue: WorkQueue, gate: Gate) -> None:
    def fails(hook: Any) -> None:
        raise InputError("No picture")

    tickets = [queue.submit(fails, key="k") for _ in range(2)]
    gate.open.set()
    for ticket in tickets:
        with pytest.raises(InputError, match="No picture"):
            ticket.result()
    assert queue.submit(lambda hook: 1).result() == 1


def test_waiting_too_long_ends_the_work() -> None:
    queue, work = WorkQueue(timeout=0.2), Gate()
    with pytest.raises(TooLateError, match=r"more than 0.2 seconds"):
        queue.submit(work).result()
    assert queue.submit(lambda hook: 1).result() == 1
    assert work.ended == "left"
    queue.close()


def test_nothing_is_held_after_the_work(queue: WorkQueue) -> None:
    class Picture:
        pass

    picture = Picture()
    there = weakref.ref(picture)
    ticket = queue.submit(lambda hook, held=picture: held)
    del picture
    ticket.result()
    del ticket
    time.sleep(0.05)
    gc.collect()
    assert there() is None


def test_a_client_that_is_gone_ends_the_work(queue: WorkQueue) -> None:
    work = Gate()
    looks = iter([False, True])

    async def gone() -> bool:
        return next(looks)

    with pytest.raises(LeftError):
        asyncio.run(queue.submit(work).wait(gone))
    assert queue.submit(lambda hook: 1).result() == 1
    assert work.ended == "left"


def test_progress_is_told(queue: WorkQueue, gate: Gate) -> None:
    done, total = gate.ticket.progress  # type: ignore[attr-defined]
    assert total == 2000
    assert 0 <= done < total


def test_a_closed_queue_drops_what_waits_and_refuses() -> None:
    queue, work = WorkQueue(), Gate()
    under_way, waiting = queue.submit(work), queue.submit(lambda hook: 1)
    assert work.begun.wait(5)
    queue.close()
    for ticket, kind in ((under_way, LeftError), (waiting, BusyError)):
        with pytest.raises(kind):
            ticket.result()
    with pytest.raises(BusyError, match="closing"):
        queue.submit(lambda hook: 1)
