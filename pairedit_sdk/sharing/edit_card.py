"""What is known about an edit in words: groups of short lines, for a shell and for the studio."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.library import preview_path
from pairedit_sdk.edits.metadata import EditInfo
from pairedit_sdk.errors import PairEditError, counted, printable
from pairedit_sdk.lora.files import weights_file
from pairedit_sdk.training.closest_recipe import ClosestRecipe, closest_recipe

#: A group's heading, and its lines: a label and what is said.
Group = tuple[str, list[tuple[str, str]]]

#: Columns of the labels.
LABEL = 14


def card(path: Path, info: EditInfo) -> list[Group]:
    """The groups; what is not known is left out, apart from the licence and the model."""
    groups = [
        ("What it is", _what(path, info)),
        ("How it was learned", _learned(info)),
        ("How it is applied", _applied(info)),
        ("Its file", _file(path, info)),
    ]
    return [
        (heading, [(label, printable(said)) for label, said in rows if said])
        for heading, rows in groups
        if any(said for _, said in rows)
    ]


def lines(groups: Sequence[Group], width: int) -> list[str]:
    """The groups as lines of at most ``width`` characters; names and paths are never cut."""
    found: list[str] = []
    for heading, rows in groups:
        found += ["", heading] if found else [heading]
        for label, said in rows:
            found += textwrap.wrap(
                said,
                width,
                initial_indent=f"  {label:{LABEL}}",
                subsequent_indent=" " * (LABEL + 2),
                break_long_words=False,
                break_on_hyphens=False,
            )
    return found


def recipe_of(info: EditInfo) -> ClosestRecipe | None:
    """The recipe that the edit's settings are nearest to, if this version can read them."""
    if "objective" not in info.settings:
        return None  # not all of a training's settings: another tool's, or cut down
    try:
        return closest_recipe(info.settings)
    except (PairEditError, TypeError, ValueError):
        return None  # a file may say anything


def _what(path: Path, info: EditInfo) -> list[tuple[str, str]]:
    kind = ", ".join(filter(None, (info.architecture, info.base_fingerprint)))
    return [
        ("name", info.name),
        ("model", f"{info.base} ({kind})" if info.base and kind else info.base or "not stated"),
        ("made of", ", ".join(f"{name} @ {scale:g}" for name, scale in info.parts)),
        ("rank", str(info.rank)),
        ("size", _size(weights_file(path).stat().st_size)),
    ]


def _learned(info: EditInfo) -> list[tuple[str, str]]:
    recipe = recipe_of(info)
    unread = f"{counted(len(info.settings), 'setting')}, see --json" if info.settings else ""
    side = info.resolution
    return [
        ("pairs", f"{len(info.pairs)} ({', '.join(info.pairs)})" if info.pairs else ""),
        ("steps", str(info.steps or "")),
        ("objective", str(info.settings.get("objective", "")) if recipe else ""),
        ("recipe", str(recipe) if recipe else unread),
        ("resolution", f"{side} x {side} pixels" if side else ""),
        ("precision", info.precision),
    ]


def _applied(info: EditInfo) -> list[tuple[str, str]]:
    editor, seen = info.editor, info.direction
    limit = "on" if editor.limit_scale else "off"
    encoder = f" (image encoder {seen.encoder})" if editor.limit_scale and seen else ""
    gain = f"{info.unit_scale:g}, in the weights already: use scale 1"
    noises = counted(editor.n_avg, "noise")
    return [
        ("words", _words(info)),
        ("schedule", f"{counted(editor.steps, 'step')}, {noises} in each"),
        ("threshold", f"{editor.threshold:g}"),
        ("scale limit", f"{limit}{encoder}"),
        ("guidance", f"{info.guidance:g}"),
        ("unit scale", gain if info.unit_scale != 1 else ""),
    ]


def _words(info: EditInfo) -> str:
    return "; ".join(_instruction(words) for words in info.words)


def _instruction(words: EditWords) -> str:
    acts = f"acts at scale {words.scale:g}" if words.scale else "a description only"
    lora = f", the LoRA at {words.lora:g}" if words.scale and words.lora != 1 else ""
    ratio = "" if words.ratio is None else f", loss ratio {words.ratio:.2f}"
    return f'"{words.phrase}", {acts}{lora}{ratio}'


def _file(path: Path, info: EditInfo) -> list[tuple[str, str]]:
    picture = preview_path(path)
    return [
        ("path", str(path)),
        ("preview", str(picture) if picture.is_file() else ""),
        ("licence", info.licence or "not stated"),
        ("created", _moment(info.created)),
        ("made with", f"pairedit-sdk {info.sdk_version}" if info.sdk_version else ""),
    ]


def _moment(created: str) -> str:
    """A file's time to the minute; what is no time stays as it is."""
    try:
        return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return created


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
