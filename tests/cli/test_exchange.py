"""``edits export`` and ``edits import``: to other tools and back."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.lora.layers import LoraLayer

Pairedit = Callable[..., Result]
NAME = "transformer_blocks.0.attn.to_q"


@pytest.fixture
def saved(library: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    layer = LoraLayer(torch.randn(2, 64, generator=generator), torch.randn(64, 2))
    Edit({NAME: layer}, EditInfo("hat", base="mini", rank=2)).save(library / "hat.safetensors")
    return library


def test_the_model_that_is_named_prevails_over_a_folders_name_in_the_file(
    pairedit: Pairedit, tiny_folder: Path, library: Path, tmp_path: Path
) -> None:
    layer = LoraLayer(torch.ones(2, 64), torch.ones(64, 2))
    info = EditInfo("hat", base=str(tiny_folder), rank=2)
    edit = Edit({"transformer_blocks.0.attn.to_q": layer}, info)
    edit.save(library / "hat.safetensors")
    out = tmp_path / "out.safetensors"
    assert pairedit("edits", "export", "hat", "-o", out).exit_code == 0
    assert Edit.read_info(out).base == tiny_folder.name
    result = pairedit("edits", "import", out, "--name", "back", "--base", tiny_folder)
    assert result.exit_code == 0, result.output
    assert Edit.read_info(library / "back.safetensors").base == str(tiny_folder)


@pytest.mark.parametrize("form", ["diffusers", "kohya", "peft"])
def test_out_and_in_again(pairedit: Pairedit, saved: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / ("folder" if form == "peft" else "out.safetensors")
    result = pairedit("edits", "export", "hat", "--format", form, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["format"] == form
    result = pairedit("edits", "import", out, "--name", "back", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["layers"], said["format"], said["left_out"]) == (1, [form], [])
    one, two = (Edit.load(saved / f"{name}.safetensors") for name in ("hat", "back"))
    assert torch.allclose(
        one.layers[NAME].up @ one.layers[NAME].down, two.layers[NAME].up @ two.layers[NAME].down
    )
    assert (two.name, two.info.base) == ("back", "mini")


def test_an_instruction_stays_behind_and_it_is_said(
    pairedit: Pairedit, saved: Path, tmp_path: Path
) -> None:
    said = {}
    for name, scale in (("acts", 0.5), ("describes", 0.0)):
        words = [EditWords("add a hat", scale, lora=0.25)]
        Edit.load(saved / "hat.safetensors").with_info(name=name, words=words).save(
            saved / f"{name}.safetensors"
        )
        result = pairedit("edits", "export", name, "-o", tmp_path / f"{name}.safetensors")
        assert result.exit_code == 0, result.output
        said[name] = " ".join(result.stdout.split())
    assert "without the instruction that pairedit adds" in said["acts"]
    assert "0.25 of what it does to a picture" in said["acts"]
    assert "pairedit adds" not in said["describes"]


def test_the_file_is_half_as_large_in_16_bits(
    pairedit: Pairedit, saved: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    assert pairedit("edits", "export", "hat", "-o", out, "--dtype", "bf16").exit_code == 0
    assert all(tensor.dtype is torch.bfloat16 for tensor in load_file(out).values())
    before = out.read_bytes()
    result = pairedit("edits", "export", "hat", "-o", out)
    assert result.exit_code == 2
    assert f"{out} is there already" in " ".join(result.stderr.split())
    assert out.read_bytes() == before
    assert pairedit("edits", "export", "hat", "-o", out, "--force").exit_code == 0
    (saved / "hat.png").write_text("of the former edit")
    assert pairedit("edits", "import", out, "--name", "hat", "--force").exit_code == 0
    assert not (saved / "hat.png").exists()


def test_what_is_left_out_and_what_does_not_fit_is_named(
    pairedit: Pairedit, library: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    key = "lora_unet_transformer_blocks_{}_attn_to_q"
    tensors = {}
    for block in (0, 7):
        tensors[f"{key.format(block)}.lora_down.weight"] = torch.ones(2, 64)
        tensors[f"{key.format(block)}.lora_up.weight"] = torch.ones(64, 2)
    tensors["lora_te1_x.lora_down.weight"] = torch.ones(2)
    path = tmp_path / "far.safetensors"
    save_file(tensors, path)

    result = pairedit("edits", "import", path)
    assert result.exit_code == 2
    assert "far.safetensors does not say its alpha" in " ".join(result.stderr.split())
    result = pairedit("edits", "import", path, "--alpha", "1", "--base", tiny_folder)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert f"{tiny_folder} has no match for 1 of 2 layers of far.safetensors: " in said
    assert "transformer_blocks.7.attn.to_q" in said
    assert list(library.iterdir()) == []

    result = pairedit("edits", "import", path, "--alpha", "1")
    assert result.exit_code == 0
    assert "2 layers, rank 2, from PairEdit" in result.stdout
    assert "Left out 1 tensor: lora_te1_x.lora_down.weight." in " ".join(result.stdout.split())
    assert pairedit("edits", "import", path, "--alpha", "1").exit_code == 2  # it is there now


def test_pick_a_checkpoint(
    pairedit: Pairedit, library: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    from pairedit_sdk.builtin.faces.face import sample_face

    face = sample_face(random.Random(1), style="photo", hat="none")
    for side, drawn in (("source", face), ("target", face.with_(hat="cap"))):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        drawn.draw(64).save(tmp_path / "pairs" / side / "1.png")
    settings = ("steps=4", "checkpoint_every=2", "rank=2", "edit_steps=4", "resolution=64")
    result = pairedit(
        "train", tmp_path / "pairs", "--name", "cap", "--base", tiny_folder, "--skip-check",
        *(word for setting in settings for word in ("--set", setting)), "--licence", "CC0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (library / "cap.png").is_file()
    assert Edit.read_info(library / "cap.safetensors").created.startswith("20")
    before = (library / "cap.png").read_bytes()
    result = pairedit("edits", "pick", "cap", "-o", "strip.png", "--step", "2", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert [row["step"] for row in said["checkpoints"]] == [2, 4]
    assert (tmp_path / "strip.png").is_file()
    assert (library / "cap.png").read_bytes() != before  # it shows the edit that is now there
    info = Edit.read_info(library / "cap.safetensors")
    assert (info.steps, info.licence) == (2, "CC0")
    result = pairedit("edits", "pick", "cap", "--step", "3")
    assert result.exit_code == 2
    assert "There is no checkpoint of step 3" in result.stderr
    assert pairedit("edits", "pick", "none").exit_code == 2
    assert json.loads(pairedit("edits", "show", "cap", "--json").stdout)["preview"] == str(
        library / "cap.png"
    )
    assert pairedit("edits", "remove", "cap").exit_code == 0
    assert not (library / "cap.png").exists()
