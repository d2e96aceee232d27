"""Folders that keep a bounded number of files, which other threads and processes bound too."""

from __future__ import annotations

import os
from pathlib import Path


def newest_first(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """What lies in a folder, with what the system says of it.

    What somebody else deletes meanwhile is left out. A folder that is not there is empty.
    """
    found = []
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    for path in paths:
        try:
            found.append((path, path.stat()))
        except FileNotFoundError:
            continue
    return sorted(found, key=lambda one: one[1].st_mtime_ns, reverse=True)
