"""``pairedit edits``: what is in the library."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import exchange, hub, values
from pairedit_sdk.cli.options import (
    DEFAULT_BASE,
    DEFAULT_LIBRARY,
    Base,
    Device,
    Json,
    Library,
    Quiet,
    ReadLibrary,
)
from pairedit_sdk.cli.output import Output
from pairedit_sdk.edits.library import preview_path
from pairedit_sdk.errors import PairEditError, UsageError, printable
from pairedit_sdk.images.files import writable_picture, write_image
from pairedit_sdk.io.files import require_writable

if TYPE_CHECKING:
    from pairedit_sdk.training.picking import Candidate

app = typer.Typer(
    rich_markup_mode=None,
    help="The edits that are saved in the library.",
    invoke_without_command=True,
)

app.command("export")(exchange.export_command)
app.command("import")(exchange.import_command)
app.command("push")(hub.push_command)
app.command("pull")(hub.pull_command)


@app.callback()
def _group(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list")
def list_command(
    library: ReadLibrary = DEFAULT_LIBRARY, as_json: Json = False, quiet: Quiet = False
) -> None:
    """List the edits in the library."""
    from rich.table import Table
    from rich.text import Text

    output = Output(as_json, quiet)
    rows = [_row(path) for path in library.paths()]
    if rows:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for heading in ("Name", "Base", "Rank", "Steps", "Pairs"):
            table.add_column(heading)
        for row in rows:
            if "error" in row:
                cells = [f"damaged: {row['error']}"]
            else:
                cells = [row["base"], row["rank"], row["steps"], ", ".join(row["pairs"])]
            table.add_row(*(Text(printable(str(c))) for c in (row["path"].stem, *cells)))
        output.table(table)
    else:
        make = "" if library.is_remote else " Make one with: pairedit train PAIRS --name NAME"
        output.say(f"No edits in {library} yet.{make}")
    output.result({"library": library, "edits": rows})


@app.command("show")
def show(
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    library: ReadLibrary = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is known of one edit.

    Its model, its rank, and the settings it was trained with.
    """
    from pairedit_sdk.edits.edit import IDLE, Edit

    output = Output(as_json, quiet)
    path = library.path(edit)
    info = asdict(Edit.read_info(path))
    picture = preview_path(path)
    about = {"path": path, **({"preview": picture} if picture.is_file() else {}), **info}
    for key, value in about.items():
        if isinstance(value, dict):
            output.say(f"{key}:")
            for name, item in value.items():
                output.say(printable(f"  {name}: {_shown(item)}"))
        else:
            output.say(printable(f"{key}: {_shown(value)}"))
    idle = _is_idle(path)
    if idle:
        output.say(f"It does nothing: {IDLE}")
    output.result({**about, "idle": idle})


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An edit of the library.")],
    library: Library = DEFAULT_LIBRARY,
    quiet: Quiet = False,
) -> None:
    """Delete an edit from the library, and take it out of the basis.

    Its run, with which it could be learned on, stays in LIBRARY/runs.
    """
    from pairedit_sdk.basis.edit_basis import EditBasis

    basis = EditBasis.open(library)
    if name in library and name in basis.index.names:
        basis.remove(name)
    path = library.remove(name)
    Output(quiet=quiet).say(f"Removed {path}.")


@app.command("pick")
def pick(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An edit with a run in the library.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A picture: what each checkpoint makes.")
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", min=1, help="Make the edit of this checkpoint.")
    ] = None,
    base: Base = None,
    library: Library = DEFAULT_LIBRARY,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the checkpoints of a run on its training pairs, and choose one.

    The last is not always the best. Fidelity is how much of the pairs' change the LoRA makes,
    before gain and calibration: 1 is all of it. --step replaces the edit with that of a checkpoint;
    everything else of the run stays.
    """
    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.training.picking import candidates, strip
    from pairedit_sdk.training.run_folder import read_settings

    output = Output(as_json, quiet)
    target = None if out is None else writable_picture(out)
    run_dir = library.run_folder(name)
    if not (run_dir / "config.json").is_file():
        raise UsageError(
            f"There is no run of {name} in {run_dir}", next_step="Train it with `pairedit train`"
        )
    settings = read_settings(run_dir / "config.json")
    if step is not None:
        require_writable(library.target(name))
    model = load_model(
        base or settings.get("base") or DEFAULT_BASE,
        device=values.device(device),
        precision=settings.get("precision", "auto"),
    )
    found = candidates(model, run_dir, name)
    for one in found:
        measured = "" if one.fidelity is None else f"  fidelity {one.fidelity:.3f}"
        output.say(f"step {one.step}{measured}")
    if target is not None:
        write_image(strip(model, run_dir, found), target)
        output.say(f"Wrote {target}.")
    if step is not None:
        chosen = _of_step(found, step)
        path = library.target(name)
        edit = chosen[0].edit.with_info(created=EditInfo.now())
        if path.is_file():
            before = Edit.read_info(path)
            edit = edit.with_info(
                licence=before.licence, pairs_fingerprint=before.pairs_fingerprint
            )
        library.save(edit, preview=strip(model, run_dir, chosen), replace=True)
        output.say(f"Saved {path}, as it was at step {step}.")
    rows = [{"step": one.step, "fidelity": one.fidelity} for one in found]
    output.result({"name": name, "checkpoints": rows, "strip": target, "picked": step})


def _is_idle(path: Path) -> bool:
    from pairedit_sdk.edits.edit import Edit

    try:
        return Edit.load(path).is_idle
    except PairEditError:
        return False  # what its header says is worth showing all the same


def _of_step(found: list[Candidate], step: int) -> list[Candidate]:
    chosen = [one for one in found if one.step == step]
    if not chosen:
        raise UsageError(
            f"There is no checkpoint of step {step}",
            expected=", ".join(str(one.step) for one in found),
            next_step="More of them are kept with `--set checkpointing.keep=10`",
        )
    return chosen


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    if value and all(isinstance(v, float) for v in value):
        return f"{len(value)} numbers"
    # Names of pairs, or the (name, scale) that a composed edit is made of.
    words = [f"{v[0]} @ {v[1]:g}" if isinstance(v, tuple | list) else str(v) for v in value]
    return ", ".join(words)


def _row(path: Path) -> dict[str, Any]:
    from pairedit_sdk.edits.edit import Edit

    try:
        return {"path": path, **asdict(Edit.read_info(path))}
    except PairEditError as error:
        # One damaged file must not hide the others.
        return {"path": path, "error": str(error)}
