"""Models' names in edits' files, which must not stand for another model where they are read."""

from __future__ import annotations

import re

from pairedit_sdk.models.families import ALIASES
from pairedit_sdk.models.folders import BUILT_IN


def shared_name(name: str) -> str:
    """What others get of a model's name: of a folder, on whatever system, its last part.

    Where that alone would be a built-in model or a published one's short name, it has ``./`` before
    it. Hub ids and built-in models stay as they are.
    """
    if not re.match(r"[/\\~.]|[A-Za-z]:[/\\]", name):
        return name
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return f"./{last}" if last in BUILT_IN else read_name(last)


def read_name(name: str) -> str:
    """A model's name as a file says it. A short name is that of a folder there, as hub ids are
    written in full: short names are for users alone."""
    return f"./{name}" if name in ALIASES else name
