"""The command ``pairedit``: what all its commands have in common, and their list."""

from __future__ import annotations

from typing import Annotated

import typer

from pairedit_sdk import __version__
from pairedit_sdk.cli import (
    analogy,
    basis,
    bench,
    check,
    compose,
    demo,
    edit,
    edits,
    estimate,
    lorweb,
    pictures,
    plot,
    studio,
    train,
    train_many,
    words,
)
from pairedit_sdk.cli.errors import Root

app = typer.Typer(
    name="pairedit",
    cls=Root,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Learn a picture edit from a few before/after pairs, and apply it to new pictures.",
    epilog="Start with: pairedit demo",
)

app.command("demo")(demo.demo)
app.command("check")(check.check)
app.command("estimate")(estimate.estimate)
app.command("train")(train.train)
app.command("train-many")(train_many.train_many)
app.command("plot")(plot.plot)
app.command("edit")(edit.edit)
app.command("generate")(pictures.generate)
app.command("sweep")(pictures.sweep)
app.command("compose")(compose.compose)
app.add_typer(edits.app, name="edits")
app.add_typer(basis.app, name="basis")
app.command("words")(words.words)
app.command("analogy")(analogy.analogy)
app.add_typer(lorweb.app, name="lorweb")
app.command("studio")(studio.studio)
app.add_typer(bench.app, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pairedit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
