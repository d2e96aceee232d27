"""Which family of models a file, or a set of layers, is of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.export import export
from pairedit_sdk.lora.families import family_named, family_of_layers
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.reading import read_lora

SPEC, VERSION = "modelspec.architecture", "ss_base_model_version"
SINGLE = "single_transformer_blocks.0."
#: With the sizes of a width of 32.
FLUX2 = {
    "double_blocks.0.img_attn.qkv": (96, 32), "double_blocks.0.txt_attn.proj": (32, 32),
    "double_blocks.0.img_mlp.0": (192, 32), "double_blocks.0.txt_mlp.2": (32, 96),
    "single_blocks.1.linear1": (288, 32), "single_blocks.0.linear2": (32, 128),
}  # fmt: skip


def _file(path: Path, shapes: Mapping[str, tuple[int, int]], alpha: float | None = None) -> None:
    tensors = {}
    for module, (rows, columns) in shapes.items():
        tensors[f"{module}.lora_down.weight"] = torch.randn(4, columns)
        tensors[f"{module}.lora_up.weight"] = torch.randn(rows, 4)
        if alpha is not None:
            tensors[f"{module}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("flux-1-dev", "FLUX.1"), ("flux_kontext", "FLUX.1"), ("Flux.2-klein-4b", "FLUX.2"),
        ("flux2_klein_9b", "FLUX.2"), ("Z-Image", "Z-Image"), ("zimage", "Z-Image"),
        ("qwen_image_edit", "Qwen-Image"), ("chroma", "Chroma"), ("", None), ("sdxl", None),
    ],
)  # fmt: skip
def test_the_family_of_an_architecture(said: str, name: str | None) -> None:
    found = family_named(said)
    assert (found and found.name) == name


ATTENTION = {"double_blocks.0.img_attn.qkv": (96, 32), "double_blocks.0.img_attn.proj": (32, 32)}
TIME = {**ATTENTION, "time_in.in_layer": (32, 256)}
ODD = {**ATTENTION, "single_blocks.0.linear1": (256, 32)}


@pytest.mark.parametrize(
    ("shapes", "layer"),
    [
        ({"single_blocks.0.linear1": (224, 32)}, f"{SINGLE}proj_mlp"),
        ({"single_blocks.0.linear1": (288, 32)}, f"{SINGLE}attn.to_qkv_mlp_proj"),
        ({"single_blocks.0.linear2": (32, 160)}, f"{SINGLE}proj_out"),
        ({"single_blocks.0.linear2": (32, 128)}, f"{SINGLE}attn.to_out"),
        ({"double_blocks.0.img_mlp.0": (128, 32)}, "transformer_blocks.0.ff.net.0.proj"),
        ({"double_blocks.0.img_mlp.0": (192, 32)}, "transformer_blocks.0.ff.linear_in"),
        ({"double_blocks.0.img_mlp.2": (32, 96)}, "transformer_blocks.0.ff.linear_out"),
        (ATTENTION, "transformer_blocks.0.attn.to_q"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["lora", "lokr", "diff"])
def test_the_shape_of_a_layer_tells_the_family(
    tmp_path: Path, shapes: dict[str, tuple[int, int]], layer: str, kind: str
) -> None:
    tensors = {}
    for module, (rows, columns) in shapes.items():
        key = f"diffusion_model.{module}"
        if kind == "lora":
            tensors[f"{key}.lora_A.weight"] = torch.randn(2, columns)
            tensors[f"{key}.lora_B.weight"] = torch.randn(rows, 2)
        elif kind == "lokr":
            tensors[f"{key}.lokr_w1"] = torch.randn(4, 4)
            tensors[f"{key}.lokr_w2_a"] = torch.randn(rows // 4, 2)
            tensors[f"{key}.lokr_w2_b"] = torch.randn(2, columns // 4)
        else:
            tensors[f"{key}.diff"] = torch.randn(rows, columns)
    save_file(tensors, tmp_path / "one.safetensors")
    assert layer in read_lora(tmp_path / "one.safetensors").layers


@pytest.mark.parametrize("shapes", [TIME, ODD])
def test_where_two_families_read_a_file_differently_none_is_guessed(
    tmp_path: Path, shapes: dict[str, tuple[int, int]]
) -> None:
    path = tmp_path / "one.safetensors"
    _file(path, {f"lora_unet_{n.replace('.', '_')}": s for n, s in shapes.items()}, 1.0)
    asked = r"its layers can be FLUX\.1's or FLUX\.2's\. .* edits import .*one\.safetensors --base"
    with pytest.raises(EditError, match=asked):
        read_lora(path)
    one, two = (read_lora(path, architecture=a).layers for a in ("flux-1-dev", "flux-2-klein-4b"))
    assert set(one) != set(two)
    tensors = load_file(path)
    for header, wanted in (
        ({VERSION: "flux1"}, one), ({SPEC: "Flux.2-klein-4b"}, two), ({VERSION: "flux_2_dev"}, two),
        ({SPEC: "unknown", VERSION: "flux2_klein_9b"}, two),
    ):  # fmt: skip
        save_file(tensors, path, metadata=header)
        assert set(read_lora(path).layers) == set(wanted)


def test_metadata_does_not_overrule_what_names_and_shapes_tell(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    _file(path, {f"diffusion_model.{n}": s for n, s in FLUX2.items()})
    wanted = set(read_lora(path).layers)
    save_file(load_file(path), path, metadata={SPEC: "flux-1-dev/lora"})
    assert set(read_lora(path).layers) == wanted


def test_the_model_that_is_named_decides_over_shapes_but_not_over_names(tmp_path: Path) -> None:
    """A small model's MLP may have any width."""
    path = tmp_path / "one.safetensors"
    _file(path, {"diffusion_model.single_blocks.0.linear1": (224, 32)})
    found = read_lora(path, architecture="flux-2-klein-small").layers
    assert list(found) == ["single_transformer_blocks.0.attn.to_qkv_mlp_proj"]
    assert len(read_lora(path, architecture="z-image").layers) == 4


def test_a_qwen_file_without_alpha_is_not_taken_for_pairedits(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    _file(path, {"lora_unet_transformer_blocks_0_attn_to_q": (48, 48)})
    with pytest.raises(EditError, match="does not say its alpha"):
        read_lora(path)
    assert read_lora(path, architecture="qwen-image").forms == ["kohya"]


@pytest.mark.parametrize("form", ["kohya", "comfyui"])
def test_an_edit_of_an_unknown_model_is_not_written_in_names_of_one(
    tmp_path: Path, form: str
) -> None:
    layers = {"transformer_blocks.0.attn.to_q": LoraLayer(torch.ones(1, 2), torch.ones(2, 1))}
    with pytest.raises(EditError, match=r"can be FLUX\.1's or Qwen-Image's, which have different"):
        export(layers, form, tmp_path / "one.safetensors", {})
    assert not list(tmp_path.iterdir())
    layers["layers.0.mlp"] = layers["transformer_blocks.0.attn.to_q"]
    with pytest.raises(EditError, match=r"Layer layers\.0\.mlp has no name in the form of"):
        export(layers, form, tmp_path / "one.safetensors", {SPEC: "qwen-image/lora"})


def test_names_tell_the_family_of_layers() -> None:
    for layer, name in {
        "single_transformer_blocks.0.attn.to_qkv_mlp_proj": "FLUX.2",
        "single_transformer_blocks.0.proj_mlp": "FLUX.1",
        "transformer_blocks.0.img_mlp.net.2": "Qwen-Image",
        "distilled_guidance_layer.in_proj": "Chroma",
    }.items():
        assert family_of_layers(["transformer_blocks.0.attn.to_q", layer], "", "kohya").name == name
    assert family_of_layers(["layers.0.attention.to_q"], "", "kohya").name == "Z-Image"


@pytest.mark.parametrize(
    ("name", "layer"),
    [("x_embedder", "x_embedder"), ("img_in", "img_in"), ("t_embedder.mlp.0", "t_embedder.mlp.0")],
)
def test_in_diffusers_form_diffusers_own_names_come_first(
    tmp_path: Path, name: str, layer: str
) -> None:
    """``x_embedder`` is FLUX.1's own, and another name of ``all_x_embedder`` in Z-Image."""
    path = tmp_path / "one.safetensors"
    _file(path, {f"transformer.{name}": (32, 16)})
    assert list(read_lora(path).layers) == [layer]
    _file(path, {"transformer.time_in.in_layer": (32, 256)})
    with pytest.raises(EditError, match=r"FLUX\.1's or FLUX\.2's"):
        read_lora(path)


@pytest.mark.parametrize(
    ("said", "layer"), [("Z-Image", "all_x_embedder.2-1"), ("flux-1-dev", "x_embedder")]
)
def test_metadata_says_more_than_names(tmp_path: Path, said: str, layer: str) -> None:
    path = tmp_path / "one.safetensors"
    _file(path, {"transformer.x_embedder": (32, 16)})
    save_file(load_file(path), path, metadata={SPEC: f"{said}/lora"})
    assert list(read_lora(path).layers) == [layer]
