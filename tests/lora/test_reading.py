"""Files of other tools, in their layouts, give the update that stock tools give them."""

import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import save_file

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.reading import read_lora

DOUBLE, SINGLE = "transformer_blocks.0.", "single_transformer_blocks.0."
SHAPES = {
    f"{DOUBLE}attn.to_q": (64, 64), f"{DOUBLE}attn.to_out.0": (64, 64),
    f"{DOUBLE}attn.add_k_proj": (64, 64), f"{DOUBLE}ff.net.0.proj": (256, 64),
    f"{SINGLE}proj_out": (64, 320), f"{SINGLE}attn.to_v": (64, 64), "x_embedder": (64, 64),
}  # fmt: skip


def _file(path, modules, ends=("lora_A.weight", "lora_B.weight"), alpha=None, rank=4):
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, (out, into) in modules.items():
        tensors[f"{name}.{ends[0]}"] = torch.randn(rank, into, generator=generator)
        tensors[f"{name}.{ends[1]}"] = torch.randn(out, rank, generator=generator)
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)
    return tensors


def _stock_error(tensors, layers):
    """The largest relative difference from what stock diffusers makes of the same keys."""
    state, alphas = FluxPipeline.lora_state_dict(dict(tensors), return_alphas=True)
    names = {key.split(".lora_")[0] for key in state}
    assert {name.removeprefix("transformer.") for name in names} == set(layers)
    errors = []
    for name in names:
        down, up = (state[f"{name}.lora_{half}.weight"] for half in "AB")
        factor = float((alphas or {}).get(f"{name}.alpha", down.shape[0])) / down.shape[0]
        layer = layers[name.removeprefix("transformer.")]
        wanted = factor * up @ down
        errors.append(float((layer.up @ layer.down - wanted).norm() / wanted.norm()))
    return max(errors)


DOWN_UP = ("lora_down.weight", "lora_up.weight")


@pytest.mark.parametrize("alpha", [None, 1.0])
@pytest.mark.parametrize(
    ("prefix", "form", "ends"),
    [
        ("lora_transformer_", "OneTrainer", DOWN_UP),
        ("lycoris_", "LyCORIS", DOWN_UP),
        ("diffusion_model.", "ComfyUI", ("lora_A.weight", "lora_B.weight")),
    ],
)
def test_diffusers_names_after_other_prefixes(tmp_path, prefix, form, ends, alpha):
    modules = {
        prefix + (name.replace(".", "_") if prefix.endswith("_") else name): shape
        for name, shape in SHAPES.items()
    }
    path = tmp_path / "one.safetensors"
    tensors = _file(path, modules, ends, alpha)
    found = read_lora(path)
    assert (found.forms, found.left_out) == ([form], [])
    assert set(found.layers) == set(SHAPES)
    for module, name in zip(modules, SHAPES, strict=True):
        wanted = tensors[f"{module}.{ends[1]}"] @ tensors[f"{module}.{ends[0]}"]
        wanted = wanted if alpha is None else wanted * alpha / 4
        got = found.layers[name].up @ found.layers[name].down
        assert (got - wanted).norm() <= 1e-6 * wanted.norm()
    if form == "OneTrainer" and alpha is not None:
        # Of this form diffusers reads the attention alone, and only with alphas.
        stock = {key: value for key, value in tensors.items() if "attn" in key}
        own = {name: layer for name, layer in found.layers.items() if "attn" in name}
        assert _stock_error(stock, own) <= 1e-6


def test_xlabs_layers_are_those_that_diffusers_reads(tmp_path):
    modules = {
        "double_blocks.0.processor.proj_lora1": (64, 64),
        "double_blocks.0.processor.proj_lora2": (64, 64),
        "double_blocks.0.processor.qkv_lora1": (192, 64),
        "double_blocks.0.processor.qkv_lora2": (192, 64),
        "single_blocks.1.processor.proj_lora": (64, 320),
        "single_blocks.1.processor.qkv_lora": (192, 64),
    }
    path = tmp_path / "one.safetensors"
    tensors = _file(path, modules, ("down.weight", "up.weight"))
    found = read_lora(path)
    assert (found.forms, found.left_out) == (["XLabs"], [])
    assert len(found.layers) == 12
    assert _stock_error(tensors, found.layers) <= 1e-6
    text = found.layers["transformer_blocks.0.attn.add_v_proj"]
    module = "double_blocks.0.processor.qkv_lora2"
    wanted = tensors[f"{module}.up.weight"][128:] @ tensors[f"{module}.down.weight"]
    assert torch.allclose(text.up @ text.down, wanted)


@pytest.mark.parametrize("prefix", ["transformer.", "diffusion_model.", "base_model.model."])
def test_a_fused_projection_of_diffusers_is_taken_apart(tmp_path, prefix):
    modules = {f"{prefix}{DOUBLE}attn.{own}": (192, 64) for own in ("to_qkv", "to_added_qkv")}
    modules[f"{prefix}{SINGLE}attn.to_qkv"] = (192, 64)
    tensors = _file(tmp_path / "one.safetensors", modules)
    found = read_lora(tmp_path / "one.safetensors", 4.0).layers
    assert len(found) == 9
    whole = (f"{DOUBLE}attn.to_added_qkv", [f"{DOUBLE}attn.add_{k}_proj" for k in "qkv"])
    for module, parts in (whole, (f"{SINGLE}attn.to_qkv", [f"{SINGLE}attn.to_{k}" for k in "qkv"])):
        up, down = (tensors[f"{prefix}{module}.lora_{half}.weight"] for half in "BA")
        got = torch.cat([found[name].up @ found[name].down for name in parts])
        assert (got - up @ down).norm() <= 1e-6 * (up @ down).norm()


def test_fals_files_are_of_the_first_releases_layers(tmp_path):
    modules = {
        "base_model.model.double_blocks.0.img_attn.qkv": (192, 64),
        "base_model.model.single_blocks.0.linear2": (64, 320),
    }
    tensors = _file(tmp_path / "one.safetensors", modules)
    found = read_lora(tmp_path / "one.safetensors")
    assert found.forms == ["fal"]
    single = found.layers[f"{SINGLE}proj_out"]
    up, down = (tensors[f"base_model.model.single_blocks.0.linear2.lora_{h}.weight"] for h in "BA")
    assert torch.equal(single.up @ single.down, up @ down)
    assert len(found.layers) == 4


def test_one_layer_in_two_forms_is_summed(tmp_path):
    name = f"{DOUBLE}attn.to_q"
    modules = {f"transformer.{name}": (64, 64), f"diffusion_model.{name}": (64, 64)}
    tensors = _file(tmp_path / "one.safetensors", modules)
    fused = "diffusion_model.double_blocks.0.img_attn.qkv"
    tensors |= _file(tmp_path / "two.safetensors", {fused: (192, 64)}, rank=2)
    save_file(tensors, tmp_path / "one.safetensors")
    found = read_lora(tmp_path / "one.safetensors")
    assert set(found.forms) == {"diffusers", "ComfyUI"}
    wanted = torch.zeros(64, 64)
    for module in (*modules, fused):
        wanted += tensors[f"{module}.lora_B.weight"][:64] @ tensors[f"{module}.lora_A.weight"]
    layer = found.layers[name]
    assert layer.rank == 10
    assert (layer.up @ layer.down - wanted).norm() <= 1e-6 * wanted.norm()
    tensors[f"diffusion_model.{name}.lora_A.weight"] = torch.ones(4, 32)
    save_file(tensors, tmp_path / "one.safetensors")
    with pytest.raises(EditError, match="is there twice, in two shapes"):
        read_lora(tmp_path / "one.safetensors")


def test_names_of_other_families_are_read_with_their_own_prefixes(tmp_path):
    for prefix in ("diffusion_model.", "transformer."):
        modules = {f"{prefix}layers.3.attention.to_q": (64, 64)}
        _file(tmp_path / "one.safetensors", modules)
        assert list(read_lora(tmp_path / "one.safetensors").layers) == ["layers.3.attention.to_q"]
    for name in ("double_blocks.0.nothing", "single_blocks.0.x", "odd"):
        _file(tmp_path / "one.safetensors", {f"diffusion_model.{name}": (64, 64)})
        with pytest.raises(EditError, match="is no LoRA of a model that is known here"):
            read_lora(tmp_path / "one.safetensors")


def test_a_rank_cuts_every_layer_and_says_what_is_lost(tmp_path):
    tensors = _file(
        tmp_path / "one.safetensors", {f"transformer.{n}": s for n, s in SHAPES.items()}
    )
    found = read_lora(tmp_path / "one.safetensors", rank=2)
    lost = total = 0.0
    for name, layer in found.layers.items():
        up, down = (tensors[f"transformer.{name}.lora_{half}.weight"] for half in "BA")
        assert layer.rank == 2
        lost += float((up @ down - layer.up @ layer.down).square().sum())
        total += float((up @ down).square().sum())
    assert found.error == pytest.approx((lost / total) ** 0.5, rel=1e-4)
    assert read_lora(tmp_path / "one.safetensors", rank=4).error == 0


@pytest.mark.parametrize("fused", [False, True])
def test_an_untrained_file_is_read_and_does_nothing(tmp_path, caplog, fused):
    name = "lora_unet_double_blocks_0_img_attn_qkv" if fused else f"transformer.{DOUBLE}attn.to_q"
    halves = {
        "lora_down.weight": torch.ones(2, 64),
        "lora_up.weight": torch.zeros(64 + 128 * fused, 2),
    }
    save_file(
        {f"{name}.{end}": value for end, value in halves.items()}, tmp_path / "one.safetensors"
    )
    edit = Edit.load(tmp_path / "one.safetensors")
    assert edit.is_idle
    edit.warn_if_idle()
    assert "does nothing: every layer of its LoRA is zero" in caplog.text


def test_a_folder_of_diffusers_is_read(tmp_path):
    tensors = {
        f"{DOUBLE}attn.to_q.lora_A.weight": torch.randn(2, 64),
        f"{DOUBLE}attn.to_q.lora_B.weight": torch.randn(64, 2),
    }
    FluxPipeline.save_lora_weights(tmp_path / "folder", transformer_lora_layers=tensors)
    edit = Edit.load(tmp_path / "folder")
    assert (edit.name, list(edit.layers)) == ("folder", [f"{DOUBLE}attn.to_q"])
    assert Edit.read_info(tmp_path / "folder").rank == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(EditError, match=r"There is no edit file .*adapter_model\.safetensors"):
        Edit.load(tmp_path / "empty")
