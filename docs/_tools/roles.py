"""Sphinx's roles, which the docstrings use, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable

_ROLE = re.compile(r":(?:class|data|func|meth|mod|attr|exc):`~?([^`]+)`")


def to_markdown(text: str, link: Callable[[str], str | None] = lambda _: None) -> str:
    """``text`` with code in the place of roles.

    Args:
        text: of a docstring.
        link: what a name leads to, or ``None`` where the page has nothing of that name.
    """

    def shown(match: re.Match[str]) -> str:
        name = match[1].lstrip(".")
        code = f"`{name.removeprefix('pairedit_sdk.')}`"
        target = link(name)
        return f"[{code}][{target}]" if target else code

    return _ROLE.sub(shown, text).replace("``", "`")
