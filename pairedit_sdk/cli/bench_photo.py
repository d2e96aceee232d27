"""``pairedit bench photo``: edits of pictures that are larger than what the model sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import UsageError, nearest

if TYPE_CHECKING:
    from rich.table import Table


def photo(
    edit: Annotated[
        list[str] | None, typer.Option("--edit", help="Only this edit; again for more.")
    ] = None,
    latents: Annotated[
        list[str] | None,
        typer.Option(
            "--latents",
            help="true: the true change of the latents. learned: an edit's. Again for both. [both]",
        ),
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(
            "--size", min=128, max=4096, help="Side of the pictures; again for more. [512, 1024]"
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Seeds. [1]")] = None,
    faces: Annotated[int | None, typer.Option("--faces", min=1, help="Held-out faces. [6]")] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="Learns the edits.")] = "mini-kontext",
    small: Annotated[bool, typer.Option("--small", help="A form of a few minutes.")] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score ways to bring an edit to a picture's full size.

    Outside the true change the result is compared with the original, inside it with the truth.
    """
    from pairedit_sdk.bench.edit_types import EDIT_TYPES
    from pairedit_sdk.bench.photo import LATENTS, SMALL, Plan, run
    from pairedit_sdk.bench.trained_edits import model_for
    from pairedit_sdk.cli.services import load_model

    output = Output(as_json, quiet)
    for kind, names, known in (("edit", edit, list(EDIT_TYPES)), ("latents", latents, LATENTS)):
        for name in names or []:
            if name not in known:
                raise UsageError(
                    f"The benchmark has no {kind} {name!r}", next_step=nearest(name, list(known))
                )
    lists = {"edits": edit, "latents": latents, "sizes": size}
    given: dict[str, Any] = {"seeds": seeds, "faces": faces}
    given |= {name: tuple(value) for name, value in lists.items() if value}
    plan: Plan = replace(
        SMALL if small else Plan(),
        recipe=recipe,
        **{name: value for name, value in given.items() if value is not None},
    )
    base = load_model(model_for(recipe), device=values.device(device))
    with output.meter("benchmark", plan.parts) as meter:
        result = run(base, plan, meter.advance)
    output.table(_table(result["summary"]))
    output.result(result)


def _table(summary: Mapping[str, Mapping[str, float]]) -> Table:
    """Figures down, ways across, in dB."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("dB")
    for way in summary:
        table.add_column(way, justify="right")
    for figure in dict.fromkeys(f for figures in summary.values() for f in figures):
        shown = (f"{figures[figure]:.1f}" for figures in summary.values())
        table.add_row(figure.replace("_", " "), *shown)
    return table
