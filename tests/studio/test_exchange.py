from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import pytest
import torch

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.export import FORMATS
from pairedit_sdk.studio import exchange
from pairedit_sdk.studio.exchange import export_file, import_file


@pytest.fixture
def shelf(hats: Path) -> EditLibrary:
    return EditLibrary(hats)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "peft"])
def test_an_edit_goes_out_and_comes_back(shelf: EditLibrary, form: str, tmp_path: Path) -> None:
    made = export_file(shelf, "hat", form, "fp32", tmp_path / "exports")
    assert made.path.name == f"hat-{form}-fp32.safetensors"
    said = import_file(shelf, made.path, "again")
    assert said.startswith("Added again: ")
    first, second = shelf.load("hat"), shelf.load("again")
    assert first.layers.keys() == second.layers.keys()
    for name, layer in first.layers.items():
        other = second.layers[name]
        assert torch.allclose(layer.up @ layer.down, other.up @ other.down, atol=1e-5)


def test_peft_is_a_zip_of_its_folder(shelf: EditLibrary, tmp_path: Path) -> None:
    made = export_file(shelf, "hat", "peft", "bf16", tmp_path / "exports")
    assert made.path.name == "hat-peft.zip"
    with zipfile.ZipFile(made.path) as archive:
        assert {"hat-peft/adapter_config.json", "hat-peft/adapter_model.safetensors"} <= set(
            archive.namelist()
        )
    assert [path.name for path in made.path.parent.iterdir()] == ["hat-peft.zip"]


def test_old_exports_are_deleted_and_new_ones_stay(shelf: EditLibrary, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    old, new = (export_file(shelf, "hat", "diffusers", "fp16", folder) for _ in range(2))
    past = time.time() - exchange.KEPT_SECONDS - 60
    os.utime(old.path.parent, (past, past))
    export_file(shelf, "hat", "diffusers", "fp16", folder)
    assert not old.path.exists()
    assert new.path.is_file()


@pytest.mark.parametrize("name", ["none", "../hats/hat", "", "hat.safetensors"])
def test_an_edit_is_asked_for_by_its_name_alone(
    shelf: EditLibrary, name: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="There is no edit"):
        export_file(shelf, name, "diffusers", "fp32", tmp_path)


def test_names_that_are_taken_or_none_are_refused(shelf: EditLibrary) -> None:
    file = shelf.file("hat")
    with pytest.raises(UsageError, match="There is an edit cap already"):
        import_file(shelf, file, "cap")
    with pytest.raises(UsageError, match="There is an edit hat already"):
        import_file(shelf, file, "")
    with pytest.raises(UsageError, match="cannot be the name"):
        import_file(shelf, file, "../hat")


def test_a_file_that_is_no_lora_leaves_nothing(shelf: EditLibrary, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"no lora")
    with pytest.raises(EditError):
        import_file(shelf, file, "x")
    assert "x" not in shelf


def test_a_rank_is_cut_and_the_loss_said(shelf: EditLibrary) -> None:
    assert "loses" in import_file(shelf, shelf.file("hat"), "small", rank=2)
    assert Edit.load(shelf.file("small")).info.rank == 2


def test_an_old_export_that_is_deleted_meanwhile_is_gone(
    shelf: EditLibrary, tmp_path: Path
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "gone").symlink_to(folder / "nowhere")  # listed, and not there when it is looked at
    assert export_file(shelf, "hat", "diffusers", "fp16", folder).path.is_file()
