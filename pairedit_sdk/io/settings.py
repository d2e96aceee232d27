"""Settings as frozen dataclasses: read from YAML and checked, all problems said at once.

Settings may be grouped: a field can be a dataclass of its own, whose fields are written
``optim.lr=1e-3`` or, in YAML, as a mapping. :class:`Short` gives such a field a short name.
"""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints, overload

from pairedit_sdk.errors import UsageError, nearest

#: What a value must be: a test, and the same in words.
Rule = tuple[Callable[[Any], bool], str]
T = TypeVar("T")
V = TypeVar("V")

_log = logging.getLogger("pairedit_sdk")
#: Short names that were told of already.
_noted: set[str] = set()


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
    """What is wrong with some settings, a phrase each; rules go by name or ``group.field``."""
    return [
        f"{path} is {value!r}, expected {wanted}"
        for path, (holds, wanted) in rules.items()
        if not holds(value := operator.attrgetter(path)(settings))
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


class Short(Generic[V]):
    """A read-only short name of a setting in a group, such as ``lr`` for ``optim.lr``.

    Args:
        path: group and field.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @overload
    def __get__(self, instance: None, owner: type) -> Short[V]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> V: ...
    def __get__(self, instance: object | None, owner: type) -> Short[V] | V:
        if instance is None:
            return self
        value: V = operator.attrgetter(self.path)(instance)
        return value


def short_names(kind: type) -> dict[str, str]:
    """The short names of a dataclass's settings, and what each stands for."""
    return {
        name: value.path
        for one in kind.__mro__
        for name, value in vars(one).items()
        if isinstance(value, Short)
    }


def by_path(kind: type, values: Mapping[str, Any], *, note: bool = False) -> dict[str, Any]:
    """The values with ``group.field`` in the place of mappings and of short names.

    Args:
        kind: the dataclass.
        values: plain ones; keys that are not known stay as they are.
        note: log, once for each short name, what it stands for.
    """
    short, groups = short_names(kind), _groups(kind)
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in groups and isinstance(value, Mapping):
            found |= {f"{key}.{field}": one for field, one in value.items()}
            continue
        path = short.get(key, key)
        if note and path != key and key not in _noted:
            _noted.add(key)
            _log.warning("The setting %s is now called %s.", key, path)
        found[path] = value
    return found


def from_values(kind: type[T], values: Mapping[str, Any], source: str) -> T:
    """Settings of a dataclass from plain values, groups as mappings or ``group.field``.

    Raises:
        UsageError: unknown keys and values of another type, all at once, misspelt keys with the
            nearest known one.
    """
    hints = _hints(kind)
    problems: list[str] = []
    tops: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for key, value in by_path(kind, values).items():
        if key in _groups(kind):
            problems.append(f"{key} is {_shown(value)}, expected keys and values")
        elif key not in hints:
            near = nearest(key, [*hints, *short_names(kind)])
            problems.append(f"unknown key {key!r} ({near.rstrip('?').rstrip('.')})")
        else:
            fitted, wanted = _fit_type(value, hints[key])
            if wanted:
                problems.append(f"{key} is {_shown(value)}, expected {wanted}")
            group, _, field = key.rpartition(".")
            (inner.setdefault(group, {}) if group else tops)[field] = fitted
    if problems:
        raise UsageError(f"{source}: " + "; ".join(problems), next_step="Put these right")
    defaults = {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
    for group, changed in inner.items():
        tops[group] = replace(defaults[group], **changed)  # type: ignore[type-var]
    return kind(**tops)


def set_values(settings: Any, values: Mapping[str, Any]) -> None:
    """Fill a frozen dataclass: its fields, whole groups, and short names, which prevail over these.

    Raises:
        TypeError: an unknown name.
    """
    short = short_names(type(settings))
    own = {f.name: f.default for f in fields(settings)}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        if name in short:
            group, field = short[name].split(".")
            inner.setdefault(group, {})[field] = value
        elif name in own:
            own[name] = value
        else:
            raise TypeError(f"{type(settings).__name__} has no setting {name!r}")
    for group, changed in inner.items():
        own[group] = replace(own[group], **changed)  # type: ignore[type-var]
    for name, value in own.items():
        object.__setattr__(settings, name, value)


def flat_values(settings: Any) -> dict[str, Any]:
    """All values by short names, as the files of runs and edits hold them."""
    named = {path: name for name, path in short_names(type(settings)).items()}
    return {
        named.get(path, path): operator.attrgetter(path)(settings)
        for path in _hints(type(settings))
    }


def _groups(kind: type) -> dict[str, list[str]]:
    """The groups of a dataclass, and the names of their fields."""
    return {
        f.name: [inner.name for inner in fields(f.default)]
        for f in fields(kind)
        if is_dataclass(f.default) and not isinstance(f.default, type)
    }


def _hints(kind: type) -> dict[str, Any]:
    """The types of all settings, those in groups by ``group.field``."""
    own, groups = get_type_hints(kind), _groups(kind)
    found: dict[str, Any] = {}
    for f in fields(kind):
        if f.name in groups:
            inner = get_type_hints(type(f.default))
            found |= {f"{f.name}.{name}": inner[name] for name in groups[f.name]}
        else:
            found[f.name] = own[f.name]
    return found


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
