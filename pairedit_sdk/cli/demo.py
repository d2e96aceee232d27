"""``pairedit demo``: the whole story on the built-in model, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path(
        "out/demo"
    ),
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Training steps. Fewer than the recipe's are only a trial."
        ),
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn an edit on drawn faces and use it, as a first try.

    Learns glasses from three shipped pairs on the built-in model, puts them on unseen faces at
    several scales, learns a hat and adds it, draws new people with glasses, and makes a change that
    one example shows. The results are labelled pictures in OUT; the example pairs are copied into
    OUT/pairs. Nothing is downloaded.
    """
    from pairedit_sdk.cli.demo_run import run_demo

    output = Output(as_json, quiet)
    result = run_demo(
        out, words=output.words, bars=output.aside, steps=steps, device=values.device(device)
    )
    output.result(result)
