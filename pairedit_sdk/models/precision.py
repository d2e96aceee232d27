"""Where a model runs and how its transformer's weights are held."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from pairedit_sdk.errors import BaseModelError, UsageError
from pairedit_sdk.io.optional import QUANTIZED, imported
from pairedit_sdk.io.quiet import quiet, silence_casts

if TYPE_CHECKING:
    from pairedit_sdk.models.families.family import Family

_log = logging.getLogger("pairedit_sdk")
_DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "nf4": torch.bfloat16,
    "int8": torch.bfloat16,
}


def choose_device(name: str | None) -> torch.device:
    """The device by name, or a GPU if there is one (this process's own, under a launcher of
    several), or the CPU.

    Raises:
        UsageError: not a device, or not on this machine.
    """
    if name is None:
        if not torch.cuda.is_available():
            return torch.device("cpu")
        several = int(os.environ.get("WORLD_SIZE", "1")) > 1
        own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        return torch.device(own if several else "cuda")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"{name!r} is not a device", expected="cpu, cuda, cuda:1 or mps"
        ) from error
    present = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if device.type not in present:
        raise UsageError(f"{name!r} is not a device", expected="cpu, cuda, cuda:1 or mps")
    if not present[device.type]:
        raise UsageError(
            f"Device {name!r} is not on this machine",
            next_step="Use --device cpu, or install a torch build for your GPU",
        )
    return device


def avoid_cudnn_attention(device: torch.device) -> None:
    """Let torch choose another attention than cuDNN's on an NVIDIA GPU, in the whole process.

    With torch 2.11 on a Hopper card its backward pass fails on this model's gradients, which are
    slices of a wider tensor: an illegal memory access, or NaN and no message. What torch takes in
    its place (FlashAttention, and its own memory-efficient kernel) computes the same. A switch
    around the forward pass would not reach what gradient checkpointing computes again.
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def choose_precision(name: str, device: torch.device) -> tuple[str, torch.dtype]:
    """The precision's name and its compute dtype; "auto" is bf16 on a GPU and fp32 on a CPU."""
    if name == "auto":
        name = "fp32" if device.type == "cpu" else "bf16"
    if name not in _DTYPES:
        raise UsageError(f"Precision {name!r}", expected="one of auto, " + ", ".join(_DTYPES))
    if name in QUANTIZED and device.type == "cpu":
        return name, torch.float32
    return name, _DTYPES[name]


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """What the autoencoder computes in: FLUX.1's overflows in fp16, and is small."""
    return torch.float32 if dtype == torch.float16 else dtype


def text_dtype(dtype: torch.dtype) -> torch.dtype:
    """What the text encoders compute in: T5 overflows in fp16."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


def require_dtype(family: type[Family], name: str, dtype: torch.dtype) -> None:
    """Refuse float16 where the family fails in it, and warn where it clips.

    Raises:
        UsageError: saying why.
    """
    if dtype != torch.float16:
        return
    if family.fp16_fails:
        raise UsageError(
            f"Model {name} does not work in fp16: {family.fp16_fails}",
            expected="bf16, fp32, nf4 or int8",
            next_step="Use --precision bf16",
        )
    if family.fp16_clips:
        _log.warning("Model %s in fp16: %s. Use --precision bf16.", name, family.fp16_clips)


def diffusers_class(name: str) -> Any:
    """A class of diffusers by its name."""
    with quiet():  # diffusers imports bitsandbytes
        import diffusers

        return getattr(diffusers, name)


def load_autoencoder(folder: Path, family: type[Family], dtype: torch.dtype) -> nn.Module:
    """The folder's autoencoder, for a model that computes in ``dtype``."""
    kind = diffusers_class(family.vae_class)
    loaded: nn.Module = kind.from_pretrained(folder, subfolder="vae", dtype=vae_dtype(dtype))
    return loaded


def load_transformer(
    folder: Path, family: type[Family], precision: str, dtype: torch.dtype, device: torch.device
) -> nn.Module:
    """The folder's transformer, its blocks in 4 bits for "nf4" and in 8 for "int8".

    Raises:
        BaseModelError: its files hold weights that are quantised already.
    """
    kind, part = diffusers_class(family.transformer_class), "transformer"
    _require_full_weights(folder / part, device)
    model: nn.Module
    if precision in QUANTIZED and device.type == "cuda":
        from diffusers import BitsAndBytesConfig

        silence_casts()

        given: dict[str, Any] = {"load_in_8bit": True, "llm_int8_threshold": 0.0}
        if precision == "nf4":
            given = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
            given["bnb_4bit_compute_dtype"] = dtype
        with torch.device("meta"):
            empty = kind.from_config(kind.load_config(folder, subfolder=part))
        config = BitsAndBytesConfig(**given, llm_int8_skip_modules=kept_whole(empty, family.blocks))
        model = kind.from_pretrained(
            folder,
            subfolder=part,
            dtype=dtype,
            quantization_config=config,
            device_map={"": device.index or 0},
        )
        return model
    model = kind.from_pretrained(folder, subfolder=part, dtype=dtype)
    if precision in QUANTIZED:
        quantize_linears(model, precision, family.blocks)
    return model


def _require_full_weights(folder: Path, device: torch.device) -> None:
    """Refuse a transformer that was stored quantised, but for bitsandbytes' on a GPU, where
    diffusers loads it. Of others it is not known that LoRAs can be trained on them."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    method = str((config.get("quantization_config") or {}).get("quant_method", ""))
    if not method or (method == "bitsandbytes" and device.type == "cuda"):
        return
    raise BaseModelError(
        f"The transformer in {folder} is stored quantised, by {method}",
        expected="weights in bf16, fp16 or fp32",
        next_step="Download the model that it was made of, and use --precision nf4 or int8",
    )


def kept_whole(transformer: nn.Module, blocks: tuple[str, ...]) -> list[str]:
    """What diffusers must be told to leave out of quantising: the Linear layers outside the blocks.

    It also leaves out what has such a name within its own module, so a layer without a dot in its
    name, of which a block has a namesake, is quantised: FLUX.1's last projection.

    Args:
        transformer: without LoRAs; its weights are not looked at.
        blocks: what the names of the family's blocks begin with.
    """
    linears = [n for n, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    within = {name.rpartition(".")[2] for name in linears if name.startswith(blocks)}
    outside = [name for name in linears if not name.startswith(blocks)]
    return [name for name in outside if "." in name or name not in within]


def quantize_linears(model: nn.Module, precision: str, blocks: tuple[str, ...]) -> None:
    """Hold the blocks' Linear layers in 4-bit NormalFloat or in 8-bit integers, in place.

    diffusers' own quantiser needs a GPU; bitsandbytes' layers themselves do not.
    """
    for name, module in list(model.named_modules()):
        if is_quantizable(name, module, blocks):
            parent_name, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent_name), child, quantized(module, precision))


def is_quantizable(name: str, module: nn.Module, blocks: tuple[str, ...]) -> bool:
    """Whether a quantised transformer holds this layer in fewer bits.

    Args:
        name: the layer's full name.
        module: the layer.
        blocks: what the names of the family's blocks begin with.
    """
    return type(module) is nn.Linear and name.startswith(blocks)


def quantized(module: nn.Module, precision: str) -> nn.Module:
    """A Linear layer in "nf4" or "int8", on the device that it is on."""
    assert isinstance(module, nn.Linear)
    layer = _in_4_bits(module) if precision == "nf4" else _in_8_bits(module)
    if module.bias is not None:
        layer.bias = nn.Parameter(module.bias.data, requires_grad=False)
    # Moving such a layer to a device is what quantises it.
    return layer.to(module.weight.device)


def _in_4_bits(module: nn.Linear) -> nn.Module:
    bnb = imported("bitsandbytes")
    layer = bnb.nn.Linear4bit(
        module.in_features,
        module.out_features,
        bias=module.bias is not None,
        compute_dtype=module.weight.dtype,
        quant_type="nf4",
        device="meta",  # weights of its own would be drawn, and take longer than quantising
    )
    layer.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
    # On some CPUs a pass without gradients would pack the weight anew, into a form that has none.
    layer.support_avx512bf16_for_cpu = False
    return cast(nn.Module, layer)


def _in_8_bits(module: nn.Linear) -> nn.Module:
    bnb = imported("bitsandbytes")
    silence_casts()
    # At threshold 0 no column is kept apart in 16 bits, and a row of a batch does not depend on
    # the other rows.
    layer = bnb.nn.Linear8bitLt(
        module.in_features,
        module.out_features,
        bias=module.bias is not None,
        has_fp16_weights=False,
        threshold=0.0,
        device="meta",
    )
    # It is quantised on its way from the CPU to anywhere, and only there.
    layer.weight = bnb.nn.Int8Params(
        module.weight.data.cpu(), requires_grad=False, has_fp16_weights=False
    )
    return cast(nn.Module, layer)
