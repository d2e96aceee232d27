"""``pairedit bench words``: how often the right instruction is found, and none where none fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output

if TYPE_CHECKING:
    from rich.table import Table


def words(
    people: Annotated[
        int | None, typer.Option("--people", min=1, help="Pairs of each change. [3]")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="A form of a minute.")] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score the search for the words of a pair.

    Of drawn changes the instruction is known. It is to be found where it is among the phrases, and
    none is to be found where it was taken out.
    """
    from pairedit_sdk.bench.words import SMALL, Plan, run
    from pairedit_sdk.cli.services import load_model

    output = Output(as_json, quiet)
    plan: Plan = SMALL if small else Plan()
    plan = plan if people is None else replace(plan, people=people)
    model = load_model(options.DEFAULT_EDIT_MODEL, device=values.device(device))
    with output.meter("benchmark", plan.parts, "pair") as meter:
        result = run(model, plan, meter.advance)
    output.table(_table(result["summary"]))
    output.result(result)


def _table(summary: Mapping[str, Mapping[str, float]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("Vocabulary")
    for heading in ("Pairs", "Right", "None", "Wrong"):
        table.add_column(heading, justify="right")
    for vocabulary, figures in summary.items():
        shares = (f"{figures[name]:.0%}" for name in ("right", "none", "wrong"))
        table.add_row(vocabulary, f"{figures['pairs']:.0f}", *shares)
    return table
