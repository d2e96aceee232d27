"""A list of edits to train: JSON Lines, an edit a line, all of them on one model.

Every problem of a manifest is reported at once, with its line, before anything is computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.library import check_name
from pairedit_sdk.errors import InputError, UsageError, nearest
from pairedit_sdk.io.settings import by_path
from pairedit_sdk.jobs.make_edit import settings_for

if TYPE_CHECKING:
    from pairedit_sdk.training.config import TrainConfig

#: The keys of a line, and whether it must have them.
KEYS = {"name": True, "pairs": True, "recipe": False, "set": False, "licence": False}
VOCABULARY = "words.vocabulary"
#: So many problems are shown; a wrong path makes one of every line.
SHOWN = 50


@dataclass(frozen=True)
class ManifestEntry:
    """One edit to train.

    Attributes:
        name: what the edit is to be called.
        pairs: the folder of its before/after pairs.
        config: its settings, with the model.
        licence: under which it may be used; ``None`` leaves that of a finished edit as it is.
    """

    name: str
    pairs: Path
    config: TrainConfig
    licence: str | None = None


def read_manifest(
    path: str | Path,
    base: str | None = None,
    recipe: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> list[ManifestEntry]:
    """The edits of a manifest, in its order.

    A line is ``{"name": "glasses", "pairs": "folder"}``, and may have ``recipe`` (a name or a
    file), ``set`` (settings by name) and ``licence``. Relative paths are relative to the manifest's
    folder, that of a vocabulary in ``set`` too. Empty lines are left out.

    Args:
        path: the manifest.
        base: for all of them; without it the recipes', and without that mini.
        recipe: of the lines that name none.
        overrides: ``key=value`` words, for all lines; a line's own ``set`` prevails.

    Raises:
        InputError: there is no such file, or nothing in it.
        UsageError: naming all that is wrong with its lines.
    """
    path = Path(path)
    lines = _lines(path)
    problems: list[str] = []
    found: dict[int, ManifestEntry] = {}
    names: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        wrong: list[str] = []
        values = _values(line, wrong)
        name = values.get("name")
        if isinstance(name, str) and names.setdefault(name, number) != number:
            wrong.append(f"the name {name} is that of line {names[name]} too")
        entry = _entry(values, path.parent, base, recipe, overrides, wrong)
        if entry is not None and not wrong:
            found[number] = entry
        problems += [f"line {number}: {text}" for text in wrong]
    problems += _not_of_one_kind(found)
    if problems:
        shown = problems[:SHOWN]
        if len(problems) > SHOWN:
            shown.append(f"and {len(problems) - SHOWN} more")
        many = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        raise UsageError(
            f"The manifest {path} has {many}",
            details=shown,
            next_step="Put these right; nothing was trained",
        )
    if not found:
        raise InputError(
            f"The manifest {path} is empty", expected='lines like {"name": "a", "pairs": "folder"}'
        )
    return list(found.values())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"There is no manifest {path}", next_step="Check the path") from error
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no manifest", expected="a text file of JSON Lines, an edit a line"
        ) from error


def _values(line: str, wrong: list[str]) -> dict[str, Any]:
    """The keys and values of a line; what is wrong with them goes to ``wrong``."""
    try:
        values = json.loads(line)
    except ValueError as error:
        wrong.append(f"not JSON ({error})")
        return {}
    if not isinstance(values, dict):
        wrong.append(f"expected keys and values in braces, got a {type(values).__name__}")
        return {}
    for key in sorted(values.keys() - KEYS.keys()):
        wrong.append(f"unknown key {key!r} ({nearest(key, list(KEYS)).rstrip('.')})")
    for key, needed in KEYS.items():
        value = values.get(key)
        if value is None:
            wrong += [f"{key} is missing"] if needed else []
        elif key == "set":
            if not isinstance(value, dict):
                wrong.append(f"set is {value!r}, expected settings by name")
        elif not isinstance(value, str):
            wrong.append(f"{key} is {value!r}, expected a text")
    return values


def _entry(
    values: Mapping[str, Any],
    folder: Path,
    base: str | None,
    recipe: str | Path | None,
    overrides: Sequence[str],
    wrong: list[str],
) -> ManifestEntry | None:
    name, pairs, own, settings, licence = (values.get(key) for key in KEYS)
    if isinstance(name, str):
        try:
            check_name(name)
        except UsageError as error:
            wrong.append(f"{error.what}; expected {error.expected}")
    where = folder / pairs if isinstance(pairs, str) else folder
    if not where.is_dir():
        wrong.append(f"pairs: there is no folder {where}")
    if not isinstance(own, str | None) or not isinstance(settings, dict | None):
        return None
    if own is not None:
        recipe = folder / own if _is_file_name(own) else own
    try:
        config = settings_for(base, recipe, overrides, _settled(settings, folder))
    except (UsageError, InputError) as error:
        wrong.append(" ".join(text.rstrip(".") for text in (error.what, error.got) if text))
        if error.next_step and error.next_step != "Put these right":
            wrong[-1] += f" ({error.next_step})"
        return None
    if not values or wrong:
        return None
    return ManifestEntry(str(name), where, config, licence)


def _settled(settings: Mapping[str, Any] | None, folder: Path) -> Mapping[str, Any] | None:
    """A line's settings, with the phrases in the place of a vocabulary's file in ``folder``.

    Raises:
        InputError: it cannot be read.
    """
    from pairedit_sdk.training.config import TrainConfig
    from pairedit_sdk.words.vocabulary import settled_vocabulary

    found = by_path(TrainConfig, settings or {})
    said = found.get(VOCABULARY)
    if not isinstance(said, str):
        return settings
    return found | {VOCABULARY: settled_vocabulary(said, folder)}


def _is_file_name(recipe: str) -> bool:
    path = Path(recipe)
    return path.suffix in {".yaml", ".yml"} or len(path.parts) > 1


def _not_of_one_kind(entries: Mapping[int, ManifestEntry]) -> list[str]:
    """What is wrong where not all entries can be trained on one loaded model."""
    problems: list[str] = []
    for what, way_out in (
        ("base", "say which with --base, or make a manifest for each"),
        ("precision", "say which with --precision, or make a manifest for each"),
    ):
        lines: dict[str, int] = {}
        for number, entry in entries.items():
            lines.setdefault(str(getattr(entry.config, what)), number)
        (first, begun), *others = lines.items() if lines else [("", 0)]
        problems += [
            f"line {number}: {what} {value}, but {first} in line {begun} ({way_out})"
            for value, number in others
        ]
        if problems:
            break  # another model has another precision for that reason alone
    return problems
