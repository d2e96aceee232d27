"""FLUX.1's layers by the names of its first release, which kohya's tools and ComfyUI use, and of
XLabs. There some layers are fused: q, k and v are rows of one weight."""

from __future__ import annotations

from pairedit_sdk.lora.names import LayerNames

_IMAGE = ("attn.to_q", "attn.to_k", "attn.to_v")
_TEXT = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
#: Of a name that has several, the first is written.
_DOUBLE = {
    "img_attn_qkv": _IMAGE,
    "txt_attn_qkv": _TEXT,
    "img_attn_proj": ("attn.to_out.0",),
    "txt_attn_proj": ("attn.to_add_out",),
    "img_mlp_0": ("ff.net.0.proj",),
    "img_mlp_2": ("ff.net.2",),
    "txt_mlp_0": ("ff_context.net.0.proj",),
    "txt_mlp_2": ("ff_context.net.2",),
    "img_mod_lin": ("norm1.linear",),
    "txt_mod_lin": ("norm1_context.linear",),
    "processor_qkv_lora1": _IMAGE,
    "processor_qkv_lora2": _TEXT,
    "processor_proj_lora1": ("attn.to_out.0",),
    "processor_proj_lora2": ("attn.to_add_out",),
}
_SINGLE = {
    "linear1": (*_IMAGE, "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation_lin": ("norm.linear",),
    "processor_qkv_lora": _IMAGE,
    "processor_proj_lora": ("proj_out",),
}
#: The rows of the last modulation are shift and scale in the first release, scale and shift here.
_SWAPPED = "norm_out.linear"

FLUX = LayerNames(
    blocks={
        "double_blocks": ("transformer_blocks", _DOUBLE),
        "single_blocks": ("single_transformer_blocks", _SINGLE),
    },
    outside={
        "img_in": "x_embedder",
        "txt_in": "context_embedder",
        "time_in_in_layer": "time_text_embed.timestep_embedder.linear_1",
        "time_in_out_layer": "time_text_embed.timestep_embedder.linear_2",
        "guidance_in_in_layer": "time_text_embed.guidance_embedder.linear_1",
        "guidance_in_out_layer": "time_text_embed.guidance_embedder.linear_2",
        "vector_in_in_layer": "time_text_embed.text_embedder.linear_1",
        "vector_in_out_layer": "time_text_embed.text_embedder.linear_2",
        "final_layer_linear": "proj_out",
        "final_layer_adaLN_modulation_1": _SWAPPED,
    },
    fused={"attn.to_qkv": _IMAGE, "attn.to_added_qkv": _TEXT},
    swapped=frozenset({_SWAPPED}),
)
