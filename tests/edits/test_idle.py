"""An edit whose LoRA is zero says that it does nothing, wherever it is met."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.lora.layers import LoraLayer

SAID = "Edit still does nothing: every layer of its LoRA is zero"


def _edit(*factors: tuple[float, float]) -> Edit:
    layers = {
        f"layer{k}": LoraLayer(torch.full((1, 64), down), torch.full((64, 1), up))
        for k, (down, up) in enumerate(factors)
    }
    return Edit(layers, EditInfo("still", rank=1))


@pytest.mark.parametrize(
    ("factors", "idle"),
    [
        ([(1.0, 0.0)], True),
        ([(0.0, 1.0), (1.0, 0.0)], True),
        ([(1.0, 0.0), (1.0, 1e-9)], False),
        ([(1.0, -1.0)], False),
    ],
)
def test_every_layer_has_to_be_zero(factors: list[tuple[float, float]], idle: bool) -> None:
    assert _edit(*factors).is_idle is idle


def test_it_is_said_once_when_it_is_applied(tiny_model, caplog) -> None:
    edit = Edit(
        {"x_embedder": LoraLayer(torch.ones(1, 64), torch.zeros(64, 1))}, _edit((1, 0)).info
    )
    x = torch.zeros(1, 16, 8, 8)
    for _ in range(2):
        edit_latents(tiny_model, x, edit, steps=2)
    (record,) = caplog.records
    assert record.name == "pairedit_sdk"
    assert record.levelno == logging.WARNING
    assert record.message.startswith(SAID)


def test_it_is_said_when_it_is_saved_and_other_edits_say_nothing(tmp_path: Path, caplog) -> None:
    library = EditLibrary(tmp_path)
    library.save(_edit((1, 1)))
    assert not caplog.records
    library.save(_edit((1, 0)), replace=True)
    assert [record.message[: len(SAID)] for record in caplog.records] == [SAID]


def test_it_is_said_when_it_is_placed(tmp_path: Path, face_pairs, caplog) -> None:
    from pairedit_sdk.basis.edit_basis import EditBasis

    EditBasis.open(tmp_path, "mini").place(_edit((1, 0)), face_pairs({"hat": "cap"}, 1))
    assert [record.message[: len(SAID)] for record in caplog.records] == [SAID]
