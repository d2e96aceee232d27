from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from pairedit_sdk.cli.progress import SMOOTHING, Meter, _rate


def _step(step: int, content: float, semantic: float, steps: int = 40) -> SimpleNamespace:
    return SimpleNamespace(
        step=step, steps=steps, content_loss=content, semantic_loss=semantic, lr=0.1
    )


def _console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=160), stream


def test_losses_are_running_means_that_start_at_the_first_value() -> None:
    with Meter(None, "training", 3) as meter:
        meter.training(_step(1, 2.0, 8.0))
        assert meter.losses == {"content_loss": 2.0, "semantic_loss": 8.0}
        meter.training(_step(2, 4.0, 8.0))
    weights = (SMOOTHING * (1 - SMOOTHING), 1 - SMOOTHING)
    mean = (weights[0] * 2.0 + weights[1] * 4.0) / sum(weights)
    assert meter.losses["content_loss"] == pytest.approx(mean)
    assert meter.losses["semantic_loss"] == pytest.approx(8.0)


def test_a_file_gets_a_plain_line_every_tenth() -> None:
    console, stream = _console(terminal=False)
    with Meter(console, "training x", 40) as meter:
        for step in range(1, 41):
            meter.training(_step(step, 0.5, 0.25))
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"training x: {step} of 40" for step in range(4, 41, 4)
    ]
    assert all(line.endswith("content 0.5000  semantic 0.2500") for line in lines)
    assert " steps/s, " in lines[0]
    assert lines[-1].split(", ")[2] == "0 s left"


def test_a_training_without_a_content_lora_shows_no_loss_of_it() -> None:
    console, stream = _console(terminal=False)
    with Meter(console, "training x", 10) as meter:
        for step in range(1, 11):
            meter.training(_step(step, 0.0, 0.25, 10))
    assert all(line.endswith(", semantic 0.2500") for line in stream.getvalue().splitlines()[1:])
    assert "content" not in stream.getvalue()


def test_a_terminal_gets_a_bar_with_rate_time_and_losses() -> None:
    console, stream = _console(terminal=True)
    with Meter(console, "training x", 40) as meter:
        for step in range(1, 31):
            meter.training(_step(step, 0.5, 0.25))
        meter._bar.refresh()
    shown = stream.getvalue()
    assert "30/40" in shown
    assert "content 0.5000  semantic 0.2500" in shown
    assert " steps/s" in shown


@pytest.mark.parametrize(
    ("speed", "said"),
    [(2.14, "2.1 pictures/s"), (1.0, "1.0 pictures/s"), (0.2, "5.0 s/picture"), (0.0, "")],
)
def test_a_rate_has_the_unit_of_what_is_counted(speed: float, said: str) -> None:
    assert _rate(speed, "picture") == said


def test_a_bar_is_one_line_of_a_narrow_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80)
    with Meter(console, "training glasses", 40) as meter:
        for step in range(1, 31):
            meter.training(_step(step, 0.5, 0.25))
        meter._bar.refresh()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).split("\r")[-2]
    assert re.search(r" [\d.]+ steps/s .*content 0.5000  semantic 0.2500$", last.strip())
    assert "\n" not in last.strip()


@pytest.mark.parametrize("terminal", [False, True])
def test_what_comes_together_is_timed_from_the_beginning(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    """Two at once after 10 s are one in 5 s, and not two in no time."""
    now = SimpleNamespace(time=0.0)
    monkeypatch.setattr("time.perf_counter", lambda: now.time)
    console, stream = _console(terminal=terminal)
    with Meter(console, "editing", 4, "picture", together=True) as meter:
        meter._bar.get_time = lambda: now.time
        meter._bar.tasks[0].start_time = 0.0
        meter._bar.tasks[0]._get_time = lambda: now.time
        now.time = 10.0
        meter.advance()
        meter.advance()
        meter._bar.refresh()
    said = stream.getvalue()
    assert re.search(r"5\.0 s/picture,? 10 s left", said)


def test_nobody_watching() -> None:
    with Meter(None, "drawing", 2) as meter:
        meter.advance()
        meter.update(2, 2)


def test_advance_counts() -> None:
    console, stream = _console(terminal=False)
    with Meter(console, "drawing", 2) as meter:
        meter.advance("one")
        meter.advance("two")
    first, second = stream.getvalue().splitlines()
    assert first == "drawing: 1 of 2, one"
    assert second.startswith("drawing: 2 of 2, ")
