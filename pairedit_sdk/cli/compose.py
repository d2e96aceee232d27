"""``pairedit compose``: several saved edits as one."""

from __future__ import annotations

from typing import Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.io.files import require_writable


def compose(
    edits: Annotated[
        list[str],
        typer.Option(
            "--edit", metavar="NAME=SCALE", help="NAME=SCALE, NAME, or a path; may be repeated."
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="The new edit's name.")],
    rank: Annotated[
        int | None,
        typer.Option(
            "--rank", min=1, help="At most this rank, as near as can be. Without it: exact."
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance", min=0, help="The new edit's guidance. Without it: the edits' own."
        ),
    ] = None,
    no_words: options.NoWords = False,
    library: options.Library = options.DEFAULT_LIBRARY,
    force: Annotated[bool, typer.Option("--force", help="Replace an edit of that name.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Combine several edits into one: their weighted sum.

    The sum is exact: its rank is the sum of their ranks. --rank makes it smaller, and how much is
    lost is printed. The instructions that act go along, and the LoRA is what they leave to it;
    --no-words leaves them out, and keeps the LoRAs whole.
    """
    output = Output(as_json, quiet)
    target = require_writable(library.target(name, replace=force))
    chosen = values.edits_and_scales(edits, library)

    stack = values.load_stack(chosen)
    edit = (stack.without_words() if no_words else stack).merged(name, guidance)
    error = 0.0
    if rank is not None:
        edit, error = edit.with_rank(rank)
    library.save(edit, replace=force)
    output.say(f"Saved {target}, rank {edit.info.rank}.")
    if rank is not None:
        output.say(f"Relative error of the update: {error:.2%}")
    parts = [{"name": part, "scale": scale} for part, scale in edit.info.parts]
    output.result(
        {"name": name, "path": target, "parts": parts, "rank": edit.info.rank, "error": error}
    )
