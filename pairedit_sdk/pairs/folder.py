"""A folder of pairs: which files it holds, and which of them belong together by name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    "two folders 'source' and 'target' (or 'before' and 'after') with files of equal names "
    "(source/1.jpg, target/1.png), or one folder with NAME_before.* and NAME_after.*"
)

#: What the folders of the two sides are called, and what names of single files end in.
_SIDES = {"before": ("source", "before", "start"), "after": ("target", "after", "end")}
_MARKED = re.compile(
    rf"(.+?)[\s_.-]+({'|'.join(word for words in _SIDES.values() for word in words)})",
    re.IGNORECASE,
)


@dataclass
class _Side:
    """The files of one side: names as written, and paths, by what they are matched by."""

    wanted: str
    names: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def put(self, name: str, file: Path, folder: Path, problems: list[str]) -> None:
        key = matched(name)
        if key in self.files:
            both = f"'{self.files[key].relative_to(folder)}' and '{file.relative_to(folder)}'"
            problems.append(
                f"{both} are both the {self.wanted} picture of '{self.names[key]}', so it is "
                "unclear which one is meant"
            )
        else:
            self.names[key], self.files[key] = unicodedata.normalize("NFC", name), file


def marked(stem: str) -> tuple[str, str]:
    """A file's name without its ending, as (NAME, side): "before" or "after" for NAME_before and
    the like, "" for what is not marked."""
    match = _MARKED.fullmatch(stem)
    if match is None:
        return stem, ""
    return match[1], "before" if match[2].lower() in _SIDES["before"] else "after"


def matched(name: str) -> str:
    """What two names must have in common to be a pair's.

    macOS writes accents as characters of their own, and cameras and programs differ in the case.
    """
    folded = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", folded)


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
    """Before and after files by name, in any layout; what does not fit goes to ``problems``."""
    before, after = _Side("before"), _Side("after")
    folders = [_side_folders(folder, words) for words in _SIDES.values()]
    if any(folders):
        _from_two_folders(folder, folders, (before, after), problems)
    else:
        _from_one_folder(folder, before, after, problems)
    # A pair is called what its before picture is called.
    names = after.names | before.names
    befores, afters = (
        {names[key]: file for key, file in side.files.items()} for side in (before, after)
    )
    return befores, afters


def _side_folders(folder: Path, words: tuple[str, ...]) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.lower() in words and p.is_dir())


def _from_two_folders(
    folder: Path, folders: list[list[Path]], sides: tuple[_Side, _Side], problems: list[str]
) -> None:
    for found, other, side in zip(folders, folders[::-1], sides, strict=True):
        if len(found) > 1:
            named = " and ".join(f"'{one.name}'" for one in found)
            problems.append(f"{named} may each hold the {side.wanted} pictures")
        elif not found:
            problems.append(f"there is no folder '{_partner(other[0].name)}'")
    if problems:
        # Every file would be an orphan for this one reason.
        return
    for (one,), side in zip(folders, sides, strict=True):
        for file in pictures_in(one):
            side.put(file.stem, file, folder, problems)


def _partner(name: str) -> str:
    """The other side's word for a folder called ``name``."""
    one, two = _SIDES.values()
    return dict(zip(one + two, two + one, strict=True))[name.lower()]


def _from_one_folder(folder: Path, before: _Side, after: _Side, problems: list[str]) -> None:
    unmarked = []
    for file in pictures_in(folder):
        name, said = marked(file.stem)
        if said:
            (before if said == "before" else after).put(name, file, folder, problems)
        else:
            unmarked.append(file)
    if before.files or after.files:
        problems += [f"'{file.name}' ends neither in _before nor in _after" for file in unmarked]


def partner_hint(name: str, befores: Mapping[str, Path], afters: Mapping[str, Path]) -> str:
    """A hint at a file of the other side that looks like the missing partner."""
    others = afters if name in befores else befores
    lone = [other for other in others if other not in befores or other not in afters]
    if len(lone) != 1:
        return ""
    one, two = matched(name), matched(lone[0])
    alike = "Did" in nearest(name, lone) or one.startswith(two) or two.startswith(one)
    return f" (is it '{others[lone[0]].name}'?)" if alike else ""


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
