"""Files of every family and form have the effect that they have in stock tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders import single_file_utils
from peft import PeftModel
from safetensors.torch import load_file, save_file

from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.lora.export import FORMATS, export, to_kohya
from pairedit_sdk.lora.families import family_named
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.reading import read_lora
from tests.tiny_families import components

ARCHITECTURES = {
    "flux": "flux-1-dev", "klein": "flux-2-klein-base-4b", "flux2-dev": "flux-2-dev",
    "z-image": "z-image", "qwen-image": "qwen-image", "chroma": "chroma",
}  # fmt: skip
SPEC = "modelspec.architecture"
ENDS = {"kohya": ("lora_down", "lora_up"), "peft": ("lora_A", "lora_B")}
Layers = dict[str, LoraLayer]


@pytest.fixture(scope="module")
def pipeline(tiny_family: Callable[[str], Path]) -> Callable[[str], Any]:
    """A family's stock pipeline by its name."""

    def loaded(name: str) -> Any:
        folder = tiny_family(name)
        with no_bars():
            return diffusers.DiffusionPipeline.from_pretrained(folder, **components(folder))

    return cache(loaded)


def _layers(transformer: torch.nn.Module, rank: int = 2, begin: str = "") -> Layers:
    """Updates of all Linear layers whose names begin so; ranks differ within fused ones too."""
    generator = torch.Generator().manual_seed(0)
    found = {
        n: m for n, m in transformer.named_modules()
        if type(m) is torch.nn.Linear and n.startswith(begin)
    }  # fmt: skip
    return {
        name: LoraLayer(
            torch.randn(rank + number % 3, module.in_features, generator=generator),
            torch.randn(module.out_features, rank + number % 3, generator=generator),
        )
        for number, (name, module) in enumerate(found.items())
    }


def _stock(pipe: Any, path: Path) -> dict[str, torch.Tensor]:
    """What stock ``load_lora_weights`` adds to each weight."""
    try:
        pipe.load_lora_weights(str(path), adapter_name="one")
        return {
            name: module.get_delta_weight("one").detach()
            for name, module in pipe.transformer.named_modules()
            if hasattr(module, "get_delta_weight")
        }
    finally:
        pipe.unload_lora_weights()


def _same(layers: Mapping[str, LoraLayer], wanted: Mapping[str, torch.Tensor]) -> None:
    for name, update in wanted.items():
        if name not in layers:
            assert not update.any(), name  # the empty rows of a fused layer
            continue
        got = layers[name].up @ layers[name].down
        assert (got - update).norm() <= 1e-6 * update.norm(), name
    assert set(layers) <= set(wanted)


def _products(layers: Layers) -> dict[str, torch.Tensor]:
    return {name: layer.up @ layer.down for name, layer in layers.items()}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("stated", [True, False])
def test_all_layers_go_out_and_in_again(
    pipeline: Callable[[str], Any], tmp_path: Path, name: str, form: str, stated: bool
) -> None:
    layers = _layers(pipeline(name).transformer)
    path = tmp_path / ("folder" if form == "peft" else "one.safetensors")
    export(layers, form, path, {SPEC: f"{ARCHITECTURES[name]}/lora"} if stated else {})
    found = read_lora(path)
    assert ([form.lower() for form in found.forms], found.left_out) == ([form], [])
    assert set(found.layers) == set(layers)
    _same(found.layers, _products(layers))


#: What stock diffusers 0.42 does not read of a form, or reads in another way: of FLUX.1 kohya's
#: single blocks at other widths than its own, and of FLUX.2 the order of scale and shift.
UNREAD = {
    ("flux", "kohya"): "single_",
    ("chroma", "kohya"): ("single_", "distilled_guidance_layer"),
    ("klein", "comfyui"): "norm_out",
    ("flux2-dev", "comfyui"): "norm_out",
}


NOT_STOCK = (("flux", "comfyui"), ("chroma", "comfyui"))


@pytest.mark.parametrize(
    ("name", "form"), [pair for pair in product(ARCHITECTURES, FORMATS) if pair not in NOT_STOCK]
)
def test_stock_tools_give_every_form_the_same_effect(
    pipeline: Callable[[str], Any], tmp_path: Path, name: str, form: str, caplog: Any
) -> None:
    family = family_named(ARCHITECTURES[name])
    assert family is not None
    layers = _layers(pipeline(name).transformer)
    unread = {n for n in layers if n.startswith(UNREAD.get((name, form), "-"))}
    if form == "kohya":
        to_kohya(layers, ARCHITECTURES[name])
        assert bool(family.dropped) == ("stock diffusers leaves out" in caplog.text)
        unread |= family.dropped
    layers = {n: layer for n, layer in layers.items() if n not in unread}
    path = tmp_path / ("folder" if form == "peft" else "one.safetensors")
    export(layers, form, path, {SPEC: ARCHITECTURES[name]})
    if form == "peft":
        kind = type(pipeline(name).transformer)
        transformer = kind.from_config(pipeline(name).transformer.config)
        model = PeftModel.from_pretrained(transformer, path, adapter_name="one").base_model.model
        _same(layers, {n: model.get_submodule(n).get_delta_weight("one") for n in layers})
    else:
        _same(layers, _stock(pipeline(name), path))


def _file(
    path: Path, shapes: Mapping[str, tuple[int, int]], ends: str, alpha: float | None
) -> None:
    generator = torch.Generator().manual_seed(1)
    down, up = ENDS[ends]
    tensors = {}
    for module, (rows, columns) in shapes.items():
        tensors[f"{module}.{down}.weight"] = torch.randn(4, columns, generator=generator)
        tensors[f"{module}.{up}.weight"] = torch.randn(rows, 4, generator=generator)
        if alpha is not None:
            tensors[f"{module}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)


#: Modules as other tools write them, with the sizes of the tiny models.
FLUX2 = {
    "double_blocks.0.img_attn.qkv": (96, 32), "double_blocks.0.txt_attn.proj": (32, 32),
    "double_blocks.0.img_mlp.0": (192, 32), "double_blocks.0.txt_mlp.2": (32, 96),
    "single_blocks.1.linear1": (288, 32), "single_blocks.0.linear2": (32, 128),
}  # fmt: skip
FLUX2_OWN = {
    "transformer_blocks.0.attn.to_q": (32, 32), "transformer_blocks.0.ff.linear_in": (192, 32),
    "single_transformer_blocks.0.attn.to_qkv_mlp_proj": (288, 32),
}  # fmt: skip
Z_IMAGE = {
    "layers.1.attention.to_k": (32, 32), "layers.1.attention.to_out.0": (32, 32),
    "layers.0.feed_forward.w1": (85, 32), "context_refiner.0.feed_forward.w2": (32, 85),
    "noise_refiner.0.adaLN_modulation.0": (128, 32),
}  # fmt: skip
Z_IMAGE_FUSED = {
    "layers.1.attention.qkv": (96, 32), "layers.1.attention.out": (32, 32),
    "layers.0.feed_forward.w3": (85, 32),
}  # fmt: skip
QWEN = {
    "transformer_blocks.1.attn.add_q_proj": (48, 48),
    "transformer_blocks.1.attn.to_out.0": (48, 48),
    "transformer_blocks.0.img_mlp.net.0.proj": (192, 48),
    "transformer_blocks.0.txt_mlp.net.2": (48, 192), "transformer_blocks.1.img_mod.1": (288, 48),
    "img_in": (48, 16),
}  # fmt: skip
CHROMA = {
    "double_blocks.0.img_attn.qkv": (96, 32), "double_blocks.0.txt_attn.proj": (32, 32),
    "double_blocks.0.img_mlp.0": (128, 32),
}  # fmt: skip
MUSUBI, AI_TOOLKIT = "lora_unet_", "diffusion_model."


@pytest.mark.parametrize(
    ("name", "shapes", "prefix", "ends", "alpha", "form"),
    [
        ("klein", FLUX2, MUSUBI, "kohya", 1.0, "kohya"),
        ("klein", FLUX2, MUSUBI, "kohya", None, "kohya"),
        ("flux2-dev", FLUX2, AI_TOOLKIT, "peft", None, "ComfyUI"),
        ("klein", FLUX2_OWN, AI_TOOLKIT, "peft", None, "ComfyUI"),
        ("klein", FLUX2_OWN, "transformer.", "peft", None, "diffusers"),
        ("klein", FLUX2, "base_model.model.", "peft", None, "fal"),
        ("z-image", Z_IMAGE, MUSUBI, "kohya", 2.0, "kohya"),
        ("z-image", Z_IMAGE, MUSUBI, "kohya", None, "kohya"),
        ("z-image", Z_IMAGE_FUSED, MUSUBI, "kohya", 2.0, "kohya"),
        ("z-image", Z_IMAGE, AI_TOOLKIT, "peft", 2.0, "ComfyUI"),
        ("z-image", Z_IMAGE, AI_TOOLKIT, "kohya", 2.0, "ComfyUI"),
        ("z-image", Z_IMAGE, "transformer.", "peft", None, "diffusers"),
        ("qwen-image", QWEN, MUSUBI, "kohya", 2.0, "kohya"),
        ("qwen-image", QWEN, MUSUBI, "kohya", None, "kohya"),
        ("qwen-image", QWEN, AI_TOOLKIT, "peft", 2.0, "ComfyUI"),
        ("qwen-image", QWEN, "transformer.", "peft", None, "diffusers"),
        ("chroma", CHROMA, MUSUBI, "kohya", 2.0, "kohya"),
    ],
)
def test_files_of_other_tools_are_read_as_stock_diffusers_does(
    pipeline: Callable[[str], Any], tmp_path: Path, name: str,
    shapes: dict[str, tuple[int, int]], prefix: str, ends: str, alpha: float | None, form: str,
) -> None:  # fmt: skip
    path = tmp_path / "one.safetensors"
    named = {
        prefix + (module.replace(".", "_") if prefix.endswith("_") else module): shape
        for module, shape in shapes.items()
    }
    _file(path, named, ends, alpha)
    found = read_lora(path)
    assert (found.forms, found.left_out) == ([form], [])
    _same(found.layers, _stock(pipeline(name), path))


@pytest.mark.parametrize("prefix", ["lycoris_", "lora_transformer_"])
@pytest.mark.parametrize("shapes", [FLUX2_OWN, Z_IMAGE, QWEN])
def test_flat_names_of_other_tools(
    tmp_path: Path, prefix: str, shapes: dict[str, tuple[int, int]]
) -> None:
    path = tmp_path / "one.safetensors"
    _file(path, {prefix + name.replace(".", "_"): s for name, s in shapes.items()}, "kohya", 2.0)
    found = read_lora(path)
    assert (set(found.layers), found.left_out) == (set(shapes), [])


def test_scale_and_shift_of_flux2_change_places_as_in_its_checkpoint(tmp_path: Path) -> None:
    """Of a file diffusers 0.42 leaves the order as it is, and of the checkpoint it does not."""
    path = tmp_path / "one.safetensors"
    last = "diffusion_model.final_layer.adaLN_modulation.1"
    _file(
        path, {f"diffusion_model.{n}": s for n, s in FLUX2.items()} | {last: (64, 32)}, "peft", None
    )
    layer = read_lora(path).layers["norm_out.linear"]
    checkpoint = {"final_layer.adaLN_modulation.1.weight": (layer.up @ layer.down).roll(32, 0)}
    convert = single_file_utils.convert_flux2_transformer_checkpoint_to_diffusers
    assert torch.equal(convert(checkpoint)["norm_out.linear.weight"], layer.up @ layer.down)


@pytest.mark.parametrize(
    ("name", "form"), [("klein", "comfyui"), ("klein", "kohya"), ("z-image", "kohya")]
)
def test_names_are_those_of_the_released_checkpoint(
    pipeline: Callable[[str], Any], tmp_path: Path, name: str, form: str
) -> None:
    """Which ComfyUI has. The updates by their names, taken for a checkpoint's weights, are what
    diffusers' own converter of checkpoints makes the layers of."""
    layers, path = _layers(pipeline(name).transformer), tmp_path / "one.safetensors"
    export(layers, form, path, {SPEC: ARCHITECTURES[name]})
    tensors, (down, up) = load_file(path), ENDS["peft" if form == "comfyui" else form]
    released = _released(name)
    weights = {}
    for key in tensors:
        if key.endswith(f".{up}.weight"):
            module = key.removesuffix(f".{up}.weight")
            update = tensors[key] @ tensors[f"{module}.{down}.weight"]
            module = module.removeprefix("diffusion_model.").removeprefix("lora_unet_")
            weights[released.get(module, module) + ".weight"] = update
    kind = "flux2" if name != "z-image" else "z_image"
    convert = getattr(single_file_utils, f"convert_{kind}_transformer_checkpoint_to_diffusers")
    found = {key.removesuffix(".weight"): value for key, value in convert(weights).items()}
    _same(layers, found)


def _released(name: str) -> dict[str, str]:
    """Names with ``_`` for each dot, to those with dots."""
    family = family_named(ARCHITECTURES[name])
    assert family is not None
    names = [*family.outside]
    for block, (_, parts) in family.blocks.items():
        names += [f"{block}.{number}.{part}" for number in (0, 1) for part in parts]
    return {n.replace(".", "_"): n for n in names}
