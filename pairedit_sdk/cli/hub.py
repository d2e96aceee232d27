"""``pairedit edits push | pull``: edits of the library to the Hugging Face Hub, and from there."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from pairedit_sdk.cli.options import DEFAULT_LIBRARY, Json, Library, Quiet, ReadLibrary
from pairedit_sdk.cli.output import Output

Repo = Annotated[
    str, typer.Argument(metavar="REPO_ID", help="The repository on the Hub, OWNER/NAME.")
]


def push_command(
    edit: Annotated[str, typer.Argument(metavar="NAME", help="A name in the library, or a path.")],
    repo_id: Repo,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.")
    ] = False,
    message: Annotated[
        str | None, typer.Option("--message", help="Commit message. [Edit NAME]")
    ] = None,
    library: ReadLibrary = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Share an edit on the Hugging Face Hub.

    Its file, its preview and a page about it, README.md, which is written from the edit's metadata
    and replaces an older one. Log in with `hf auth login` or HF_TOKEN before.
    """
    output = Output(as_json, quiet)
    path = library.path(edit)

    from pairedit_sdk.sharing.hub import push

    _bars(quiet)
    pushed = push(path, repo_id, private=private, message=message)
    output.say(
        f"Pushed {', '.join(pushed.files)} to {pushed.url}\n"
        f"Others get it with:  pairedit edits pull {pushed.repo_id}"
    )
    output.result(asdict(pushed))


def pull_command(
    repo_id: Repo,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the edit. [the file's name]")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, tag or commit. [the main branch]")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", help="The edit's file, where the repository holds several."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an edit of that name.")] = False,
    library: Library = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Get an edit from the Hugging Face Hub into the library.

    For a LoRA that another tool made, see pairedit edits import.
    """
    output = Output(as_json, quiet)

    from pairedit_sdk.sharing.hub import pull

    _bars(quiet)
    pulled = pull(repo_id, library, name=name, revision=revision, file=file, force=force)
    shown = "" if library == DEFAULT_LIBRARY else f" --library {shlex.quote(str(library))}"
    output.say(
        f"Saved {pulled.path}, from {pulled.file} of {repo_id} at commit {pulled.commit[:7]}.\n"
        f"See what is known of it:  pairedit edits show {pulled.path.stem}{shown}"
    )
    output.result(asdict(pulled))


def _bars(quiet: bool) -> None:
    """huggingface_hub draws progress bars of its own, on standard error."""
    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
