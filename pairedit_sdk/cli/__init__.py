"""The command line: thin commands over the library. ``python -m pairedit_sdk.cli`` runs it too."""

from __future__ import annotations

from pairedit_sdk.cli import startup
from pairedit_sdk.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run ``pairedit`` on the process's arguments and exit with its status."""
    startup.prepare()
    try:
        app()
    finally:
        startup.ending()
