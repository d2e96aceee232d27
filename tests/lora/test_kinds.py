"""Adapters that are no LoRAs become ones with the same update, as peft and LyCORIS mean it."""

import json
import math

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders.lora_conversion_utils import _bake_lokr_alpha_
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftModel
from safetensors.torch import load_file, save_file

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.reading import MOST, read_lora

NAME = "transformer_blocks.0.ff.net.0.proj"  # [256, 64]
KEY = f"diffusion_model.{NAME}"


def _random(*shape):
    return torch.randn(*shape) * 0.3


def _error(layer, wanted):
    return float((layer.up @ layer.down - wanted).norm() / wanted.norm())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("parts", "rank"),
    [
        ({"w1": (8, 4), "w2": (32, 16)}, None),
        ({"w1": (8, 4), "w2_a": (32, 3), "w2_b": (3, 16)}, 3),
        ({"w1_a": (8, 2), "w1_b": (2, 4), "w2": (32, 16)}, 2),
        ({"w1_a": (8, 2), "w1_b": (2, 4), "w2_a": (32, 2), "w2_b": (2, 16)}, 2),
    ],
)
@pytest.mark.parametrize("alpha", [None, 1.0, 1e10])
def test_a_lokr_is_converted_exactly(tmp_path, parts, rank, alpha):
    parts = {name: _random(*shape) for name, shape in parts.items()}
    tensors = {f"{KEY}.lokr_{name}": value for name, value in parts.items()}
    if alpha is not None:
        tensors[f"{KEY}.alpha"] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "one.safetensors")
    found = read_lora(tmp_path / "one.safetensors")
    assert (found.forms, found.converted, found.left_out) == (["ComfyUI"], ["LoKr"], [])
    # diffusers' own rule of when alpha acts.
    baked = {key: value.clone() for key, value in tensors.items()}
    _bake_lokr_alpha_(baked)
    one, two = (
        baked[f"{KEY}.lokr_w{n}"] if f"{KEY}.lokr_w{n}" in baked
        else baked[f"{KEY}.lokr_w{n}_a"] @ baked[f"{KEY}.lokr_w{n}_b"]
        for n in "12"
    )  # fmt: skip
    layer = found.layers[NAME]
    assert _error(layer, torch.kron(one, two)) <= 1e-6
    plain = torch.kron(*(
        parts[f"w{n}"] if f"w{n}" in parts else parts[f"w{n}_a"] @ parts[f"w{n}_b"] for n in "12"
    ))  # fmt: skip
    acts = 1.0 if rank is None or alpha is None else alpha / rank
    assert _error(layer, acts * plain) <= 1e-6
    shapes = [parts.get(f"w{n}", parts.get(f"w{n}_a")).shape for n in "12"]
    assert layer.rank == min(shapes[0]) * min(shapes[1])


@pytest.mark.parametrize("alpha", [None, 2.0])
@pytest.mark.parametrize("rank", [3, 9])
def test_a_loha_is_converted_exactly(tmp_path, rank, alpha):
    parts = {
        f"w{n}_{half}": _random(*shape)
        for n in "12"
        for half, shape in (("a", (256, rank)), ("b", (rank, 64)))
    }
    tensors = {f"{KEY}.hada_{name}": value for name, value in parts.items()}
    if alpha is not None:
        tensors[f"{KEY}.alpha"] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "one.safetensors")
    found = read_lora(tmp_path / "one.safetensors")
    assert found.converted == ["LoHa"]
    wanted = (parts["w1_a"] @ parts["w1_b"]) * (parts["w2_a"] @ parts["w2_b"])
    assert _error(found.layers[NAME], wanted * (1 if alpha is None else alpha / rank)) <= 1e-6
    assert found.layers[NAME].rank == min(rank**2, 64)


@pytest.mark.parametrize("config", [
    LoKrConfig(r=4, alpha=6, target_modules=["to_q", "proj_mlp"], init_weights=False),
    LoKrConfig(r=4, alpha=6, target_modules=["to_q"], decompose_both=True, init_weights=False),
    # Both factors are whole, and peft's alpha acts all the same.
    LoKrConfig(r=32, alpha=6, target_modules=["to_q"], init_weights=False),
    LoHaConfig(r=4, alpha=6, target_modules=["to_q"], init_weights=False),
])  # fmt: skip
def test_what_stock_peft_saves_has_its_update_there(tiny_folder, tmp_path, config):
    transformer = FluxTransformer2DModel.from_pretrained(tiny_folder, subfolder="transformer")
    wrapped = PeftModel(transformer, config)
    for parameter in wrapped.parameters():
        parameter.data *= 0.3
    wrapped.save_pretrained(tmp_path / "folder")
    found = read_lora(tmp_path / "folder")
    assert (found.forms, len(found.converted)) == (["peft"], 1)
    for name, layer in found.layers.items():
        module = wrapped.base_model.model.get_submodule(name)
        assert _error(layer, module.get_delta_weight("default").detach()) <= 1e-6
    targets = config.target_modules
    assert {name.split(".")[-1] for name in found.layers} == set(targets)


def test_a_whole_difference_is_converted_exactly_in_a_fused_layer_too(tmp_path):
    diff, narrow = _random(192, 64), _random(64, 320)
    tensors = {
        "lora_unet_double_blocks_0_img_attn_qkv.diff": diff,
        "lycoris_single_transformer_blocks_0_proj_out.diff": narrow,
    }
    save_file(tensors, tmp_path / "one.safetensors")
    found = read_lora(tmp_path / "one.safetensors")
    assert found.converted == ["whole difference"]
    parts = [found.layers[f"transformer_blocks.0.attn.to_{part}"] for part in "qkv"]
    assert torch.equal(torch.cat([part.up @ part.down for part in parts]), diff)
    assert _error(found.layers["single_transformer_blocks.0.proj_out"], narrow) <= 1e-6


def test_a_large_one_wants_a_rank_and_says_what_it_loses(tmp_path):
    width = MOST + 64
    one, two = _random(4, 4), _random(width // 4, width // 4)
    tensors = {f"{KEY}.lokr_w1": one, f"{KEY}.lokr_w2": two, f"{KEY}.alpha": torch.tensor(1.0)}
    save_file(tensors, tmp_path / "one.safetensors")
    with pytest.raises(EditError, match=rf"a LoKr, which as a LoRA has rank {width}.*--rank 64"):
        read_lora(tmp_path / "one.safetensors")
    for rank in (16, 64):
        found = read_lora(tmp_path / "one.safetensors", rank=rank)
        update = torch.kron(one, two)
        best = torch.linalg.svdvals(update.double())[rank:].norm() / update.norm()
        assert found.layers[NAME].rank == rank
        assert _error(found.layers[NAME], update) == pytest.approx(found.error, rel=1e-4)
        assert found.error == pytest.approx(float(best), rel=1e-4)
    assert read_lora(tmp_path / "one.safetensors", rank=width).error == 0


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"lokr_w1": (2, 2)}, "has only one part of a LoKr"),
        ({"lokr_w1": (2, 2), "lokr_w2_a": (4, 2), "lokr_w2_b": (3, 4)}, "do not fit together"),
        ({"lokr_w1": (2, 2), "lokr_w2": (2, 2, 3, 3)}, "do not fit together"),
        ({"lokr_w1": (2, 2), "lokr_w2": (2, 2), "lokr_t2": (2, 2)}, "LoKr of a convolution"),
        ({"lokr_w1": (200, 200), "lokr_w2": (200, 200)}, "do not fit together"),
        ({"hada_w1_a": (4, 2), "hada_w1_b": (2, 4), "hada_w2_a": (4, 2)}, "one part of a LoHa"),
        ({"diff": (4,)}, "do not fit together"),
        ({"diff": (0, 4)}, "has no values"),
        ({"diff": (4, 4), "lora_A.weight": (2, 4)}, "updates of two kinds"),
    ],
)
def test_damaged_ones_are_refused_by_name(tmp_path, parts, sentence):
    tensors = {f"{KEY}.{name}": torch.ones(shape) for name, shape in parts.items()}
    save_file(tensors, tmp_path / "one.safetensors")
    with pytest.raises(EditError, match=sentence):
        read_lora(tmp_path / "one.safetensors", partly=True)


def _dora(tiny_folder, folder):
    """A DoRA of stock peft, and what it adds to each weight there."""
    transformer = FluxTransformer2DModel.from_pretrained(tiny_folder, subfolder="transformer")
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q", "proj_mlp"], use_dora=True,
        init_lora_weights=False,
    )  # fmt: skip
    wrapped = PeftModel(transformer, config)
    for name, parameter in wrapped.named_parameters():
        if "lora_magnitude" in name:
            parameter.data *= 1 + _random(*parameter.shape)
    wrapped.save_pretrained(folder)
    names = [n for n, m in wrapped.base_model.model.named_modules() if hasattr(m, "lora_A")]
    before = {n: wrapped.base_model.model.get_submodule(n).base_layer.weight.clone() for n in names}
    merged = wrapped.merge_and_unload()
    after = {n: merged.get_submodule(n).weight for n in names}
    return before, {n: (after[n] - before[n]).detach() for n in names}


SPELLINGS = ["lora_magnitude_vector", "lora_magnitude_vector.weight", "magnitude", "dora_scale",
             "lora_magnitude_vector.default.weight"]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_dora_is_converted_exactly_with_the_models_weights(tiny_folder, tmp_path, spelling):
    weights, updates = _dora(tiny_folder, tmp_path / "folder")
    path = tmp_path / "folder" / "adapter_model.safetensors"
    tensors = {
        key.split(".lora_magnitude")[0] + f".{spelling}" if "magnitude" in key else key: value
        for key, value in load_file(path).items()
    }
    if spelling == "dora_scale":  # LyCORIS has it as a column
        tensors = {k: v[:, None] if k.endswith(spelling) else v for k, v in tensors.items()}
    save_file(tensors, path)
    for partly in (False, True):
        with pytest.raises(EditError, match=r"is a DoRA, .*--base MODEL --rank 64") as error:
            read_lora(tmp_path / "folder", partly=partly)
        assert "--partly" not in str(error.value)
        assert f"import {tmp_path / 'folder'} --base" in str(error.value)
    found = read_lora(tmp_path / "folder", weights=weights.__getitem__)
    assert found.converted == ["DoRA"]
    assert found.layers.keys() == updates.keys()
    for name, update in updates.items():
        assert _error(found.layers[name], update) <= 2e-6
        down, up = (tensors[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB")
        plain = 1.5 * up @ down
        assert (plain - update).norm() > 0.1 * update.norm()  # what reading it as a LoRA would do
    cut = read_lora(tmp_path / "folder", weights=weights.__getitem__, rank=16)
    lost = sum(float((c.up @ c.down - updates[n]).square().sum()) for n, c in cut.layers.items())
    total = sum(float(update.square().sum()) for update in updates.values())
    assert cut.error == pytest.approx(math.sqrt(lost / total), rel=1e-3)


def test_a_dora_of_a_fused_layer_and_one_by_columns(tmp_path):
    """LyCORIS can scale columns (``wd_on_out`` off), whose lengths go over q, k and v."""
    key = "lora_unet_double_blocks_0_img_attn_qkv"
    down, up, weight = _random(4, 64), _random(192, 4), _random(192, 64)
    names = [f"transformer_blocks.0.attn.to_{part}" for part in "qkv"]
    own = dict(zip(names, weight.split(64), strict=True))
    for shape, dim in (((192, 1), 1), ((1, 64), 0)):
        scale = 1 + torch.rand(shape)
        tensors = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        save_file(tensors | {f"{key}.dora_scale": scale}, tmp_path / "one.safetensors")
        found = read_lora(tmp_path / "one.safetensors", weights=own.__getitem__).layers
        changed = weight + up @ down
        wanted = scale * changed / changed.norm(dim=dim, keepdim=True) - weight
        got = torch.cat([found[name].up @ found[name].down for name in names])
        assert (got - wanted).norm() <= 2e-6 * wanted.norm()
    with pytest.raises(EditError, match=r"does not fit this model's weight"):
        read_lora(tmp_path / "one.safetensors", weights=lambda _: torch.ones(64, 32))


def test_a_dora_that_lacks_its_magnitudes_is_refused(tiny_folder, tmp_path):
    weights, _ = _dora(tiny_folder, tmp_path / "folder")
    path = tmp_path / "folder" / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "magnitude" not in k}, path)
    assert json.loads((tmp_path / "folder" / "adapter_config.json").read_text())["use_dora"]
    with pytest.raises(EditError, match="is of a DoRA, and lacks its magnitudes"):
        read_lora(tmp_path / "folder", weights=weights.__getitem__)
