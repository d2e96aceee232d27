"""The stand-ins of conftest.py take what the real rooms take, so the other tests mean something.

The real rooms are read, not imported: that would take torch and seconds.
"""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pairedit_sdk

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


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("models/loading.py", "load_base"),
        ("training/trainer.py", "train"),
        ("editing/edit_image.py", "edit_image"),
        ("editing/generate.py", "generate"),
        ("editing/edit_image.py", "sweep"),
    ],
)
def test_same_parameters(rooms: Rooms, file: str, name: str) -> None:
    assert _fake_parameters(getattr(rooms, name)) == _parameters(_definition(file, name))


def test_an_edit_has_what_the_stand_in_has(rooms: Rooms) -> None:
    fake = sys.modules["pairedit_sdk.edits.edit"].Edit("glasses")
    info, edit = _definition("edits/metadata.py", "EditInfo"), _definition("edits/edit.py", "Edit")
    assert isinstance(info, ast.ClassDef)
    assert isinstance(edit, ast.ClassDef)
    known = {node.target.id for node in info.body
             if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}  # fmt: skip
    assert {field.name for field in fields(fake.info)} <= known
    assert {"load", "save", "name", "__matmul__"} <= {getattr(n, "name", "") for n in edit.body}
    assert "self.info = info" in ast.unparse(edit)


def test_what_a_step_tells_is_what_progress_shows() -> None:
    step = ast.unparse(_definition("training/trainer.py", "StepInfo"))
    for name in ("step", "steps", "content_loss", "semantic_loss"):
        assert f"    {name}: " in step
