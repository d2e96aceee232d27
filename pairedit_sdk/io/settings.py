"""Settings as frozen dataclasses: read from YAML and checked, all problems said at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pairedit_sdk.errors import UsageError, nearest

#: What a value must be: a test, and the same in words.
Rule = tuple[Callable[[Any], bool], str]
T = TypeVar("T")


def whole(low: int) -> Rule:
    """A whole number of at least ``low``."""
    return (lambda v: isinstance(v, int) and v >= low), f"a whole number of at least {low}"


def positive(high: float = math.inf) -> Rule:
    """A number above 0 and at most ``high``."""
    limit = "" if math.isinf(high) else f" and at most {high:g}"
    return (lambda v: 0 < v <= high and math.isfinite(v)), f"a number above 0{limit}"


def one_of(values: Sequence[str]) -> Rule:
    """One of these words."""
    return (lambda v: v in values), "one of " + ", ".join(values)


def broken_rules(settings: object, rules: Mapping[str, Rule]) -> list[str]:
    """What is wrong with the values of some settings, a phrase each."""
    return [
        f"{name} is {getattr(settings, name)!r}, expected {wanted}"
        for name, (holds, wanted) in rules.items()
        if not holds(getattr(settings, name))
    ]


def refuse(problems: Sequence[str]) -> None:
    """Say all problems at once, if there are any.

    Raises:
        UsageError: naming them.
    """
    if problems:
        raise UsageError(
            "Settings out of range: " + "; ".join(problems), next_step="Put these right"
        )


def from_values(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Settings of a dataclass from plain values.

    Raises:
        UsageError: unknown keys and values of another type, all at once, misspelt keys with the
            nearest known one.
    """
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    problems = [
        f"unknown key {key!r} ({nearest(key, known).rstrip('?').rstrip('.')})"
        for key in values
        if key not in known
    ]
    good: dict[str, Any] = {}
    for key, value in values.items():
        if key in known:
            fitted, wanted = _fit_type(value, hints[key])
            if wanted:
                problems.append(f"{key} is {_shown(value)}, expected {wanted}")
            good[key] = fitted
    if problems:
        raise UsageError(f"{source}: " + "; ".join(problems), next_step="Put these right")
    return kind(**good)


def with_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The values changed by ``key=value`` words, which are read as YAML.

    Raises:
        UsageError: a word without a value, or one that cannot be read.
    """
    values = dict(values)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"The setting {override!r} has no value",
                expected="KEY=VALUE",
                next_step="For example steps=200",
            )
        values[key.strip()] = _yaml_value(text, override)
    return values


def _fit_type(value: Any, hint: Any) -> tuple[Any, str]:
    """The value as the field's type, or what was expected instead."""
    optional = "None" in str(hint)
    if value is None and optional:
        return None, ""
    kind = next(t for t in (bool, int, float, str) if t.__name__ in str(hint))
    if kind is bool:
        return value, "" if isinstance(value, bool) else "true or false"
    if kind is str:
        return value, "" if isinstance(value, str) else "a word"
    if isinstance(value, bool):
        return value, "a number"
    try:  # YAML 1.1 reads 2e-3 as a word
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return value, "a whole number" if kind is int else "a number"
    if math.isnan(number):
        return value, "a number"
    if kind is int:
        return (int(number), "") if number.is_integer() else (value, "a whole number")
    return number, ""


def _shown(value: Any) -> str:
    """A value in an error. A few lines of YAML can stand for a list of any size."""
    if isinstance(value, list | dict | set):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The keys and values of a YAML file; ``what`` it is, for errors.

    Raises:
        UsageError: it is none.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{what} {path} cannot be read",
            got=error.strerror or str(error),
            next_step="Check its permissions",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{what} {path.name} is not plain YAML ({line})",
            expected="keys and plain values, such as steps: 200",
            next_step="Nothing else in such a file is read or executed",
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(
            f"{what} {path.name} holds no settings",
            expected="keys and values",
            got=f"a {type(values).__name__}",
            next_step="Write KEY: VALUE lines, such as steps: 200",
        )
    return {str(key): value for key, value in values.items()}


def _yaml_value(text: str, override: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(
            f"Setting {override!r} cannot be read as a value",
            expected="KEY=VALUE",
            next_step="For example steps=200",
        ) from error
