"""A folder of pairs: which files it holds, and which of them belong together by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pairedit_sdk.errors import nearest

#: What counts as a picture by its name. Some cannot be read, and are then reported as such.
EXTENSIONS = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".jfif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".mpo",
        ".png",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    }
)

LAYOUTS = (
    "two folders 'source' and 'target' with files of equal names (source/1.jpg, target/1.png), "
    "or one folder with NAME_before.* and NAME_after.*"
)


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sorting key: numbers in names by their value and before letters, letters in any case."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts], name


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder by their names, hidden files left out."""
    files = (p for p in folder.iterdir() if not p.name.startswith("."))
    # A link that leads nowhere is meant as a picture too, and said to be none when it is read.
    files = (p for p in files if p.is_file() or (p.is_symlink() and not p.exists()))
    return sorted((p for p in files if p.suffix.lower() in EXTENSIONS), key=lambda p: p.name)


def find_pairs(folder: Path, problems: list[str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Before and after files by name, in either layout; what does not fit goes to ``problems``."""
    sides = [folder / "source", folder / "target"]
    befores: dict[str, Path] = {}
    afters: dict[str, Path] = {}
    if any(side.is_dir() for side in sides):
        for side, found in zip(sides, (befores, afters), strict=True):
            if not side.is_dir():
                problems.append(f"there is no folder '{side.name}'")
                continue
            for file in pictures_in(side):
                _put(found, file.stem, file, folder, problems)
        if problems and "there is no folder" in problems[0]:
            # Every file of the other side would be an orphan for this one reason.
            befores.clear()
            afters.clear()
        return befores, afters
    files = pictures_in(folder)
    for file in files:
        match = re.fullmatch(r"(.+)_(before|after)", file.stem, re.IGNORECASE)
        if match:
            side_files = befores if match[2].lower() == "before" else afters
            _put(side_files, match[1], file, folder, problems)
    if befores or afters:
        known = {*befores.values(), *afters.values()}
        marked = re.compile(r".+_(before|after)", re.IGNORECASE)
        problems += [
            f"'{file.name}' ends neither in _before nor in _after"
            for file in files
            if file not in known and not marked.fullmatch(file.stem)
        ]
    return befores, afters


def _put(found: dict[str, Path], name: str, file: Path, folder: Path, problems: list[str]) -> None:
    if name in found:
        both = f"'{found[name].relative_to(folder)}' and '{file.relative_to(folder)}'"
        problems.append(f"{both} have the same name, so it is unclear which one is meant")
    else:
        found[name] = file


def partner_hint(name: str, befores: Mapping[str, Path], afters: Mapping[str, Path]) -> str:
    """A hint at a file of the other side that looks like the missing partner."""
    others = afters if name in befores else befores
    lone = [other for other in others if other not in befores or other not in afters]
    hint = nearest(name, lone)
    return f" (is it '{others[lone[0]].name}'?)" if len(lone) == 1 and "Did" in hint else ""


def contents_of(folder: Path) -> str:
    """What is in a folder that holds no pairs, for an error."""
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if not names:
        return "an empty folder"
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"only {shown}"


def folder_hint(folder: Path) -> str:
    """What to do about a pairs folder that is none, for an error."""
    if folder.exists():
        return f"Name the folder that holds it, '{folder.parent}', or its parent"
    siblings = folder.parent.iterdir() if folder.parent.is_dir() else iter(())
    hint = nearest(folder.name, [p.name for p in siblings if p.is_dir()])
    return hint if hint.startswith("Did you mean") else "Check the path"
