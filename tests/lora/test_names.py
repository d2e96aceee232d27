"""The tables of names hold every layer of every family, and lead back to it."""

import json
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch

from pairedit_sdk.lora.flux2_names import FLUX2
from pairedit_sdk.lora.flux_names import CHROMA, FLUX
from pairedit_sdk.lora.names import LayerNames, Place
from pairedit_sdk.lora.qwen_names import QWEN
from pairedit_sdk.lora.z_image_names import Z_IMAGE

OF = {
    "flux": FLUX, "klein": FLUX2, "flux2-dev": FLUX2, "z-image": Z_IMAGE, "qwen-image": QWEN,
    "qwen-image-edit": QWEN, "chroma": CHROMA,
}  # fmt: skip


def _linears(folder: Path) -> list[str]:
    index = json.loads((folder / "model_index.json").read_text())
    kind = getattr(diffusers, index["transformer"][1])
    transformer = kind.from_pretrained(folder, subfolder="transformer")
    return [n for n, m in transformer.named_modules() if type(m) is torch.nn.Linear]


@pytest.mark.parametrize("name", OF)
def test_every_layer_has_a_name_that_leads_back_to_it(
    tiny_family: Callable[[str], Path], name: str
) -> None:
    family, layers = OF[name], _linears(tiny_family(name))
    assert len(layers) > 20
    for layer in layers:
        found = family.other_of(layer)
        assert found is not None, layer
        other, fused = found
        assert layer in fused
        for spelled in (other, other.replace(".", "_")):
            assert family.of_known(spelled) == Place(fused, layer in family.swapped)
        for spelled in (layer, layer.replace(".", "_")):
            assert family.of_flat(spelled) == Place((layer,))
            assert family.of_any(spelled).layers == (layer,)


@pytest.mark.parametrize("name", OF)
def test_what_is_named_as_in_diffusers_is_not_another_tools(
    tiny_family: Callable[[str], Path], name: str
) -> None:
    own = [n for n in _linears(tiny_family(name)) if OF[name].other_of(n) == (n, (n,))]
    assert all(OF[name].of_other(n) == Place() for n in own)
    assert bool(own) == (name not in ("flux", "klein", "flux2-dev"))


@pytest.mark.parametrize(
    ("family", "other", "layers"),
    [
        (FLUX2, "double_blocks.3.txt_attn.qkv", ["add_q_proj", "add_k_proj", "add_v_proj"]),
        (FLUX2, "single_blocks.3.linear1", ["to_qkv_mlp_proj"]),
        (FLUX, "single_blocks.3.linear1", ["to_q", "to_k", "to_v", "proj_mlp"]),
        (Z_IMAGE, "noise_refiner.1.attention.qkv", ["to_q", "to_k", "to_v"]),
        (Z_IMAGE, "context_refiner.1.attention.to_qkv", ["to_q", "to_k", "to_v"]),
        (QWEN, "transformer_blocks.59.attn.to_qkv", ["to_q", "to_k", "to_v"]),
        (CHROMA, "distilled_guidance_layer.layers.4.in_layer", ["linear_1"]),
        (CHROMA, "double_blocks.0.img_mod.lin", []),
        (FLUX2, "double_blocks.0.img_mod.lin", []),
    ],
)  # fmt: skip
def test_names_as_the_releases_have_them(family: LayerNames, other: str, layers: list[str]) -> None:
    for spelled in (other, other.replace(".", "_")):
        found = family.of_known(spelled).layers
        assert [layer.rsplit(".", 1)[1] for layer in found] == layers
