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
    info = EditInfo("hat", base="mini", architecture="flux-1-mini", rank=2)
    Edit({NAME: layer}, info).save(library / "hat.safetensors")
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


@pytest.mark.parametrize("form", ["diffusers", "comfyui", "kohya", "peft"])
def test_out_and_in_again(pairedit: Pairedit, saved: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / ("folder" if form == "peft" else "out.safetensors")
    result = pairedit("edits", "export", "hat", "--format", form, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["format"] == form
    result = pairedit("edits", "import", out, "--name", "back", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["layers"], said["left_out"]) == (1, [])
    assert [name.lower() for name in said["format"]] == [form]
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


def test_another_kind_of_adapter_becomes_a_lora(
    pairedit: Pairedit, library: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    key = "diffusion_model.double_blocks.0.img_attn.proj"
    tensors = {f"{key}.lokr_w1": torch.randn(8, 8), f"{key}.lokr_w2": torch.randn(64, 64)}
    path = tmp_path / "kron.safetensors"
    save_file(tensors, path)
    result = pairedit("edits", "import", path)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "is a LoKr, which as a LoRA has rank 512" in said
    assert "--rank 64" in said
    result = pairedit("edits", "import", path, "--rank", "128")
    assert result.exit_code == 0, result.output
    update = torch.kron(*tensors.values())
    layer = Edit.load(library / "kron.safetensors").layers["transformer_blocks.0.attn.to_out.0"]
    error = float((update - layer.up @ layer.down).norm() / update.norm())
    assert "Made a LoRA of LoKr." in result.stdout
    assert f"The rank of 128 loses {error:.2%} of the update." in result.stdout


def test_a_folder_of_peft_is_an_edit(pairedit: Pairedit, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a=b"
    assert pairedit("edits", "export", "hat", "--format", "peft", "-o", folder).exit_code == 0
    shown = json.loads(pairedit("edits", "show", folder, "--json").stdout)
    assert (shown["name"], shown["path"], shown["rank"]) == ("hat", str(folder), 2)
    result = pairedit(
        "compose", "--edit", f"{folder}=0.5", "--edit", "hat=0.25", "--name", "both", "--json"
    )
    assert result.exit_code == 0, result.output
    one, two = (Edit.load(saved / f"{name}.safetensors").layers[NAME] for name in ("hat", "both"))
    assert torch.allclose(0.75 * one.up @ one.down, two.up @ two.down, atol=1e-5)
    result = pairedit("edits", "push", folder, "someone/hat")
    assert result.exit_code == 2
    assert "is a folder, and others get one file" in " ".join(result.stderr.split())


def test_an_untrained_file_says_so(
    pairedit: Pairedit, library: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = {
        f"transformer.{NAME}.lora_A.weight": torch.ones(2, 64),
        f"transformer.{NAME}.lora_B.weight": torch.zeros(64, 2),
    }
    save_file(tensors, tmp_path / "zero.safetensors")
    result = pairedit("edits", "import", tmp_path / "zero.safetensors", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["idle"] is True
    assert "zero does nothing: every layer of its LoRA is zero" in caplog.text
