"""What peft's description of a file says is followed, or refused by name."""

import json

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft import LoraConfig, PeftModel
from safetensors.torch import save_file

from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.lora.formats import METADATA
from pairedit_sdk.lora.reading import read_lora

TARGETS = ["attn.to_q", "ff.net.2"]
NAME = "transformer_blocks.0.attn.to_q"


def _saved(tiny_folder, folder, start):
    """An untrained LoRA of stock peft, and whether it changed the model's own weight."""
    transformer = FluxTransformer2DModel.from_pretrained(tiny_folder, subfolder="transformer")
    before = transformer.get_submodule(NAME).weight.detach().clone()
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS, init_lora_weights=start)
    wrapped = PeftModel(transformer, config)
    wrapped.save_pretrained(folder)
    return before, wrapped.base_model.model.get_submodule(NAME).base_layer.weight.detach()


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora"])
def test_a_start_that_changes_the_model_is_refused(tiny_folder, tmp_path, start):
    before, after = _saved(tiny_folder, tmp_path / "folder", start)
    assert (after - before).norm() > 0.3 * before.norm()  # so much would an untrained one change
    with pytest.raises(EditError, match=rf"start by {start}, which changes the model's own"):
        read_lora(tmp_path / "folder")
    tensors, _ = read_tensors(tmp_path / "folder" / "adapter_model.safetensors")
    state = {k.replace("base_model.model.", "transformer."): v for k, v in tensors.items()}
    said = json.dumps({"transformer.init_lora_weights": start, "transformer.r": 4})
    save_file(state, tmp_path / "one.safetensors", metadata={METADATA: said})
    with pytest.raises(EditError, match=f"start by {start}"):
        read_lora(tmp_path / "one.safetensors", partly=True)


@pytest.mark.parametrize("start", ["corda", "loftq", "lora_ga"])
def test_so_are_those_that_need_more_than_a_model_to_begin(tiny_folder, tmp_path, start):
    _saved(tiny_folder, tmp_path / "folder", True)
    config = tmp_path / "folder" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"init_lora_weights": start}))
    with pytest.raises(EditError, match=f"start by {start}"):
        read_lora(tmp_path / "folder")


@pytest.mark.parametrize("start", [True, False, "gaussian", "orthogonal", "mica"])
def test_a_start_that_leaves_the_model_alone_is_read(tiny_folder, tmp_path, start):
    before, after = _saved(tiny_folder, tmp_path / "folder", start)
    assert torch.equal(before, after)
    assert NAME in read_lora(tmp_path / "folder").layers


@pytest.mark.parametrize("setting", ["use_qalora", "use_bdlora", "arrow_config", "kasa_config"])
def test_variants_that_are_no_sum_are_refused(tiny_folder, tmp_path, setting):
    _saved(tiny_folder, tmp_path / "folder", True)
    config = tmp_path / "folder" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {setting: {"a": 1}}))
    with pytest.raises(EditError, match=rf"\({setting}\), which is no sum of weights"):
        read_lora(tmp_path / "folder")


@pytest.mark.parametrize("infix", ["default_0", "my-lora", "default"])
def test_the_adapters_name_in_a_key_is_left_out(tmp_path, infix):
    tensors = {
        f"transformer.{NAME}.lora_A.{infix}.weight": torch.randn(2, 64),
        f"transformer.{NAME}.lora_B.{infix}.weight": torch.randn(64, 2),
    }
    save_file(tensors, tmp_path / "one.safetensors")
    found = read_lora(tmp_path / "one.safetensors")
    assert found.forms == ["diffusers"]
    assert list(found.layers) == [NAME]
    plain = {key.replace(f".{infix}", ""): value for key, value in tensors.items()}
    state = FluxPipeline.lora_state_dict(plain)
    assert torch.equal(found.layers[NAME].up, state[f"transformer.{NAME}.lora_B.weight"])
    more = {key.replace(infix, "second"): value.clone() for key, value in tensors.items()}
    save_file(tensors | more, tmp_path / "two.safetensors")
    with pytest.raises(EditError, match=rf"holds several LoRAs. Expected one. Got {infix}, second"):
        read_lora(tmp_path / "two.safetensors")
