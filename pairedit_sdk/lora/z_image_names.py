"""Z-Image's layers by the names of its release, where q, k and v are rows of one weight. ComfyUI,
ai-toolkit and musubi-tuner read diffusers' names of it too."""

from __future__ import annotations

from pairedit_sdk.lora.names import LayerNames

_QKV = ("attention.to_q", "attention.to_k", "attention.to_v")
_PARTS = {
    "attention.qkv": _QKV,
    "attention.out": ("attention.to_out.0",),
    **{f"feed_forward.w{number}": (f"feed_forward.w{number}",) for number in (1, 2, 3)},
    "adaLN_modulation.0": ("adaLN_modulation.0",),
}
#: Of patches of 2 × 2 pixels and one frame, the only ones that are published.
_RENAMED = {
    "x_embedder": "all_x_embedder.2-1",
    "final_layer.linear": "all_final_layer.2-1.linear",
    "final_layer.adaLN_modulation.1": "all_final_layer.2-1.adaLN_modulation.1",
}

Z_IMAGE = LayerNames(
    name="Z-Image",
    marks=("zimage",),
    blocks={name: (name, _PARTS) for name in ("layers", "noise_refiner", "context_refiner")},
    outside={
        **_RENAMED,
        **{name: name for name in ("t_embedder.mlp.0", "t_embedder.mlp.2", "cap_embedder.1")},
    },
    fused={"attention.to_qkv": _QKV},
    own_names=True,
    dropped=frozenset(_RENAMED.values()),
)
