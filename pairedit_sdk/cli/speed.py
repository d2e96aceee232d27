"""``pairedit bench speed``: what learning and editing cost, here or on a model of another size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.files import require_writable

if TYPE_CHECKING:
    from rich.table import Table


def speed(
    small: Annotated[bool, typer.Option("--small", help="A short run of a few minutes.")] = False,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            help="Measure a model of this published size instead, with random weights made on the "
            "device and nothing downloaded: FLUX.1-dev, FLUX.2-klein-4B, Z-Image and others, tiny.",
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option("--resolution", min=64, help="With --shape: side of the pictures. [512]"),
    ] = None,
    device: options.Device = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.1,
            help="With --shape: time limit. The least important rows are left out.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="With --shape: a JSON file, written after every task."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Time learning and editing against a naive way of doing the same.

    Both ways take turns, each in a process of its own, and their medians are compared. With --shape
    all is measured in this process, on one device.
    """
    output = Output(as_json, quiet)
    if shape is not None:
        _shape_speed(output, small, shape, resolution, values.device(device), minutes, out)
        return
    given = {"--resolution": resolution, "--device": device, "--minutes": minutes, "-o": out}
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} goes with --shape", next_step="Name a shape, or leave it out")
    from pairedit_sdk.bench.speed import run

    with output.meter("benchmark", 7 if small else 19, "measurement") as meter:
        result = run(small=small, on_part=meter.advance)
    output.table(_speed_table(result["summary"]))
    output.result(result)


def _shape_speed(
    output: Output,
    small: bool,
    shape: str,
    resolution: int | None,
    device: str | None,
    minutes: float | None,
    out: Path | None,
) -> None:
    from pairedit_sdk.models.folders import shape_folder

    shape_folder(shape)  # refuses before anything slow is imported
    if out is not None:
        require_writable(out)
    from pairedit_sdk.bench.shape import TASKS, run
    from pairedit_sdk.bench.shape_table import table

    with output.meter("benchmark", TASKS, "task") as meter:
        result = run(
            shape,
            resolution=resolution,
            device=device,
            minutes=minutes,
            out=out,
            repetitions=1 if small else 3,
            on_part=meter.advance,
        )
    output.table(table(result))
    output.result(result)


def _speed_table(summary: Mapping[str, Mapping[str, float]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for heading in ("Naive", "Ours", "Ratio"):
        table.add_column(heading, justify="right")
    for quantity, figures in summary.items():
        shown = (f"{figures[way]:.3g}" for way in ("naive", "ours", "ratio"))
        table.add_row(quantity.replace("_", " "), *shown)
    return table
