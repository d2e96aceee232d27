"""``pairedit plot``: the losses of a training, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairedit_sdk.cli import options
from pairedit_sdk.cli.output import Output
from pairedit_sdk.images.files import writable_picture, write_image


def plot(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A name in the library, the folder of a run, or a metrics.jsonl."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The picture to write. [metrics.png beside the metrics]"),
    ] = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw the losses of a training as a picture.

    Also its learning rate, and its fidelity where that was measured. It works during a training,
    too.
    """
    output = Output(as_json, quiet)
    target = None if out is None else writable_picture(out)

    from pairedit_sdk.training.run_plots import find_metrics, plot_run, read_metrics

    metrics = find_metrics(run, library.folder)
    target = target or writable_picture(metrics.with_name("metrics.png"))
    columns = read_metrics(metrics)
    write_image(plot_run(metrics), target)
    output.say(f"Wrote {target}.")
    last = {name: points[-1][1] for name, points in columns.items()}
    steps = max(step for points in columns.values() for step, _ in points)
    output.result({"path": target, "metrics": metrics, "steps": steps, "last": last})
