"""The ``labels.json`` of Relation252K's folders: which pictures there are, and what they show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

NAME = "labels.json"


@dataclass(frozen=True)
class Labelled:
    """What is said of a picture that shows before and after side by side.

    Attributes:
        caption: what is asked for; may be empty.
        task: which change it shows.
    """

    caption: str
    task: str


def read_labels(folder: Path, paths: Sequence[Path]) -> tuple[list[dict[str, Labelled]], list[str]]:
    """The pictures of each file by their paths within ``folder``, and what is wrong, a phrase
    each."""
    groups: list[dict[str, Labelled]] = []
    known: set[str] = set()
    problems: list[str] = []
    for path in paths:
        own, wrong = _read(folder, path)
        problems += wrong
        problems += [f"{name} is listed twice" for name in own if name in known]
        known |= own.keys()
        groups.append(own)
        problems += [f"{name} is missing" for name in own if not (folder / name).is_file()]
    return groups, problems


def _read(folder: Path, path: Path) -> tuple[dict[str, Labelled], list[str]]:
    within = path.parent.relative_to(folder)
    where = (within / NAME).as_posix()
    task = within.parts[0] if within.parts else folder.name
    try:
        # Some editors of text begin it with a byte order mark.
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:100]
        return {}, [f"{where} cannot be read ({type(error).__name__}: {said})"]
    if not isinstance(rows, list):
        return {}, [f"{where} is no list of pictures"]
    found: dict[str, Labelled] = {}
    problems = []
    for number, row in enumerate(rows, 1):
        name, caption, wrong = _row(row)
        key = (within / name).as_posix()
        if wrong:
            problems.append(f"{where}: entry {number} {wrong}")
        elif key in found:
            problems.append(f"{key} is listed twice")
        else:
            found[key] = Labelled(caption, task)
    return found, problems


def _row(row: object) -> tuple[str, str, str]:
    """Name and caption of an entry, and what is wrong with it, if anything."""
    name = row.get("img_name") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(name, str) or not name.strip():
        return "", "", "has no img_name"
    caption = row.get("edit_instruction")
    if not isinstance(caption, str | None):
        return "", "", "has an edit_instruction that is no text"
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        return "", "", "names a picture outside of its folder"
    if not name.isprintable():
        return "", "", "has an img_name with control characters"
    return name, (caption or "").strip(), ""
