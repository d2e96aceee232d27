"""Qwen-Image's layers. All tools call them as diffusers does, with dots or ``_``."""

from __future__ import annotations

from pairedit_sdk.lora.flux_names import FUSED, IMAGE, TEXT
from pairedit_sdk.lora.names import LayerNames

_PARTS = (
    *IMAGE,
    *TEXT,
    "attn.to_out.0",
    "attn.to_add_out",
    *(f"{stream}_{part}" for stream in ("img", "txt") for part in ("mlp.net.0.proj", "mlp.net.2")),
    "img_mod.1",
    "txt_mod.1",
)
_OUTSIDE = (
    "img_in",
    "txt_in",
    "time_text_embed.timestep_embedder.linear_1",
    "time_text_embed.timestep_embedder.linear_2",
    "norm_out.linear",
    "proj_out",
)

QWEN = LayerNames(
    name="Qwen-Image",
    marks=("qwenimage",),
    blocks={"transformer_blocks": ("transformer_blocks", {part: (part,) for part in _PARTS})},
    outside={name: name for name in _OUTSIDE},
    fused=FUSED,
    own_names=True,
)
