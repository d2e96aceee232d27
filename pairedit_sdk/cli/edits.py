"""``pairedit edits``: what is in the library."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import exchange, hub, values
from pairedit_sdk.cli.options import (
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
from pairedit_sdk.lora.files import weights_file

if TYPE_CHECKING:
    from pairedit_sdk.training.picking import Candidate

app = typer.Typer(
    rich_markup_mode=None,
    help="List, show, share and convert saved edits.",
    invoke_without_command=True,
)


@app.callback()
def _group(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@app.command("list")
def list_command(
    words: Annotated[
        str | None,
        typer.Option("--words", metavar="TEXT", help="Only edits whose words hold this text."),
    ] = None,
    library: ReadLibrary = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the edits in the library.

    An edit's words are its instruction, whether that acts or only describes it.
    """
    from rich.table import Table
    from rich.text import Text

    output = Output(as_json, quiet)
    rows = [_row(path) for path in library.paths()]
    found = [row for row in rows if words is None or words.casefold() in _said(row).casefold()]
    if found:
        # A column of words where there are any.
        told = [] if not any(map(_said, found)) else ["Words"]
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for heading in ("Name", "Model", "Rank", "Steps", *told, "Pairs"):
            table.add_column(heading)
        for row in found:
            if "error" in row:
                # In the last column, so that it does not widen the others.
                cells = ["", "", "", *("" for _ in told), f"unusable: {row['reason']}"]
            else:
                said = [_said(row) for _ in told]
                cells = [row["base"], row["rank"], row["steps"], *said, ", ".join(row["pairs"])]
            table.add_row(*(Text(printable(str(c))) for c in (row["path"].stem, *cells)))
        output.table(table)
    elif rows:
        output.say(f"No edit in {library} has words with {words!r}.")
    else:
        make = "" if library.is_remote else " Make one with: pairedit train PAIRS --name NAME"
        output.say(f"No edits in {library} yet.{make}")
    output.result({"library": library, "edits": found})


@app.command("show")
def show(
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    library: ReadLibrary = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what is known about an edit.

    What it is, how it was learned, and how it is applied. Training settings are those that differ
    from the nearest recipe; --json has them all.
    """
    from pairedit_sdk.edits.edit import IDLE, Edit
    from pairedit_sdk.sharing.edit_card import card, lines, recipe_of

    output = Output(as_json, quiet)
    path = library.path(edit)
    info = Edit.read_info(path)
    if output.words is not None:
        for line in lines(card(path, info), output.words.width):
            output.say(line)
    picture, recipe, idle = preview_path(path), recipe_of(info), _is_idle(path)
    if idle:
        output.say(f"It does nothing: {IDLE}")
    output.result(
        {
            "path": path,
            "bytes": weights_file(path).stat().st_size,
            **({"preview": picture} if picture.is_file() else {}),
            **asdict(info),
            "recipe": None if recipe is None else asdict(recipe),
            "idle": idle,
        }
    )


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An edit of the library.")],
    library: Library = DEFAULT_LIBRARY,
    quiet: Quiet = False,
) -> None:
    """Delete an edit from the library, and take it out of the basis.

    Its run stays in LIBRARY/runs, so that it can be trained further.
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
        Path | None, typer.Option("-o", "--out", help="A picture of what each checkpoint does.")
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", min=1, help="Replace the edit with this checkpoint.")
    ] = None,
    base: Base = None,
    library: Library = DEFAULT_LIBRARY,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the checkpoints of a training, and choose one.

    They are compared on the training pairs: the last is not always the best. Fidelity is how much
    of the pairs' change the LoRA makes, before gain and calibration: 1 is all of it. --step
    replaces the edit with that of a checkpoint; everything else of the run stays.
    """
    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.models.kinds import built_in_for
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
        base or settings.get("base") or built_in_for(settings.get("reference", "none")),
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


# After the others, since --help keeps this order.
app.command("export")(exchange.export_command)
app.command("import")(exchange.import_command)
app.command("push")(hub.push_command)
app.command("pull")(hub.pull_command)


def _of_step(found: list[Candidate], step: int) -> list[Candidate]:
    chosen = [one for one in found if one.step == step]
    if not chosen:
        raise UsageError(
            f"There is no checkpoint of step {step}",
            expected=", ".join(str(one.step) for one in found),
            next_step="More of them are kept with `--set checkpointing.keep=10`",
        )
    return chosen


def _row(path: Path) -> dict[str, Any]:
    from pairedit_sdk.edits.edit import Edit

    try:
        return {"path": path, **asdict(Edit.read_info(path))}
    except PairEditError as error:
        # One damaged file must not hide the others.
        return {"path": path, "error": str(error), "reason": _reason(error, path)}


def _said(row: dict[str, Any]) -> str:
    """The instructions of an edit, or nothing."""
    return "; ".join(words["phrase"] for words in row.get("words", []))


def _reason(error: PairEditError, path: Path) -> str:
    """What is wrong with a file in a few words, without its name and what a reader said."""
    brief = re.sub(rf"^{re.escape(path.name)}(?: is| was|:) ", "", error.what)
    return re.sub(r" \(.*\)$", "", brief, flags=re.DOTALL)
