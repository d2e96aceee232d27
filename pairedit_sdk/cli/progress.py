"""A progress bar for long steps: rate, remaining time, losses.

On a terminal it is a live bar; elsewhere (a log file, a pipe) it is a plain line every tenth of
the way, so that a run in the background can be followed too.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from pairedit_sdk.training.trainer import StepInfo

#: Losses of single steps jump with the noise level drawn; what is shown is their running mean.
SMOOTHING = 0.95


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))  # the bar gives way instead
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else _rate(speed, self._unit))


class _Pace(ProgressColumn):
    """Rate and remaining time since the beginning, for what comes several at once."""

    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._unit = unit

    def render(self, task: Task) -> Text:
        if not (task.completed and task.elapsed and task.total):
            return Text("")
        speed = task.completed / task.elapsed
        left = (task.total - task.completed) / speed
        return Text(f"{_rate(speed, self._unit)} {left:.0f} s left")


def _rate(speed: float, unit: str) -> str:
    if speed >= 1:
        return f"{speed:.1f} {unit}s/s"
    return f"{1 / speed:.1f} s/{unit}" if speed > 0 else ""


class Meter:
    """One long step's progress; use it as a context manager.

    Args:
        console: where to show it; None shows nothing, but the running means are still kept.
        label: what is going on.
        total: how many steps there will be, if that is known before the first of them.
        unit: what is counted, in the singular.
        together: whether several come at once, so that the time is that since the beginning. The
            time of single steps is that since the first one, which is often the slowest.
    """

    def __init__(
        self,
        console: Console | None,
        label: str,
        total: int | None = None,
        unit: str = "step",
        *,
        together: bool = False,
    ) -> None:
        self.losses: dict[str, float] = {}
        self._unit = unit
        self._console, self._label, self._total = console, label, total
        self._seen = 0
        self._weight = 0.0
        self._first: tuple[float, int] | None = None
        self._together = together
        live = console is not None and console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            *([_Pace(unit)] if together else [_Rate(unit), TimeRemainingColumn(compact=True)]),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not live,
            transient=True,
        )
        self._task = self._bar.add_task(label, total=total, note="")
        self._live = live

    def __enter__(self) -> Meter:
        self._bar.start()
        if self._together:
            self._first = (time.perf_counter(), 0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, step: int, steps: int, note: str = "") -> None:
        """Show that ``step`` of ``steps`` are done."""
        if self._live:
            self._bar.update(self._task, completed=step, total=steps, note=note)
        elif self._console is not None and step * 10 // steps > self._seen * 10 // steps:
            self._console.print(
                self._line(step, steps, note), markup=False, highlight=False, soft_wrap=True
            )
        if self._first is None:
            self._first = (time.perf_counter(), step)
        self._seen = step

    def advance(self, note: str = "") -> None:
        """Show that one more step of the ``total`` given is done."""
        self.update(self._seen + 1, self._total or self._seen + 1, note)

    def training(self, info: StepInfo) -> None:
        """Show a training step; the losses shown are running means."""
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        for name in ("content_loss", "semantic_loss"):
            mean = self.losses.get(name, 0.0)
            share = (1 - SMOOTHING) / self._weight
            self.losses[name] = mean + share * (float(getattr(info, name)) - mean)
        # A training without a content LoRA has no loss of that name: it is 0 throughout.
        note = "  ".join(
            f"{name} {self.losses[f'{name}_loss']:.4f}"
            for name in ("content", "semantic")
            if self.losses[f"{name}_loss"]
        )
        self.update(info.step, info.steps, note)

    def _line(self, step: int, steps: int, note: str) -> str:
        parts = [f"{self._label}: {step} of {steps}"]
        if self._first is not None and step > self._first[1]:
            elapsed = max(time.perf_counter() - self._first[0], 1e-9)
            speed = (step - self._first[1]) / elapsed
            parts += [_rate(speed, self._unit), f"{(steps - step) / speed:.0f} s left"]
        return ", ".join([*parts, note] if note else parts)
