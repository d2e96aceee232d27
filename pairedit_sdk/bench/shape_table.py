"""The rows of ``pairedit bench speed --shape`` as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import counted

if TYPE_CHECKING:
    from rich.table import Table

#: Figures of a row, their headings, and how they are written.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "seconds": ("Seconds", lambda value: f"{value:.4g}"),
    "share_of_ceiling": ("Of the ceiling", lambda value: f"{value:.1%}"),
    "peak_bytes": ("Peak GB", lambda value: f"{value / 1e9:.1f}"),
    "estimated_bytes": ("Estimated GB", lambda value: f"{value / 1e9:.1f}"),
}
#: What compares a row with the one beside it, in words.
NOTES: dict[str, Callable[[float], str]] = {
    "times_as_fast": lambda value: f"{value:.2f} × as fast",
    "times_as_long": lambda value: f"{value:.2f} × as long",
    "compile_seconds": lambda value: f"compiled in {value:.0f} s",
    "drawn": lambda value: f"a picture of 28 passes: {value:.3g} s",
    "flops_per_second": lambda value: f"{value / 1e12:.3g} TFLOP/s",
    "bytes_per_second": lambda value: f"{value / 1e9:.3g} GB/s",
    "reason": str,
}


def table(result: Mapping[str, Any]) -> Table:
    """All rows, under a title that says what they were measured on."""
    from rich.table import Table

    where = result["card"] or f"{result['device']}, {counted(result['threads'], 'thread')}"
    made = Table(
        title=f"{result['shape']} at {result['resolution']} × {result['resolution']} on {where}",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title_justify="left",
    )
    for heading in ("Task", "Way"):
        made.add_column(heading)
    for heading, _ in COLUMNS.values():
        made.add_column(heading, justify="right")
    made.add_column("")
    for row in result["rows"]:
        figures = (
            "" if row.get(key) is None else shown(row[key]) for key, (_, shown) in COLUMNS.items()
        )
        notes = ", ".join(say(row[key]) for key, say in NOTES.items() if row.get(key) is not None)
        made.add_row(row["task"], row.get("way", ""), *figures, notes)
    return made
