"""Former names of commands and options: they still work, and say the new name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

import typer

from pairedit_sdk.training.processes import is_first

#: Options that are taken under their former name by every command that has the new one.
OPTIONS = {"--even": "--limit-scale", "--no-even": "--no-limit-scale"}


def note(old: str, new: str, *, quiet: bool = False) -> None:
    """Say the new name, on standard error so that ``--json`` stays one object."""
    if not quiet and is_first():
        typer.echo(f"Note: {old} is now {new}.", err=True)


def former(command: Callable[..., None], old: str, new: str) -> Callable[..., None]:
    """``command`` under its former name: the same parameters, and a note."""

    @wraps(command)
    def run(*args: object, **given: object) -> None:
        note(f"pairedit {old}", f"pairedit {new}", quiet=bool(given.get("quiet")))
        command(*args, **given)

    return run


def with_new_options(words: Sequence[str]) -> list[str]:
    """A command line with the new names of its options; what is after ``--`` stays."""
    end = list(words).index("--") if "--" in words else len(words)
    for old in sorted(OPTIONS.keys() & {*words[:end]}):
        note(old, OPTIONS[old], quiet=bool({"-q", "--quiet"} & {*words[:end]}))
    return [*(OPTIONS.get(word, word) for word in words[:end]), *words[end:]]
