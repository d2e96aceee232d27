"""``--library`` on a URL: read by what reads edits, refused by all else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer

Pairedit = Callable[..., Result]
URL = "memory://lib"


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[bytes]:
    """A library in memory with the edit hat, and the content of its file."""
    layer = LoraLayer(torch.ones(2, 64), torch.ones(64, 2))
    info = EditInfo("hat", base="mini", rank=2)
    path = Edit({"transformer_blocks.0.attn.to_q": layer}, info).save(tmp_path / "x.safetensors")
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe("/lib/hat.safetensors", path.read_bytes())
    yield path.read_bytes()
    system.store.clear()


def test_what_reads(pairedit: Pairedit, remote: bytes, tmp_path: Path, monkeypatch: Any) -> None:
    listed = json.loads(pairedit("edits", "list", "--library", URL, "--json").stdout)
    assert listed["library"] == URL
    assert [row["name"] for row in listed["edits"]] == ["hat"]
    monkeypatch.setenv("PAIREDIT_LIBRARY", URL)
    assert "  name          hat" in pairedit("edits", "show", "hat").stdout.splitlines()
    result = pairedit("edits", "export", "hat", "-o", "hat.safetensors")
    assert result.exit_code == 0, result.output
    result = pairedit("edits", "show", "hta")
    assert result.exit_code == 2
    assert "Did you mean hat?" in result.stderr


def test_a_picture_is_edited(
    pairedit: Pairedit, remote: bytes, picture: Path, tiny_folder: Path
) -> None:
    result = pairedit(
        "edit", picture, "--edit", "hat=0.5", "--library", URL, "--base", tiny_folder,
        "--steps", "2", "-o", "out.png",
    )  # fmt: skip
    # The edit says of which model it is only by name, so that any that has its layer will do.
    assert result.exit_code == 0, result.output
    assert Path("out.png").is_file()


@pytest.mark.parametrize(
    "line",
    [
        "train pairs --name hat",
        "compose --edit hat --name two",
        "edits import x.safetensors --name y",
        "edits remove hat",
        "edits pick hat --step 2",
        "edits pull me/hat",
        "basis place hat pairs",
        "basis list",
        "lorweb train pairs --name b",
        "analogy a.png a.png a.png -o b.png",
    ],
)
def test_what_does_not(pairedit: Pairedit, remote: bytes, tmp_path: Path, line: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = pairedit(*line.split(), "--library", URL)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: The library memory://lib is on a URL, and edits are only read from there. Expected "
        "a folder of this machine for all that writes, for runs and for the basis. Name a folder "
        "with --library or PAIREDIT_LIBRARY.\n"
    )
    assert sorted(tmp_path.rglob("*")) == before
    assert list(fsspec.filesystem("memory").store) == ["/lib/hat.safetensors"]


def test_a_missing_library(pairedit: Pairedit) -> None:
    result = pairedit("edits", "list", "--library", "file:///no/such/folder")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: There is no library file:///no/such/folder.")
