"""What is written is what stock peft and diffusers load, and what is read back, to 1e-6."""

import json

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft import PeftModel
from safetensors.torch import load_file, save_file

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.lora.export import export
from pairedit_sdk.lora.formats import METADATA
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.reading import read_lora

OUTER, INNER = "proj_out", "single_transformer_blocks.0.proj_out"


def _layers(base, ranks):
    generator = torch.Generator().manual_seed(0)
    modules = {name: base.transformer.get_submodule(name) for name in ranks}
    return {
        name: LoraLayer(
            torch.randn(ranks[name], module.in_features, generator=generator) * 0.3,
            torch.randn(module.out_features, ranks[name], generator=generator) * 0.3,
        )
        for name, module in modules.items()
    }


def _updates(transformer, names):
    """What stock peft adds to each weight."""
    with torch.no_grad():
        return {name: transformer.get_submodule(name).get_delta_weight("one") for name in names}


def _error(wanted, layers):
    return max(
        float((update - layers[name].up @ layers[name].down).norm() / update.norm())
        for name, update in wanted.items()
    )


@pytest.mark.parametrize("form", ["diffusers", "peft"])
@pytest.mark.parametrize("ranks", [{OUTER: 4, INNER: 8}, {OUTER: 8, INNER: 4}, {OUTER: 4}])
def test_the_outer_proj_out_keeps_a_rank_of_its_own(tiny_model, tiny_folder, tmp_path, form, ranks):
    """Its name is the end of every single block's: the pattern says that it begins there."""
    ranks = {"transformer_blocks.0.attn.to_q": 8, **ranks}
    layers = _layers(tiny_model, ranks)
    path = tmp_path / ("folder" if form == "peft" else "one.safetensors")
    export(layers, form, path, Edit(layers, EditInfo("one")).header())
    stock = {name: layer.up @ layer.down for name, layer in layers.items()}
    assert _error(stock, read_lora(path).layers) <= 1e-6
    if form == "peft":
        transformer = FluxTransformer2DModel.from_pretrained(tiny_folder, subfolder="transformer")
        model = PeftModel.from_pretrained(transformer, path, adapter_name="one").base_model.model
    else:
        pipe = FluxPipeline.from_pretrained(tiny_folder, dtype=torch.float32)
        pipe.load_lora_weights(path, adapter_name="one")
        model = pipe.transformer
    assert _error(_updates(model, ranks), layers) <= 1e-6
    others = {n for n, m in model.named_modules() if hasattr(m, "lora_A")} - set(ranks)
    assert others == set()


def test_a_file_of_an_earlier_version_is_read_at_full_strength(tiny_model, tmp_path):
    """It named ``proj_out`` without the ``^``."""
    layers = _layers(tiny_model, {OUTER: 4, INNER: 8})
    path = Edit(layers, EditInfo("one")).save(tmp_path / "new.safetensors")
    tensors, header = read_tensors(path)
    assert '"^proj_out": 4' in header[METADATA]
    said = json.loads(header[METADATA].replace("^", ""))
    header[METADATA] = json.dumps(said | {"transformer.target_modules": [OUTER, INNER]})
    save_file(tensors, tmp_path / "old.safetensors", metadata=header)
    found = read_lora(tmp_path / "old.safetensors").layers
    for name, layer in layers.items():
        assert torch.equal(found[name].up, layer.up)
    # Of another tool's file the pattern is peft's, which takes it for both.
    del header["pairedit"]
    save_file(tensors, tmp_path / "other.safetensors", metadata=header)
    found = read_lora(tmp_path / "other.safetensors").layers
    assert torch.equal(found[INNER].up, layers[INNER].up / 2)


@pytest.mark.parametrize("rank", [100, 261, 1025])
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_alpha_is_exact_in_16_bits_too(tmp_path, rank, dtype):
    layers = {INNER: LoraLayer(torch.randn(rank, 8), torch.randn(8, rank))}
    path = export(layers, "kohya", tmp_path / "one.safetensors", {}, dtype)
    tensors = load_file(path)
    alpha = tensors["lora_unet_single_blocks_0_linear2.alpha"]
    assert (alpha.dtype, float(alpha)) == (torch.float32, rank)
    state = FluxPipeline.lora_state_dict(dict(tensors))
    stock = (
        state[f"transformer.{INNER}.lora_B.weight"] @ (state[f"transformer.{INNER}.lora_A.weight"])
    )
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    assert torch.equal(stock, layers[INNER].up.to(kind) @ layers[INNER].down.to(kind))


def test_layers_that_diffusers_drops_of_kohyas_form_are_named(tiny_model, tmp_path, caplog):
    layers = _layers(tiny_model, {OUTER: 4, INNER: 4, "x_embedder": 4})
    export(layers, "diffusers", tmp_path / "one.safetensors", {})
    assert caplog.text == ""
    path = export(layers, "kohya", tmp_path / "two.safetensors", {})
    assert "leaves out layers outside the blocks, here proj_out, x_embedder" in caplog.text
    state = FluxPipeline.lora_state_dict(load_file(path))
    assert f"transformer.{INNER}.lora_A.weight" in state
    assert not [key for key in state if key.startswith((f"transformer.{OUTER}", "transformer.x_"))]
    assert set(read_lora(path).layers) == set(layers)


def test_the_description_names_every_layer(tiny_model, tmp_path):
    layers = _layers(tiny_model, {OUTER: 4, INNER: 8})
    export(layers, "peft", tmp_path / "folder", {})
    said = json.loads((tmp_path / "folder" / "adapter_config.json").read_text())
    assert said["target_modules"] == r"proj_out|single_transformer_blocks\.0\.proj_out"
    assert said["rank_pattern"] == said["alpha_pattern"] == {"^proj_out": 4}
