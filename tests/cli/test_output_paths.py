"""Output that cannot be written is said before the work: no model is loaded for it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]

#: {file} stands for something below a file, {taken} for the file itself.
LINES = [
    "edit me.png --edit glasses -o {file}",
    "sweep me.png --edit glasses -o {file}",
    "generate --prompt p -o {file}",
    "analogy me.png me.png me.png -o {file}",
    "analogy me.png me.png me.png -o x.png --strip {file}",
    "lorweb answer b me.png me.png me.png -o {file}",
    "lorweb answer b me.png me.png me.png -o x.png --strip {file}",
    "lorweb train d --name new --library {taken}",
    "lorweb import c.safetensors c.yaml --name new --library {taken}",
    "lorweb draw {taken}/new",
    "compose --edit glasses --edit smile --name new --library {taken}",
    "train pairs --name new --library {taken}",
    "train-many m.jsonl --library {taken}",
    "edits import glasses.safetensors --name new --library {taken}",
    "edits pick glasses -o {file}",
    "bench edits -o {taken}",
    "bench compose -o {taken}/new",
    "bench speed --shape tiny -o {file}",
    "demo -o {taken}/new",
    "plot m.jsonl -o {file}",
]


@pytest.mark.parametrize("line", LINES)
def test_a_place_below_a_file(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path, pairs: Path, tmp_path: Path,
    line: str,
) -> None:  # fmt: skip
    taken = tmp_path / "taken"
    taken.write_text("mine")
    (tmp_path / "m.jsonl").write_text('{"name": "a", "pairs": "pairs"}\n')
    words = line.format(file=taken / "x.png", taken=taken)
    result = pairedit(*shlex.split(words))
    assert result.exit_code == 2, result.output
    assert "could not be written. Got" in result.stderr
    assert "Choose another name: something else stands there." in result.stderr
    assert rooms.calls == []
    assert taken.read_text() == "mine"
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_this_user_may_not_write_to(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path, tmp_path: Path,
    refused: Callable[[Path], AbstractContextManager[None]],
) -> None:  # fmt: skip
    folder = tmp_path / "locked"
    folder.mkdir()
    with refused(folder):
        result = pairedit("edit", picture, "--edit", "glasses", "-o", folder / "new" / "x.png")
    assert result.exit_code == 2
    assert "Permission denied. Choose a folder that may be written to" in result.stderr
    assert rooms.calls == []


def test_a_basis_that_cannot_be_written(
    pairedit: Pairedit, saved: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr("pairedit_sdk.basis.edit_basis.load_encoder", load)
    (saved / "basis").write_text("mine")
    result = pairedit("basis", "place", "glasses", pairs)
    assert result.exit_code == 2, result.output
    assert "could not be written. Got Not a directory" in result.stderr
