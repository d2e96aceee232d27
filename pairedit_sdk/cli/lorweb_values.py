"""What the commands of ``pairedit lorweb`` share: a basis by its name, and its mix as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.edits.library import SUFFIX, EditLibrary, check_name
from pairedit_sdk.errors import UsageError, nearest

if TYPE_CHECKING:
    from rich.table import Table


def basis_path(name: str, library: EditLibrary) -> Path:
    """The file that a LoRWeB basis has in the library, whether it is there or not."""
    return library.folder / "learned" / f"{check_name(name)}{SUFFIX}"


def find_basis(name_or_path: str, library: EditLibrary) -> Path:
    """The file of a LoRWeB basis, given its name in the library or a path.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    folder = library.folder / "learned"
    names = sorted(p.stem for p in folder.glob(f"*{SUFFIX}"))
    if name_or_path in names:
        return folder / f"{name_or_path}{SUFFIX}"
    raise UsageError(
        f"There is no LoRWeB basis {name_or_path!r} in {folder}",
        next_step=nearest(name_or_path, names)
        if names
        else "Train one with `pairedit lorweb train`, or give a file's path",
    )


def coefficient_table(coefficients: dict[str, float]) -> Table:
    """The five elements that have most of the mix."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("Element")
    table.add_column("In the mix", justify="right")
    for name in sorted(coefficients, key=lambda n: -abs(coefficients[n]))[:5]:
        table.add_row(Text(name), f"{coefficients[name]:.2f}")
    return table
