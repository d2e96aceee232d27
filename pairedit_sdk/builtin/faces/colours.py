"""Colours of a drawn face that have no name, written as "#rrggbb"."""

from __future__ import annotations

import re

_HEX = re.compile(r"#[0-9a-f]{6}")


def is_hex(value: object) -> bool:
    """Whether this is a colour written as "#rrggbb", in lower case."""
    return isinstance(value, str) and _HEX.fullmatch(value) is not None
