"""Every form holds the same update, and what stock tools write is read as they mean it."""

import json
import re

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from pairedit_sdk.editing.generate import generate
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.export import export, to_kohya
from pairedit_sdk.lora.flux_names import FLUX
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.reading import read_lora

ROUNDING = {"fp32": 1e-6, "bf16": 2**-7, "fp16": 2**-9}


def _layers(base, targets="blocks", rank=4, seed=0, size=0.3, only=""):
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for number, name in enumerate(base.lora_targets(targets)):
        if not re.match(only, name):
            continue
        module = base.transformer.get_submodule(name)
        own = rank + number % 3  # ranks differ within a fused layer too
        layers[name] = LoraLayer(
            torch.randn(own, module.in_features, generator=generator) * size,
            torch.randn(module.out_features, own, generator=generator) * size,
        )
    return layers


def _close(layers, others, tolerance):
    assert set(layers) == set(others)
    for name, layer in layers.items():
        wanted = layer.up.double() @ layer.down.double()
        got = others[name].up.double() @ others[name].down.double()
        assert (got - wanted).norm() <= tolerance * wanted.norm()


@pytest.mark.parametrize("targets", ["attention", "all", "blocks"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("form", ["diffusers", "kohya", "peft"])
def test_the_way_there_and_back_keeps_every_update(tiny_model, tmp_path, form, dtype, targets):
    layers = _layers(tiny_model, targets)
    path = tmp_path / ("folder" if form == "peft" else "one.safetensors")
    header = Edit(layers, EditInfo("one", guidance=2.0)).header()
    export(layers, form, path, header, dtype)
    found = read_lora(path)
    assert found.forms == [form]
    assert found.left_out == []
    _close(layers, found.layers, ROUNDING[dtype])
    assert Edit.load(path).info == EditInfo("one", guidance=2.0)


def test_the_names_of_all_layers_lead_back_to_them(tiny_model):
    modules = [n for n, m in tiny_model.transformer.named_modules() if type(m) is torch.nn.Linear]
    for name in modules:
        found = FLUX.other_of(name)
        assert found is not None
        assert name in found[1]
        assert FLUX.of_other(found[0]).layers == found[1]
        assert FLUX.of_flat(name.replace(".", "_")).layers == (name,)


@pytest.mark.parametrize("form", ["diffusers", "kohya", "peft"])
def test_stock_tools_make_the_same_picture_of_every_form(tiny_model, tiny_folder, tmp_path, form):
    """diffusers' own reader of kohya's form knows single blocks at FLUX.1's width alone."""
    only = r"transformer_blocks\." if form == "kohya" else ""
    layers = _layers(tiny_model, "attention", size=0.2, only=only)
    path = tmp_path / ("folder" if form == "peft" else "one.safetensors")
    export(layers, form, path, {"modelspec.architecture": "flux-1-mini/lora"})
    pipe = FluxPipeline.from_pretrained(tiny_folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    if form == "peft":
        pipe.transformer = PeftModel.from_pretrained(pipe.transformer, path)
    else:
        pipe.load_lora_weights(path, adapter_name="one")
        pipe.set_adapters("one")
    stock = pipe(
        "an old person", height=128, width=128, num_inference_steps=4, guidance_scale=3.5,
        max_sequence_length=32, generator=torch.Generator("cpu").manual_seed(1),
    ).images[0]  # fmt: skip
    edit = Edit.load(path)
    ours = generate(tiny_model, "an old person", edit, seed=1, steps=4, start_step=0)
    plain = generate(tiny_model, "an old person", seed=1, steps=4)
    assert np.abs(np.asarray(stock, np.int16) - np.asarray(ours, np.int16)).max() <= 2
    assert np.abs(np.asarray(plain, np.int16) - np.asarray(ours, np.int16)).max() > 5


def test_diffusers_takes_kohyas_form_apart_at_the_width_of_flux(tmp_path):
    """All of FLUX.1's layers that its reader knows, by its own converter."""
    dim, names = 3072, {}
    single, double = "single_transformer_blocks.7.", "transformer_blocks.3."
    for own in ("attn.to_q", "attn.to_k", "attn.to_v"):
        names |= {double + own: (dim, dim), single + own: (dim, dim)}
    for own in ("attn.add_q_proj", "attn.add_v_proj", "attn.to_out.0", "attn.to_add_out"):
        names[double + own] = (dim, dim)
    names |= {
        double + "ff.net.0.proj": (4 * dim, dim), double + "ff_context.net.2": (dim, 4 * dim),
        double + "norm1.linear": (6 * dim, dim), single + "norm.linear": (3 * dim, dim),
        single + "proj_out": (dim, 5 * dim),
    }  # fmt: skip
    layers = {n: LoraLayer(torch.randn(2, i), torch.randn(o, 2)) for n, (o, i) in names.items()}
    state = FluxPipeline.lora_state_dict(to_kohya(layers))
    for name, layer in layers.items():
        down, up = (state[f"transformer.{name}.lora_{half}.weight"] for half in "AB")
        wanted, got = layer.up @ layer.down, up @ down
        assert (got - wanted).norm() <= 1e-6 * wanted.norm()
    empty = [n for n in state if n.endswith("B.weight") and not state[n].any()]
    assert empty == [
        f"transformer.{name}.lora_B.weight"
        for name in (double + "attn.add_k_proj", single + "proj_mlp")
    ]
    save_file(to_kohya(layers), tmp_path / "one.safetensors")
    _close(layers, read_lora(tmp_path / "one.safetensors").layers, 1e-6)


def test_a_fused_layer_without_gaps_is_taken_apart_too(tiny_model, tmp_path):
    """kohya's trainer gives q, k and v common rank components, and alpha its own value."""
    down, up = torch.randn(4, 64), torch.randn(192, 4)
    key = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {
        f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up,
        f"{key}.alpha": torch.tensor(1.0),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(2, 2),
    }  # fmt: skip
    save_file(tensors, tmp_path / "one.safetensors")
    found = read_lora(tmp_path / "one.safetensors")
    for number, part in enumerate(("to_q", "to_k", "to_v")):
        layer = found.layers[f"transformer_blocks.0.attn.{part}"]
        wanted = up[64 * number : 64 * number + 64] @ down / 4
        assert torch.allclose(layer.up @ layer.down, wanted, atol=1e-5)
    assert found.left_out == ["lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"]


def test_comfyui_and_final_layer(tmp_path):
    down, up = torch.randn(2, 64), torch.randn(128, 2)
    tensors = {
        "diffusion_model.final_layer.adaLN_modulation.1.lora_A.weight": down,
        "diffusion_model.final_layer.adaLN_modulation.1.lora_B.weight": up,
        "diffusion_model.single_blocks.0.linear2.lora_A.weight": torch.ones(1, 320),
        "diffusion_model.single_blocks.0.linear2.lora_B.weight": torch.ones(64, 1),
    }
    save_file(tensors, tmp_path / "one.safetensors")
    found = read_lora(tmp_path / "one.safetensors")
    assert found.forms == ["ComfyUI"]
    assert list(found.layers) == ["norm_out.linear", "single_transformer_blocks.0.proj_out"]
    # Scale and shift have changed places.
    assert torch.equal(found.layers["norm_out.linear"].up, torch.cat([up[64:], up[:64]]))
    again = to_kohya(found.layers)
    assert torch.equal(again["lora_unet_final_layer_adaLN_modulation_1.lora_up.weight"], up)


def _released(alpha=True):
    """In the form of PairEdit's release: rank 16, alpha 1."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name in (
        "transformer_blocks_0_attn_to_q", "transformer_blocks_0_attn_to_out_0",
        "transformer_blocks_0_attn_add_k_proj", "single_transformer_blocks_0_attn_to_v",
    ):  # fmt: skip
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(16, 64, generator=generator)
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(64, 16, generator=generator)
        if alpha:
            tensors[f"lora_unet_{name}.alpha"] = torch.tensor(1.0)
    return tensors


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_pairedits_and_concept_sliders_own_files(tmp_path, kind):
    tensors = _released()
    path = tmp_path / f"one.{kind}"
    torch.save(tensors, path) if kind == "pt" else save_file(tensors, path)
    found = read_lora(path, pickled=True)
    assert found.forms == ["PairEdit"]
    layer = found.layers["transformer_blocks.0.attn.to_out.0"]
    key = "lora_unet_transformer_blocks_0_attn_to_out_0"
    wanted = tensors[f"{key}.lora_up.weight"] @ tensors[f"{key}.lora_down.weight"] / 16
    assert torch.allclose(layer.up @ layer.down, wanted, atol=1e-5)
    assert len(found.layers) == 4
    if kind == "pt":
        with pytest.raises(EditError, match="is a pickle, and none is opened here"):
            Edit.load(path)


def test_an_alpha_that_nobody_says_is_asked_for(tmp_path, tiny_model):
    path = tmp_path / "one.safetensors"
    save_file(_released(alpha=False), path)
    with pytest.raises(EditError, match=r"does not say its alpha.*--alpha"):
        read_lora(path)
    said, stated = read_lora(path, 1.0), tmp_path / "two.safetensors"
    save_file(_released(), stated)
    _close(said.layers, read_lora(stated).layers, 1e-6)
    export(_layers(tiny_model, "attention"), "peft", tmp_path / "folder", {})
    (tmp_path / "folder" / "adapter_config.json").unlink()
    with pytest.raises(EditError, match=r"does not say its alpha.*adapter_config\.json"):
        read_lora(tmp_path / "folder")


def test_what_stock_peft_saves_is_read_with_its_alpha(tiny_model, tiny_folder, tmp_path):
    transformer = FluxTransformer2DModel.from_pretrained(tiny_folder, subfolder="transformer")
    config = LoraConfig(
        r=4, lora_alpha=2, target_modules=["attn.to_q", "proj_mlp"], rank_pattern={"to_q": 3},
        alpha_pattern={"to_q": 6}, init_lora_weights=False,
    )  # fmt: skip
    wrapped = PeftModel(transformer, config)
    wrapped.save_pretrained(tmp_path / "folder")
    state = get_peft_model_state_dict(wrapped)
    found = read_lora(tmp_path / "folder")
    assert found.forms == ["peft"]
    for name, layer in found.layers.items():
        down, up = (state[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB")
        factor = 6 / 3 if name.endswith("to_q") else 2 / 4
        assert torch.allclose(layer.up @ layer.down, factor * up @ down, atol=1e-6)
    assert {n.split(".")[-1] for n in found.layers} == {"to_q", "proj_mlp"}


def test_what_stock_diffusers_saves_edits_as_it_does_there(tiny_model, tiny_folder, tmp_path):
    pipe = FluxPipeline.from_pretrained(tiny_folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    torch.manual_seed(3)
    pipe.transformer.add_adapter(
        LoraConfig(r=4, lora_alpha=6, target_modules=["to_v", "to_out.0"], init_lora_weights=False)
    )
    for name, parameter in pipe.transformer.named_parameters():
        if "lora_" in name:
            parameter.data *= 3
    state = get_peft_model_state_dict(pipe.transformer)
    FluxPipeline.save_lora_weights(
        tmp_path, transformer_lora_layers=state,
        transformer_lora_adapter_metadata=pipe.transformer.peft_config["default"].to_dict(),
    )  # fmt: skip
    stock = pipe(
        "", height=128, width=128, num_inference_steps=4, max_sequence_length=32,
        generator=torch.Generator("cpu").manual_seed(1),
    ).images[0]  # fmt: skip
    edit = Edit.load(tmp_path / "pytorch_lora_weights.safetensors")
    ours = generate(tiny_model, "", edit, seed=1, steps=4, start_step=0)
    plain = generate(tiny_model, "", seed=1, steps=4)
    assert np.abs(np.asarray(stock, np.int16) - np.asarray(ours, np.int16)).max() <= 2
    assert np.abs(np.asarray(plain, np.int16) - np.asarray(ours, np.int16)).max() > 5


def test_a_file_of_which_only_a_part_is_known_is_taken_when_that_is_asked_for(tmp_path):
    tensors = {**_released(), "transformer_blocks.0.attn.to_q.odd": torch.ones(2, 2)}
    path = tmp_path / "one.safetensors"
    save_file(tensors, path)
    with pytest.raises(EditError, match=r"only in part: 1 of its tensors.*to_q\.odd.*--partly"):
        read_lora(path)
    found = read_lora(path, partly=True)
    assert found.left_out == ["transformer_blocks.0.attn.to_q.odd"]
    assert len(found.layers) == 4


class _Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"x": _Evil()}, "is not a readable file of tensors"),
        ([1, 2], "holds something else than named tensors"),
        ({"x": 1}, "holds something else than named tensors"),
        ({"x": torch.ones(2)}, "is no LoRA of a model that is known here"),
    ],
)
def test_a_pickle_is_never_executed(tmp_path, capsys, content, sentence):
    path = tmp_path / "one.pt"
    torch.save(content, path)
    with pytest.raises(EditError, match=sentence):
        read_lora(path, pickled=True)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lora_down": torch.full((4, 64), torch.nan)}, "some that are no numbers"),
        ({"lora_down": torch.ones(0, 64), "lora_up": torch.ones(192, 0)}, "has no values"),
        ({"lora_up": torch.ones(100, 4)}, "three times 64 rows. Got 100 rows"),
    ],
)
def test_damaged_values_are_refused(tmp_path, change, sentence):
    halves = {"lora_down": torch.ones(4, 64), "lora_up": torch.ones(192, 4), **change}
    key = "lora_unet_double_blocks_0_img_attn_qkv"
    save_file({f"{key}.{n}.weight": v for n, v in halves.items()}, tmp_path / "one.safetensors")
    with pytest.raises(EditError, match=sentence):
        read_lora(tmp_path / "one.safetensors")


def test_a_dora_is_refused(tiny_model, tmp_path):
    export(_layers(tiny_model, "attention"), "peft", tmp_path / "folder", {})
    path = tmp_path / "folder" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dora": True}))
    with pytest.raises(EditError, match="is of a DoRA, and lacks its magnitudes"):
        read_lora(tmp_path / "folder")


def test_a_folder_is_not_overwritten(tiny_model, tmp_path):
    layers = _layers(tiny_model, "attention")
    export(layers, "peft", tmp_path / "folder", {})
    before = load_file(tmp_path / "folder" / "adapter_model.safetensors")
    with pytest.raises(UsageError, match="is there already"):
        export(layers, "peft", tmp_path / "folder", {})
    after = load_file(tmp_path / "folder" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_layer_without_a_name_in_kohyas_form_is_refused():
    layers = {"somewhere.else": LoraLayer(torch.ones(1, 2), torch.ones(2, 1))}
    with pytest.raises(EditError, match=r"somewhere\.else has no name in the form of kohya"):
        to_kohya(layers)
