"""``pairedit check``: are these good pairs?"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli.errors import BAD_USAGE
from pairedit_sdk.cli.options import Json, Quiet
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import counted, printable

if TYPE_CHECKING:
    from rich.table import Table

    from pairedit_sdk.pairs.pair_set import PairReport

_COLOURS = {"good": "green", "usable": "yellow", "bad": "red"}


def check(
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS",
            help="A folder with source/ and target/, or with NAME_before and NAME_after pictures.",
        ),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say whether these are good pairs.

    For every pair: how much of the picture changes, whether both are aligned, and what to do.

    The exit status is 2 when training on these pairs would be a waste.
    """
    from pairedit_sdk.pairs.pair_set import PairSet, check_set

    output = Output(as_json, quiet)
    found = check_set(PairSet.from_folder(pairs))
    reports, worth = found.pairs, found.worth_training
    output.table(_table(reports))
    for advice in found.all_advice():
        output.say(printable(advice))
    output.say(verdict(reports, worth, pairs))
    output.result({"pairs": as_rows(reports), "advice": found.advice, "worth_training": worth})
    if not worth:
        raise typer.Exit(BAD_USAGE)


def as_rows(reports: Sequence[PairReport]) -> list[dict[str, Any]]:
    """The reports as plain values."""
    return [asdict(report) for report in reports]


def verdict(reports: Sequence[PairReport], worth: bool, pairs: Path) -> str:
    """What all pairs together are worth, and what to do next."""
    count = len(reports)
    bad = sum(report.verdict == "bad" for report in reports)
    if not worth:
        are = "it is" if bad == 1 else "they are"
        return f"Not worth training: {bad} of {counted(count, 'pair')} cannot be used as {are}."
    unknown = " Nobody checked which side is before: that takes three pairs." if count < 3 else ""
    return (
        f"Worth training: {counted(count, 'pair')}.{unknown}\n"
        f"Next: pairedit train {shlex.quote(str(pairs))} --name NAME"
    )


def _table(reports: Sequence[PairReport]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("Pair", "Verdict", "Changed area", "Shift in pixels", "Why"):
        table.add_column(heading, justify="right" if heading[0] in "CS" else "left")
    for report in reports:
        dx, dy = report.shift
        table.add_row(
            Text(printable(report.name)),
            Text(report.verdict, style=_COLOURS.get(report.verdict, "")),
            f"{report.changed_area:.1%}",
            f"{dx:+.0f}, {dy:+.0f}" if dx or dy else "none",
            Text(printable(report.reason)),
        )
    return table
