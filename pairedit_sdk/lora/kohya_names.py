"""FLUX's layers by the names of diffusers, and by those of its first release, which kohya's tools
and ComfyUI use. There some layers are fused: q, k and v are rows of one weight."""

from __future__ import annotations

import re

#: Within a block: the first release's name, with ``_`` for each dot, and the rows' own layers.
DOUBLE = {
    "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn_proj": ("attn.to_out.0",),
    "txt_attn_proj": ("attn.to_add_out",),
    "img_mlp_0": ("ff.net.0.proj",),
    "img_mlp_2": ("ff.net.2",),
    "txt_mlp_0": ("ff_context.net.0.proj",),
    "txt_mlp_2": ("ff_context.net.2",),
    "img_mod_lin": ("norm1.linear",),
    "txt_mod_lin": ("norm1_context.linear",),
}
SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation_lin": ("norm.linear",),
}
OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in_in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in_out_layer": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in_in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in_out_layer": "time_text_embed.guidance_embedder.linear_2",
    "vector_in_in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in_out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer_linear": "proj_out",
    "final_layer_adaLN_modulation_1": "norm_out.linear",
}
#: Its rows are shift and scale in the first release, scale and shift in diffusers.
SWAPPED = "norm_out.linear"

_FIRST = re.compile(r"(double|single)_blocks_(\d+)_(\w+)")
_FLAT = re.compile(r"((?:single_)?transformer_blocks)_(\d+)_(\w+)")
_BLOCK = re.compile(r"((?:single_)?transformer_blocks)\.(\d+)\.(.+)")
_PARTS = [part for parts in (*DOUBLE.values(), *SINGLE.values()) for part in parts]
_UNFLAT = {name.replace(".", "_"): name for name in (*_PARTS, *OUTSIDE.values())}


def of_first_release(name: str) -> tuple[str, ...]:
    """The layers whose rows this one has, by diffusers' names; none if it is unknown."""
    if name in OUTSIDE:
        return (OUTSIDE[name],)
    match = _FIRST.fullmatch(name)
    if match is None:
        return ()
    kind, number, part = match.groups()
    table, block = (
        (DOUBLE, "transformer_blocks")
        if kind == "double"
        else (SINGLE, "single_transformer_blocks")
    )
    return tuple(f"{block}.{number}.{own}" for own in table.get(part, ()))


def first_release_of(layer: str) -> tuple[str, tuple[str, ...]] | None:
    """The first release's name of a layer, and all layers that are fused in it."""
    for name, own in OUTSIDE.items():
        if own == layer:
            return name, (layer,)
    match = _BLOCK.fullmatch(layer)
    if match is None:
        return None
    block, number, part = match.groups()
    table, kind = (DOUBLE, "double") if block == "transformer_blocks" else (SINGLE, "single")
    for name, parts in table.items():
        if part in parts:
            fused = tuple(f"{block}.{number}.{own}" for own in parts)
            return f"{kind}_blocks_{number}_{name}", fused
    return None


def of_flat(name: str) -> str | None:
    """diffusers' name of a layer that is written with ``_`` for each dot."""
    match = _FLAT.fullmatch(name)
    if match is None:
        return _UNFLAT.get(name)
    block, number, part = match.groups()
    return f"{block}.{number}.{_UNFLAT[part]}" if part in _UNFLAT else None
