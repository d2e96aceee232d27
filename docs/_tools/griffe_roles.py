"""An extension of griffe: docstrings of the API pages in Markdown."""

from __future__ import annotations

from typing import Any

import griffe

import pairedit_sdk
from docs._tools.roles import to_markdown

PUBLIC = frozenset(pairedit_sdk.__all__)


class Roles(griffe.Extension):
    """Roles become code, and links where the API pages have the name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value, _public)


def _public(name: str) -> str | None:
    short = name.removeprefix("pairedit_sdk.")
    return f"pairedit_sdk.{short}" if short in PUBLIC else None
