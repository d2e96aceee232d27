"""The one place where errors become text: a paragraph on standard error, and an exit status.

With ``--json`` they are the one JSON object on standard output as well, so that a script finds one
there whatever happens.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.renamed import with_new_options
from pairedit_sdk.errors import PairEditError, UsageError, explained
from pairedit_sdk.jobs.make_edit import LESS_MEMORY
from pairedit_sdk.training.interrupts import (
    Terminated,
    input_has_ended,
    stop_with_input,
    terminable,
)

FAILED, BAD_USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

#: What takes less memory, by command; of several words in a line the first decides.
OUT_OF_MEMORY = {
    "lorweb": "Hold the model in 4 bits (--precision nf4), or in training use smaller pictures "
    "(--set resolution=256) and a smaller batch (--set batch=1).",
    "train": LESS_MEMORY,
    "train-many": LESS_MEMORY,
    "edit": "Hold the model in 4 bits (--precision nf4), or use a smaller --resolution.",
    "sweep": "Hold the model in 4 bits (--precision nf4), or use a smaller --resolution.",
    "generate": "Hold the model in 4 bits (--precision nf4), or use a smaller --size.",
}


class StoppedError(PairEditError):
    """Ctrl-C or SIGTERM. A command that can be taken up again raises it with how to do so, from
    the interrupt."""

    exit_code = INTERRUPTED


class Root(TyperGroup):
    """The group of all commands; whatever goes wrong in one of them is rendered here."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command; exit with 0, 1 (failed), 2 (bad usage or input), 130 (Ctrl-C) or 143
        (SIGTERM)."""
        words, debug = _take_debug(sys.argv[1:] if args is None else list(args))
        words = with_new_options(words)
        try:
            status = super().main(
                words, "pairedit", complete_var, False, windows_expand_args, **extra
            )
        except Exception as error:
            if debug:
                traceback.print_exc()
            status = _show(error, words)
        status = status if isinstance(status, int) else 0
        if standalone_mode:
            sys.exit(status)
        return status

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C and SIGTERM become errors like the others."""
        try:
            with terminable():
                stop_with_input()
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            by = "SIGTERM" if isinstance(error, Terminated) else "Ctrl-C"
            raise StoppedError(f"Stopped by {by}") from error
        except PairEditError:
            raise
        except Exception as error:
            if not input_has_ended():
                raise
            # What is being imported when SIGTERM comes may take it for another error.
            raise StoppedError("Stopped by SIGTERM") from Terminated(str(error))


def _take_debug(words: list[str]) -> tuple[list[str], bool]:
    """``--debug`` is taken anywhere before ``--``, so that it can be added to the end of a line."""
    end = words.index("--") if "--" in words else len(words)
    rest = [word for word in words[:end] if word != "--debug"] + words[end:]
    return rest, len(rest) < len(words)


def _show(error: Exception, words: Sequence[str]) -> int:
    """Tell the user about ``error``, in JSON too where the command line asks for it.

    Returns:
        The exit status.
    """
    if isinstance(error, BrokenPipeError):
        return FAILED  # nobody reads any more
    shown = describe(error, next((word for word in words if word in OUT_OF_MEMORY), ""))
    typer.echo(f"{typer.style('Error:', fg='red', bold=True)} {shown}", err=True)
    status = TERMINATED if isinstance(error.__cause__, Terminated) else shown.exit_code
    # Looked for in the line itself: where that is wrong, no command has read its options.
    as_json = "--json" in words[: words.index("--") if "--" in words else None]
    if as_json:
        with suppress(BrokenPipeError):
            Output(as_json=True).result({"error": {**_fields(error, shown), "exit_status": status}})
    return status


def _fields(error: Exception, shown: PairEditError) -> dict[str, Any]:
    """An error's parts by name, without a full stop. What it does not say is None."""
    ours = type(shown) is not PairEditError
    parts = {
        "message": shown.what,
        "expected": shown.expected,
        "got": shown.got,
        "next_step": shown.next_step,
    }
    return {
        "type": type(shown if ours else error).__name__,
        **{name: text.rstrip(".") or None for name, text in parts.items()},
        "details": shown.details,
    }


def describe(error: Exception, command: str = "") -> PairEditError:
    """What to tell the user about ``error``; also what takes less memory in ``command``."""
    if isinstance(error, PairEditError):
        return error
    if isinstance(error, typer.Abort):
        return StoppedError("Stopped")
    # Typer's own usage errors: their class lives in a private module that moves between versions.
    if hasattr(error, "format_message"):
        said = " ".join(error.format_message().split()).replace("Value error, ", "")
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "pairedit"
        return UsageError(said, next_step=f"See {path} --help")
    advice = {"memory": OUT_OF_MEMORY[command]} if command in OUT_OF_MEMORY else {}
    return explained(error, **advice)
