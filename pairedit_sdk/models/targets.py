"""Which of FLUX's layers carry a LoRA, by the name of a set."""

from __future__ import annotations

import re

from torch import nn

from pairedit_sdk.errors import UsageError

_ATTENTION = re.compile(
    r"(single_)?transformer_blocks\.\d+\.attn\."
    r"(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
)
_MLP = re.compile(
    r"transformer_blocks\.\d+\.(ff|ff_context)\.net\.(0\.proj|2)"
    r"|single_transformer_blocks\.\d+\.(proj_mlp|proj_out)"
)
_NORM = re.compile(r"(single_)?transformer_blocks\.\d+\.norm\d?(_context)?\.linear")
TARGETS = {
    "attention": (_ATTENTION,), "all": (_ATTENTION, _MLP), "blocks": (_ATTENTION, _MLP, _NORM),
}  # fmt: skip


def target_layers(transformer: nn.Module, which: str) -> list[str]:
    """Names of the Linear layers in a set, in the model's order.

    Args:
        transformer: without LoRAs.
        which: one of :data:`TARGETS`.

    Raises:
        UsageError: there is no such set.
    """
    if which not in TARGETS:
        raise UsageError(
            f"There is no set of layers called {which!r}", expected=" or ".join(TARGETS)
        )
    return [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear) and any(p.fullmatch(name) for p in TARGETS[which])
    ]
