"""``edits push`` and ``edits pull``, with a stand-in of the Hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer

Pairedit = Callable[..., Result]
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def saved(library: Path) -> Path:
    layer = LoraLayer(torch.ones(2, 8), torch.ones(8, 2))
    info = EditInfo("hat", base="mini", rank=2)
    return Edit({"transformer_blocks.0.attn.to_q": layer}, info).save(library / "hat.safetensors")


def test_push_and_pull(pairedit: Pairedit, hub: Any, saved: Path) -> None:
    result = pairedit("edits", "push", "hat", "me/hat", "--private", "--message", "A hat")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"Pushed README.md, hat.safetensors to {hub.url}/me/hat",
        "Others get it with:  pairedit edits pull me/hat",
    ]
    repo = hub.repos["me/hat"]
    assert (repo.private, repo.messages) == (True, ["A hat"])

    result = pairedit("edits", "pull", "me/hat")
    assert result.exit_code == 2
    assert "There is an edit hat already" in result.stderr
    content = saved.read_bytes()
    saved.unlink()
    result = pairedit("edits", "pull", "me/hat", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["path"], said["file"], said["preview"]) == (str(saved), "hat.safetensors", None)
    assert saved.read_bytes() == content
    result = pairedit("edits", "pull", "me/hat", "--name", "cap", "--revision", said["commit"])
    assert result.exit_code == 0, result.output
    assert "pairedit edits show cap" in result.stdout
    assert json.loads(pairedit("edits", "show", "cap", "--json").stdout)["name"] == "cap"


def test_what_is_wrong_is_one_paragraph(
    pairedit: Pairedit, hub: Any, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = pairedit("edits", "push", "hta", "me/hat")
    assert result.exit_code == 2
    assert "Did you mean hat?" in result.stderr
    result = pairedit("edits", "pull", "me/none")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: There is no repository me/none that you may see. Check the name; if it is private "
        "or to be made, log in with `hf auth login`, or set HF_TOKEN.\n"
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = pairedit("edits", "pull", "me/none")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: me/none cannot be reached: offline mode is on. Unset HF_HUB_OFFLINE (and "
        "TRANSFORMERS_OFFLINE).\n"
    )
