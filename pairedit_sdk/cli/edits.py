"""``pairedit edits``: what is in the library."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pairedit_sdk.cli.options import DEFAULT_LIBRARY, Json, Library, Quiet
from pairedit_sdk.cli.output import Output
from pairedit_sdk.edit_library import find_edit_path, list_edits
from pairedit_sdk.errors import PairEditError

app = typer.Typer(
    rich_markup_mode=None,
    help="The edits that are saved in the library.",
    invoke_without_command=True,
)


@app.callback()
def _group(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list")
def list_command(
    library: Library = DEFAULT_LIBRARY, as_json: Json = False, quiet: Quiet = False
) -> None:
    """List the edits in the library."""
    from rich.table import Table
    from rich.text import Text

    output = Output(as_json, quiet)
    rows = [_row(path) for path in list_edits(library)]
    if rows:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for heading in ("Name", "Base", "Rank", "Steps", "Pairs"):
            table.add_column(heading)
        for row in rows:
            if "error" in row:
                cells = [f"damaged: {row['error']}"]
            else:
                cells = [row["base"], row["rank"], row["steps"], ", ".join(row["pairs"])]
            table.add_row(*(Text(str(cell)) for cell in (row["path"].stem, *cells)))
        output.table(table)
    else:
        output.say(f"No edits in {library} yet. Make one with: pairedit train PAIRS --name NAME")
    output.result({"library": library, "edits": rows})


@app.command("show")
def show(
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    library: Library = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is known of one edit.

    Its base, its rank, and the settings it was trained with.
    """
    from pairedit_sdk.edit import Edit

    output = Output(as_json, quiet)
    path = find_edit_path(edit, library)
    info = asdict(Edit.read_info(path))
    for key, value in {"path": path, **info}.items():
        if isinstance(value, dict):
            output.say(f"{key}:")
            for name, item in value.items():
                output.say(f"  {name}: {item}")
        else:
            output.say(f"{key}: {_shown(value)}")
    output.result({"path": path, **info})


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    # Names of pairs, or the (name, scale) that a composed edit is made of.
    words = [f"{v[0]} @ {v[1]:g}" if isinstance(v, tuple | list) else str(v) for v in value]
    return ", ".join(words)


def _row(path: Path) -> dict[str, Any]:
    from pairedit_sdk.edit import Edit

    try:
        return {"path": path, **asdict(Edit.read_info(path))}
    except PairEditError as error:
        # One damaged file must not hide the others.
        return {"path": path, "error": str(error)}
