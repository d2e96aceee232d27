"""FLUX.2's layers by the names of its release, which ComfyUI, ai-toolkit and musubi-tuner use.

A single block's first layer is one in diffusers too; only q, k and v of double blocks are taken
apart. The modulations are shared by all blocks.
"""

from __future__ import annotations

from pairedit_sdk.lora.flux_names import ATTENTION, FUSED, LAST
from pairedit_sdk.lora.names import LayerNames

_DOUBLE = {
    **ATTENTION,
    "img_mlp.0": ("ff.linear_in",),
    "img_mlp.2": ("ff.linear_out",),
    "txt_mlp.0": ("ff_context.linear_in",),
    "txt_mlp.2": ("ff_context.linear_out",),
}
_MODULATIONS = {
    f"{name}.lin": f"{name}.linear"
    for name in (
        "double_stream_modulation_img",
        "double_stream_modulation_txt",
        "single_stream_modulation",
    )
}

FLUX2 = LayerNames(
    name="FLUX.2",
    marks=("flux2",),
    blocks={
        "double_blocks": ("transformer_blocks", _DOUBLE),
        "single_blocks": (
            "single_transformer_blocks",
            {"linear1": ("attn.to_qkv_mlp_proj",), "linear2": ("attn.to_out",)},
        ),
    },
    outside={
        "img_in": "x_embedder",
        "txt_in": "context_embedder",
        "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
        "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
        "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
        "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
        "final_layer.linear": "proj_out",
        "final_layer.adaLN_modulation.1": LAST,
        **_MODULATIONS,
    },
    fused=FUSED,
    swapped=frozenset({LAST}),
    # The MLPs are three times as wide as the tokens, with a gate of that width beside them.
    shapes={
        "img_mlp.0": (6, 1),
        "img_mlp.2": (1, 3),
        "txt_mlp.0": (6, 1),
        "txt_mlp.2": (1, 3),
        "linear1": (9, 1),
        "linear2": (1, 4),
    },
    dropped=frozenset(
        {
            LAST,
            "time_guidance_embed.guidance_embedder.linear_1",
            "time_guidance_embed.guidance_embedder.linear_2",
            *_MODULATIONS.values(),
        }
    ),
)
