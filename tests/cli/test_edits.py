from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


def test_list_shows_every_edit(pairedit: Pairedit, rooms: Rooms, saved: Path) -> None:
    result = pairedit("edits", "list")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows == [
        ["Name", "Model", "Rank", "Steps", "Pairs"],
        ["glasses", "mini", "16", "4", "1,", "2"],
        ["smile", "mini", "16", "4", "1,", "2"],
    ]


def test_a_damaged_file_does_not_hide_the_others(
    pairedit: Pairedit, rooms: Rooms, saved: Path
) -> None:
    (saved / "bad.safetensors").write_text("damaged")
    result = pairedit("edits", "list")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[1:] == [
        "bad unusable: not a readable safetensors file",
        "glasses mini 16 4 1, 2",
        "smile mini 16 4 1, 2",
    ]
    listed = json.loads(pairedit("edits", "list", "--json").stdout)["edits"]
    assert ["error" in row for row in listed] == [True, False, False]
    assert listed[0]["reason"] == "not a readable safetensors file"
    shown = pairedit("edits", "show", "bad")
    assert shown.stderr == f"Error: {listed[0]['error']}\n"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"pairedit": "{"}, "its description is damaged"),
        ({"pairedit": '{"schema": 1, "name": 3}'}, "its description is damaged"),
        ({"pairedit": '{"schema": 99}'}, "written by another version of this SDK"),
    ],
)
def test_a_reason_is_a_few_words(
    pairedit: Pairedit, library: Path, metadata: dict[str, str], reason: str
) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(1)}, library / "bad (2).safetensors", metadata)
    (row,) = json.loads(pairedit("edits", "list", "--json").stdout)["edits"]
    assert row["reason"] == reason


def test_list_of_nothing_says_what_to_do(pairedit: Pairedit, library: Path) -> None:
    result = pairedit("edits", "list")
    assert result.stdout == (
        f"No edits in {library} yet. Make one with: pairedit train PAIRS --name NAME\n"
    )
    assert json.loads(pairedit("edits", "list", "--json").stdout)["edits"] == []


def test_library_option_goes_before_the_variable(
    pairedit: Pairedit, rooms: Rooms, saved: Path, tmp_path: Path
) -> None:
    result = pairedit("edits", "list", "--library", tmp_path / "other", "--json")
    assert json.loads(result.stdout) == {"library": str(tmp_path / "other"), "edits": []}


def test_show_by_name_and_by_path(pairedit: Pairedit, rooms: Rooms, saved: Path) -> None:
    path = saved / "smile.safetensors"
    result = pairedit("edits", "show", "smile")
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "What it is",
        "  name          smile",
        "  model         mini",
        "  rank          16",
    ]
    assert {"  pairs         2 (1, 2)", "  precision     fp32", "  scale limit   off"} <= {*lines}
    assert pairedit("edits", "show", path).stdout == result.stdout
    said = json.loads(pairedit("edits", "show", "smile", "--json").stdout)
    assert (said["rank"], said["settings"], said["path"]) == (16, {"eta": 4.0}, str(path))
    assert said["recipe"] is None  # one setting does not tell
    assert said["bytes"] == path.stat().st_size


def test_real_files(pairedit: Pairedit, library: Path) -> None:
    import torch

    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.lora.layers import LoraLayer

    layers = {"transformer_blocks.0.attn.to_q": LoraLayer(torch.ones(2, 8), torch.ones(8, 2))}
    Edit(layers, EditInfo("hat", base="mini", rank=2, pairs=["a"])).save(
        library / "hat.safetensors"
    )
    (library / "cut.safetensors").write_bytes(b"\x10")
    said = json.loads(pairedit("edits", "show", "hat", "--json").stdout)
    assert (said["name"], said["base"], said["rank"], said["pairs"]) == ("hat", "mini", 2, ["a"])
    result = pairedit("edits", "show", "cut")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: cut.safetensors is not a readable safetensors file (")
    listed = json.loads(pairedit("edits", "list", "--json").stdout)["edits"]
    assert [set(row) & {"error", "name"} for row in listed] == [{"error"}, {"name"}]


def test_a_file_cannot_write_to_the_terminal_as_it_likes(pairedit: Pairedit, library: Path) -> None:
    import torch

    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.lora.layers import LoraLayer

    layers = {"transformer_blocks.0.attn.to_q": LoraLayer(torch.ones(2, 8), torch.ones(8, 2))}
    info = EditInfo("hat", base="\x1b[2Jmini\nname: other", pairs=["a\nb"], rank=2)
    Edit(layers, info).save(library / "hat.safetensors")
    shown = pairedit("edits", "show", "hat").stdout
    assert "  model         \\x1b[2Jmini\\nname: other" in shown
    assert "  pairs         1 (a\\nb)\n" in shown
    assert "\x1b" not in pairedit("edits", "list").stdout


def test_show_says_that_an_edit_does_nothing(pairedit: Pairedit, saved: Path) -> None:
    import torch

    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.lora.layers import LoraLayer

    zero = LoraLayer(torch.ones(1, 64), torch.zeros(192, 1))
    Edit({"x_embedder": zero}, EditInfo("still")).save(saved / "still.safetensors")
    assert "It does nothing: every layer" in pairedit("edits", "show", "still").stdout
    assert json.loads(pairedit("edits", "show", "still", "--json").stdout)["idle"] is True
    assert "nothing" not in pairedit("edits", "show", "glasses").stdout
    assert json.loads(pairedit("edits", "show", "glasses", "--json").stdout)["idle"] is False
