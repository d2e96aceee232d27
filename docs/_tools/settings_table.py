"""docs/settings.md from the dataclasses that hold the settings.

    python -m docs._tools.settings_table            # writes the page

A field's meaning is its entry under "Args:" or "Attributes:" in the docstring of its class. A field
that is such a dataclass itself gives rows with dotted names, as ``--set`` takes them.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from docs._tools.roles import to_markdown
from pairedit_sdk import BasisRecipe, OwnEditSettings, TrainConfig

PAGE = Path(__file__).resolve().parents[1] / "settings.md"

TEXT = """\
# Settings

This page is written by `python -m docs._tools.settings_table` from the classes that hold the
settings. A value is set with `--set NAME=VALUE`, which can be repeated, or as a line `NAME: VALUE`
of a recipe. Values are read as YAML, so `null` leaves a setting to the program.

## Training an edit

The settings of `pairedit train`, the fields of [`TrainConfig`](api.md#pairedit_sdk.TrainConfig).
The defaults are PairEdit's published values, and a recipe changes them. [The method](method.md) has
the formulae.

**Every setting of a training, with its default.**

{TrainConfig}

## Training a LoRWeB basis

The settings of `pairedit lorweb train`, the fields of
[`BasisRecipe`](api.md#pairedit_sdk.BasisRecipe): those of
[`BasisSettings`](api.md#pairedit_sdk.BasisSettings), and how the model is held. The defaults are
LoRWeB's published values but for three, [which the method names](method.md#a-learned-basis); the
recipe `lorweb` [has these too](analogies.md#as-published).

**Every setting of a LoRWeB basis, with its default.**

{BasisRecipe}

## Learning an edit in a LoRWeB basis

The settings of `pairedit lorweb learn`, the fields of
[`OwnEditSettings`](api.md#pairedit_sdk.OwnEditSettings).

**Every setting of an edit learned in a LoRWeB basis, with its default.**

{OwnEditSettings}
"""


def page() -> str:
    """The whole page."""
    kinds = (TrainConfig, BasisRecipe, OwnEditSettings)
    return TEXT.format(**{cls.__name__: "\n".join(table(cls)) for cls in kinds})


def table(cls: type) -> Iterator[str]:
    """A row for each setting, under a head."""
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for name, default, meaning in rows(cls()):
        yield f"| `{name}` | `{default}` | {meaning} |"


def rows(settings: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of every setting, those of nested groups with them.

    Args:
        settings: with their defaults.
        prefix: of the names, as ``--set`` has them.

    Raises:
        ValueError: a field that no docstring says anything of.
    """
    cls = type(settings)
    said = {name: text for kind in reversed(cls.__mro__) for name, text in meanings(kind).items()}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from rows(value, f"{prefix}{field.name}.")
            continue
        if field.name not in said:
            raise ValueError(f"{cls.__name__}.{field.name}: the docstring says nothing of it")
        # YAML, in which values are set, reads JSON; only words need no quotes there.
        default = value if isinstance(value, str) else json.dumps(value)
        yield prefix + field.name, default, said[field.name]


def meanings(cls: type) -> dict[str, str]:
    """What the docstring says of each field, as a sentence of Markdown in one line."""
    section = re.search(
        r"^(?:Args|Attributes):\n((?:    .*\n|\n)+)",
        f"{inspect.cleandoc(cls.__doc__ or '')}\n",
        re.MULTILINE,
    )
    found: dict[str, str] = {}
    for entry in re.split(r"^    (?=\w)", section[1] if section else "", flags=re.MULTILINE)[1:]:
        names, _, text = entry.partition(":")
        line = to_markdown(" ".join(text.split())).replace("|", r"\|")
        for python, yaml in (("`None`", "`null`"), ("`True`", "`true`"), ("`False`", "`false`")):
            line = line.replace(python, yaml)
        # Symbols keep their case: η, r, E(a).
        if re.match(r"[a-z]{2}|a [A-Za-z]{2}", line):
            line = line[0].upper() + line[1:]
        found.update(dict.fromkeys((name.strip() for name in names.split(",")), line))
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
