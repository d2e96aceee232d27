"""``pairedit edits``: what is in the library, and exchanging it with other tools."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pairedit_sdk.cli.options import DEFAULT_LIBRARY, Json, Library, Quiet
from pairedit_sdk.cli.output import Output
from pairedit_sdk.edit_library import (
    SUFFIX,
    check_name,
    edit_path,
    find_edit_path,
    list_edits,
    preview_path,
)
from pairedit_sdk.errors import PairEditError, UsageError

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
    picture = preview_path(path)
    about = {"path": path, **({"preview": picture} if picture.is_file() else {}), **info}
    for key, value in about.items():
        if isinstance(value, dict):
            output.say(f"{key}:")
            for name, item in value.items():
                output.say(f"  {name}: {item}")
        else:
            output.say(f"{key}: {_shown(value)}")
    output.result(about)


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An edit of the library.")],
    library: Library = DEFAULT_LIBRARY,
    quiet: Quiet = False,
) -> None:
    """Delete an edit from the library, and take it out of the basis.

    Its run, with which it could be learned on, stays in LIBRARY/runs.
    """
    from pairedit_sdk.basis.library import Basis

    path = find_edit_path(check_name(name), library)
    basis = Basis.open(library)
    if name in basis.index.names:
        basis.remove(name)
    path.unlink()
    preview_path(path).unlink(missing_ok=True)
    Output(quiet=quiet).say(f"Removed {path}.")


@app.command("export")
def export_command(
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The file to write; of peft's form, a new folder."),
    ],
    form: Annotated[
        Literal["diffusers", "kohya", "peft"],
        typer.Option(
            "--format",
            help="diffusers (ComfyUI reads it too), kohya (for A1111, Forge and sd-scripts), or "
            "peft.",
        ),
    ] = "diffusers",
    dtype: Annotated[
        Literal["fp32", "bf16", "fp16"],
        typer.Option("--dtype", help="16 bits halve the file, and round the edit."),
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    library: Library = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an edit for another tool, with the same update on every weight."""
    from pairedit_sdk.edit import Edit
    from pairedit_sdk.lora.export import export

    output = Output(as_json, quiet)
    loaded = Edit.load(find_edit_path(edit, library))
    if out.exists() and not (force and out.is_file()):
        raise UsageError(f"{out} is there already", next_step="Name another, or replace a file "
                         "with --force")  # fmt: skip
    if form != "peft" and out.suffix != SUFFIX:
        raise UsageError(
            f"{out} is no name for this form", expected=f"a name that ends with {SUFFIX}"
        )
    export(loaded.layers, form, out, loaded.header(), dtype, loaded.info.base)
    output.say(f"Wrote {out}.")
    output.result({"name": loaded.name, "path": out, "format": form, "dtype": dtype})


@app.command("import")
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A LoRA for FLUX: a safetensors file of diffusers, kohya, ComfyUI or Concept "
            "Sliders, PairEdit's .pt, or the folder that peft writes.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What the edit is to be called. [the file's name]")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", help="The base it was made for; its layers are compared with the file's."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", help="Where the file does not say it: alpha of the LoRA."),
    ] = None,
    partly: Annotated[
        bool, typer.Option("--partly", help="Take what can be read of a file.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an edit of that name.")] = False,
    library: Library = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make an edit of the library from another tool's LoRA.

    The update of every weight stays the same; alpha is baked in. What is left out is said.
    """
    from pairedit_sdk.edit import Edit
    from pairedit_sdk.lora.formats import read_lora

    output = Output(as_json, quiet)
    target = edit_path(name or file.stem, library)
    if target.exists() and not force:
        raise UsageError(
            f"There is an edit {target.stem} already ({target})",
            next_step="Choose another --name, or replace it with --force",
        )
    found = read_lora(file, alpha, partly=partly, pickled=True)
    edit = Edit.of_file(found, file)
    if base is not None:
        from pairedit_sdk.bases.skeleton import require_layers

        require_layers(base, edit.layers, file.name)
    made_for = edit.info.base or base or ""
    edit = edit.with_info(name=target.stem, base=made_for)
    edit.save(target)
    form = " and ".join(found.forms)
    output.say(f"Saved {target}: {len(edit.layers)} layers, rank {edit.info.rank}, from {form}.")
    if found.left_out:
        shown = ", ".join(found.left_out[:5])
        more = f" and {len(found.left_out) - 5} more" if len(found.left_out) > 5 else ""
        output.say(f"Left out {len(found.left_out)} tensors: {shown}{more}.")
    output.result(
        {"name": target.stem, "path": target, "format": found.forms, "layers": len(edit.layers),
         "rank": edit.info.rank, "left_out": found.left_out}
    )  # fmt: skip


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
