"""FLUX.1's layers by the names of its first release, which kohya's tools and ComfyUI use, and of
XLabs; and Chroma's, which has FLUX.1's blocks without their modulations.

In the first release some layers are fused: q, k and v are rows of one weight.
"""

from __future__ import annotations

from pairedit_sdk.lora.names import LayerNames

IMAGE = ("attn.to_q", "attn.to_k", "attn.to_v")
TEXT = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
#: The same in FLUX.1, FLUX.2 and Chroma.
ATTENTION = {
    "img_attn.qkv": IMAGE,
    "txt_attn.qkv": TEXT,
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
}
#: diffusers' own fused projections.
FUSED = {"attn.to_qkv": IMAGE, "attn.to_added_qkv": TEXT}
_MLP = {
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
_SINGLE = {"linear1": (*IMAGE, "proj_mlp"), "linear2": ("proj_out",)}
_DOUBLE_OF_FLUX = {
    **ATTENTION,
    **_MLP,
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "processor.qkv_lora1": IMAGE,
    "processor.qkv_lora2": TEXT,
    "processor.proj_lora1": ("attn.to_out.0",),
    "processor.proj_lora2": ("attn.to_add_out",),
}
_SINGLE_OF_FLUX = {
    **_SINGLE,
    "modulation.lin": ("norm.linear",),
    "processor.qkv_lora": IMAGE,
    "processor.proj_lora": ("proj_out",),
}
#: The MLPs are four times as wide as the tokens.
_SHAPES = {
    "img_mlp.0": (4, 1),
    "img_mlp.2": (1, 4),
    "txt_mlp.0": (4, 1),
    "txt_mlp.2": (1, 4),
    "linear1": (7, 1),
    "linear2": (1, 5),
}
#: The rows of the last modulation are shift and scale in the first release, scale and shift here.
LAST = "norm_out.linear"
_ENDS = {"img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out"}
_OUTSIDE = {
    **_ENDS,
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer.adaLN_modulation.1": LAST,
}

FLUX = LayerNames(
    name="FLUX.1",
    marks=("flux1", "fluxkontext"),
    blocks={
        "double_blocks": ("transformer_blocks", _DOUBLE_OF_FLUX),
        "single_blocks": ("single_transformer_blocks", _SINGLE_OF_FLUX),
    },
    outside=_OUTSIDE,
    fused=FUSED,
    swapped=frozenset({LAST}),
    shapes=_SHAPES,
    dropped=frozenset(_OUTSIDE.values()),
)

_GUIDANCE = "distilled_guidance_layer"
CHROMA = LayerNames(
    name="Chroma",
    marks=("chroma",),
    blocks={
        "double_blocks": ("transformer_blocks", {**ATTENTION, **_MLP}),
        "single_blocks": ("single_transformer_blocks", _SINGLE),
        f"{_GUIDANCE}.layers": (
            f"{_GUIDANCE}.layers",
            {"in_layer": ("linear_1",), "out_layer": ("linear_2",)},
        ),
    },
    outside={
        **_ENDS,
        **{f"{_GUIDANCE}.{own}": f"{_GUIDANCE}.{own}" for own in ("in_proj", "out_proj")},
    },
    fused=FUSED,
    shapes=_SHAPES,
    dropped=frozenset(_ENDS.values()),
)
