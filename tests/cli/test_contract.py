"""The stand-ins of conftest.py take what the real functions take, so the other tests mean
something; and all commands take these functions from one place.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pairedit_sdk
from pairedit_sdk.cli import services

if TYPE_CHECKING:
    from .conftest import Rooms

PACKAGE = Path(pairedit_sdk.__file__).parent


def _definition(file: str, name: str) -> ast.stmt:
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    return next(node for node in tree.body if getattr(node, "name", None) == name)


def _parameters(function: ast.stmt) -> list[tuple[str, str]]:
    """The parameters with their defaults, those by keyword after a ``*``, all others as ``**``."""
    assert isinstance(function, ast.FunctionDef)
    given = function.args
    missing: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults))
    plain = zip(given.args, [*missing, *given.defaults], strict=True)
    by_name = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    shown = [(p.arg, ast.unparse(d) if d else "") for p, d in plain]
    named = [(p.arg, ast.unparse(d) if d else "") for p, d in by_name]
    return [*shown, ("*", ""), *named, *([("**", given.kwarg.arg)] if given.kwarg else [])]


def _fake_parameters(function: object) -> list[tuple[str, str]]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    shown = {
        kind: [(p.name, "" if p.default is p.empty else repr(p.default)) for p in parameters
               if p.kind is kind]
        for kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }  # fmt: skip
    plain, by_name = shown.values()
    rest = [("**", p.name) for p in parameters if p.kind is p.VAR_KEYWORD]
    return [*plain, ("*", ""), *by_name, *rest]


@pytest.mark.parametrize("name", services.HOME)
def test_same_parameters(rooms: Rooms, name: str) -> None:
    file = services.HOME[name].removeprefix("pairedit_sdk.").replace(".", "/") + ".py"
    assert _fake_parameters(getattr(rooms, name)) == _parameters(_definition(file, name))


def test_commands_take_these_functions_from_the_seam_alone() -> None:
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        taken = {
            (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and path.name != "services.py"
            for alias in node.names
        }
        assert not taken & {(module, name) for name, module in services.HOME.items()}, path.name


def test_the_seam_finds_what_is_there() -> None:
    from pairedit_sdk.models.loading import load_model

    assert services.load_model is load_model
    assert {*services.HOME, "HOME"} == {*services.__all__}
    with pytest.raises(AttributeError, match="has no attribute 'lose_model'"):
        services.lose_model  # noqa: B018


def test_what_a_step_tells_is_what_progress_shows() -> None:
    step = ast.unparse(_definition("training/trainer.py", "StepInfo"))
    for name in ("step", "steps", "content_loss", "semantic_loss"):
        assert f"    {name}: " in step
