"""The forms of LoRA files as tables, and the SDK's own form, which is diffusers'.

A key is a prefix, a layer's name, and what of the layer's update the tensor is:

    lora_unet_ double_blocks_0_img_attn_qkv .lora_down.weight

The prefix says which tool's form it is (:data:`FORMS`) and the end which part (:data:`PARTS`); both
are the same for all families of models. What other tools call a family's layers is in
:mod:`pairedit_sdk.lora.names`, and which family a file is of tells
:mod:`pairedit_sdk.lora.families`. Files are read in :mod:`pairedit_sdk.lora.reading`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.names import LayerNames, Place

if TYPE_CHECKING:
    import torch

PREFIX, PEFT_PREFIX, KOHYA_PREFIX = "transformer.", "base_model.model.", "lora_unet_"
COMFYUI_PREFIX = "diffusion_model."
METADATA = "lora_adapter_metadata"


@dataclass(frozen=True)
class Form:
    """A tool's way to write the name of a layer, and to say its alpha.

    Attributes:
        name: of the form.
        prefix: before the layer's name.
        names: where the name belongs, by a family's names.
        described: alpha is in peft's description, in the header or beside the file.
        needed: without an alpha the strength is unknown; otherwise it is the rank then.
    """

    name: str
    prefix: str
    names: Callable[[LayerNames, str], Place]
    described: bool = False
    needed: bool = False


#: The first one that knows a name is its form.
FORMS = (
    Form("peft", PEFT_PREFIX + PREFIX, LayerNames.of_any, described=True, needed=True),
    Form("fal", PEFT_PREFIX, LayerNames.of_other, described=True),
    Form("peft", PEFT_PREFIX, LayerNames.of_any, described=True, needed=True),
    Form("diffusers", PREFIX, LayerNames.of_any, described=True),
    Form("ComfyUI", COMFYUI_PREFIX, LayerNames.of_own),
    Form("kohya", KOHYA_PREFIX, LayerNames.of_kohya),
    Form("PairEdit", KOHYA_PREFIX, LayerNames.of_flat, needed=True),
    Form("OneTrainer", "lora_transformer_", LayerNames.of_known),
    Form("LyCORIS", "lycoris_", LayerNames.of_known),
    Form("XLabs", "", LayerNames.of_known),
)

#: Between a LoRA's half and ``.weight`` peft has the adapter's name.
_ADAPTER = r"(?:\.(?P<adapter>[\w-]+))?"
#: What the end of a key says of a layer's update, see :mod:`pairedit_sdk.lora.kinds`.
PARTS = {
    "down": rf"\.lora_?(?:A|down){_ADAPTER}\.weight|(?<=_lora)\.down\.weight"
    r"|(?<=_lora[12])\.down\.weight|\.lora\.down\.weight",
    "up": rf"\.lora_?(?:B|up){_ADAPTER}\.weight|(?<=_lora)\.up\.weight"
    r"|(?<=_lora[12])\.up\.weight|\.lora\.up\.weight",
    "alpha": r"\.alpha",
    "magnitude": rf"\.(?:lora_)?magnitude(?:_vector{_ADAPTER})?(?:\.weight)?|\.dora_scale",
    **{name: rf"\.{name}" for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_t1")},
    **{name: rf"\.{name}" for name in ("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
    **{name: rf"\.{name}" for name in ("hada_w1_a", "hada_w1_b", "hada_t1")},
    **{name: rf"\.{name}" for name in ("hada_w2_a", "hada_w2_b", "hada_t2")},
    "diff": r"\.diff",
}
_ENDS = {part: re.compile(f"(?:{end})$") for part, end in PARTS.items()}


class Key(NamedTuple):
    """A tensor's key taken apart: prefix and layer, one of :data:`PARTS`, and peft's adapter."""

    module: str
    part: str
    adapter: str


def taken_apart(key: str) -> Key | None:
    """The parts of a key; ``None`` if its end says nothing of a layer's update."""
    for part, end in _ENDS.items():
        if (found := end.search(key)) and found.start():
            return Key(key[: found.start()], part, found.groupdict().get("adapter") or "")
    return None


def placed(module: str, family: LayerNames) -> tuple[Form, str, Place] | None:
    """The form that a module's name is of, the name without its prefix, and where it belongs in a
    model of this family."""
    for form in FORMS:
        if not module.startswith(form.prefix):
            continue
        name = module.removeprefix(form.prefix)
        if (place := form.names(family, name)).layers:
            return form, name, place
    return None


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
    header = {f"{PREFIX}{key}": value for key, value in adapter_config(layers).items()}
    return tensors, {METADATA: json.dumps(header, sort_keys=True)}


def adapter_config(layers: Mapping[str, LoraLayer]) -> dict[str, Any]:
    """peft's description of layers whose alpha is baked in.

    A name also stands for the end of a longer one from a dot on: ``proj_out`` of the whole model
    would be that of every single block too. So a rank's pattern has ``^`` before it, and the
    targets are one pattern, which peft matches with whole names.
    """
    ranks = {name: layer.rank for name, layer in layers.items()}
    rank = max(ranks.values(), default=0)
    apart = all("." in name for name in layers)
    other = {name if "." in name else f"^{name}": own for name, own in ranks.items() if own != rank}
    return {
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted(layers) if apart else "|".join(map(re.escape, sorted(layers))),
        "rank_pattern": other,
        "alpha_pattern": other,
    }
