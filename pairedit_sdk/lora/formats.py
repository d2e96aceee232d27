"""LoRA files in diffusers' form: alpha baked into B, keys ``transformer.LAYER.lora_A.weight``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError
from pairedit_sdk.files import read_tensors
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


def read_lora(path: Path) -> tuple[dict[str, LoraLayer], dict[str, str]]:
    """The layers of a file in diffusers' form, every alpha baked in, and the header's metadata.

    Raises:
        EditError: no such file, not safetensors, damaged, or another form of LoRA.
    """
    with _explained(path):
        tensors, header = read_tensors(path)
    return _bake_alpha(from_diffusers(tensors, path.name), header, path.name), header


def read_lora_header(path: Path) -> tuple[dict[str, str], list[int]]:
    """The header's metadata and the ranks of the layers, without any tensor.

    Raises:
        EditError: as :func:`read_lora`, but for what only the tensors would show.
    """
    from safetensors import safe_open

    with _explained(path), safe_open(path, framework="numpy") as handle:
        downs = [name for name in handle.keys() if name.endswith(".lora_A.weight")]  # noqa: SIM118
        ranks = [handle.get_slice(name).get_shape()[0] for name in downs]
        return dict(handle.metadata() or {}), ranks


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    if not path.is_file():
        raise EditError(f"There is no edit file {path}", next_step="Check the path")
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EditError(
            f"{path.name} is not a readable safetensors file ({reason})",
            next_step="Copy it again or train the edit again; pickles are never opened",
        ) from error


def _bake_alpha(
    layers: dict[str, LoraLayer], header: Mapping[str, str], source: str
) -> dict[str, LoraLayer]:
    """Put an alpha that a foreign file states in its metadata into B."""
    try:
        config = json.loads(header.get("lora_adapter_metadata", "{}"))
        rank = config.get("transformer.r")
        alpha = config.get("transformer.lora_alpha", rank)
        patterns = dict(config.get("transformer.alpha_pattern") or {})
        root = bool(config.get("transformer.use_rslora"))  # alpha / √rank in place of alpha / rank
    except (ValueError, AttributeError) as error:
        raise EditError(f"{source}: its LoRA metadata is damaged") from error
    if rank is None:
        return layers
    baked = {}
    for name, layer in layers.items():
        try:
            # peft's patterns match a layer's name or the end of it, the first one that does.
            given = (v for p, v in patterns.items() if re.fullmatch(rf"(.*\.)?({p})", name))
            factor = float(next(given, alpha)) / (layer.rank**0.5 if root else layer.rank)
        except (TypeError, ValueError, re.error) as error:
            raise EditError(
                f"{source}: its LoRA metadata has an alpha that is no number"
            ) from error
        baked[name] = layer if factor == 1 else LoraLayer(layer.down, layer.up * factor)
    return baked
