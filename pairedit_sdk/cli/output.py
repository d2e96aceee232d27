"""What a command prints: words or JSON on standard output, progress on standard error."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from pairedit_sdk.cli import startup
from pairedit_sdk.training.processes import is_first

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from pairedit_sdk.cli.progress import Meter

#: Where a table goes to a file or a pipe, its lines may be this long.
PIPE_WIDTH = 140


@dataclass(frozen=True)
class Output:
    """The manner of one command's output.

    Args:
        as_json: only the result, as JSON, on standard output.
        quiet: no words and no progress.
    """

    as_json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if not is_first():  # of several processes one speaks
            object.__setattr__(self, "as_json", False)
            object.__setattr__(self, "quiet", True)
        notes = logging.getLogger("pairedit_sdk")
        notes.setLevel(logging.ERROR if self.quiet else logging.NOTSET)

    @property
    def words(self) -> Console | None:
        """The console for people, or None where they are to see nothing."""
        return None if self.quiet or self.as_json else _console(stderr=False)

    @property
    def aside(self) -> Console | None:
        """The console for progress, on standard error, or None."""
        return None if self.quiet else _console(stderr=True)

    def say(self, text: str = "") -> None:
        """Print a sentence for people."""
        if self.words is not None:
            typer.echo(text)

    def table(self, table: Table) -> None:
        """Print a table for people."""
        if self.words is not None:
            self.words.print(table)

    def meter(
        self, label: str, total: int | None = None, unit: str = "step", *, together: bool = False
    ) -> Meter:
        """A progress bar on standard error; see :class:`~pairedit_sdk.cli.progress.Meter`."""
        from pairedit_sdk.cli.progress import Meter

        startup.started()
        return Meter(self.aside, label, total, unit, together=together)

    def result(self, value: Mapping[str, Any]) -> None:
        """Print the result where JSON was asked for."""
        if self.as_json:
            typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, default=str))

    def line(self, value: Mapping[str, Any]) -> None:
        """Print one of several results, each on a line of its own, where JSON was asked for."""
        if self.as_json:
            typer.echo(json.dumps(_plain(value), ensure_ascii=False, default=str))


def _console(*, stderr: bool) -> Console:
    # Rich costs a tenth of a second, which `--help` need not pay.
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console = Console(stderr=stderr, width=PIPE_WIDTH)
    return console


def _plain(value: Any) -> Any:
    """``value`` with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
