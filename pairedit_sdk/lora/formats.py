"""LoRA files in diffusers' form: alpha baked into B, keys ``transformer.LAYER.lora_A.weight``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    import torch

PREFIX = "transformer."


def to_diffusers(layers: Mapping[str, LoraLayer]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and header with which stock ``load_lora_weights`` has exactly this effect.

    diffusers takes alpha = rank when nothing says otherwise, so alpha is said to be the rank and
    the true alpha / rank is in B already. The header's adapter metadata holds only the five keys
    that every version reads.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = layer.down
        tensors[f"{PREFIX}{name}.lora_B.weight"] = layer.up
    ranks = {name: layer.rank for name, layer in layers.items()}
    rank = max(ranks.values(), default=0)
    other = {name: r for name, r in ranks.items() if r != rank}
    config = {
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted(layers),
        "rank_pattern": other,
        "alpha_pattern": other,
    }
    header = {f"{PREFIX}{key}": value for key, value in config.items()}
    return tensors, {"lora_adapter_metadata": json.dumps(header, sort_keys=True)}


def from_diffusers(tensors: Mapping[str, torch.Tensor], source: str) -> dict[str, LoraLayer]:
    """Layers of a file in diffusers' form.

    Raises:
        EditError: keys of another form, halves without their partner, or shapes that do not fit.
    """
    downs: dict[str, torch.Tensor] = {}
    ups: dict[str, torch.Tensor] = {}
    foreign: list[str] = []
    for key, value in tensors.items():
        name = key.removeprefix(PREFIX)
        if key.startswith(PREFIX) and name.endswith(".lora_A.weight"):
            downs[name.removesuffix(".lora_A.weight")] = value
        elif key.startswith(PREFIX) and name.endswith(".lora_B.weight"):
            ups[name.removesuffix(".lora_B.weight")] = value
        else:
            foreign.append(key)
    if foreign or not downs:
        raise EditError(
            f"{source} is not an edit of this SDK's form",
            expected="keys such as transformer.….lora_A.weight",
            got=f"{len(foreign)} other keys, the first is {foreign[0]}"
            if foreign
            else "no tensors",
        )
    lonely = sorted(downs.keys() ^ ups.keys())
    if lonely:
        raise EditError(f"{source}: {len(lonely)} layers have only one half, the first {lonely[0]}")
    layers = {}
    for name in sorted(downs):
        down, up = downs[name], ups[name]
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
            raise EditError(
                f"{source}: layer {name} has halves that do not fit together",
                expected="lora_A [rank, in] and lora_B [out, rank]",
                got=f"{list(down.shape)} and {list(up.shape)}",
            )
        layers[name] = LoraLayer(down, up)
    return layers
