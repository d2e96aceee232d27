"""Where a base runs and how its transformer's weights are held."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from pairedit_sdk.errors import UsageError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "nf4": torch.bfloat16}


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


def choose_precision(name: str, device: torch.device) -> tuple[str, torch.dtype]:
    """The precision's name and its compute dtype; "auto" is bf16 on a GPU and fp32 on a CPU."""
    if name == "auto":
        name = "fp32" if device.type == "cpu" else "bf16"
    if name not in _DTYPES:
        raise UsageError(f"Precision {name!r}", expected="one of auto, " + ", ".join(_DTYPES))
    if name == "nf4" and device.type == "cpu":
        return name, torch.float32
    return name, _DTYPES[name]


def load_transformer(
    folder: Path, precision: str, dtype: torch.dtype, device: torch.device
) -> FluxTransformer2DModel:
    """The folder's transformer, in 4 bits if ``precision`` is "nf4"."""
    if precision == "nf4" and device.type == "cuda":
        from diffusers import BitsAndBytesConfig

        config = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        return FluxTransformer2DModel.from_pretrained(
            folder, subfolder="transformer", dtype=dtype, quantization_config=config,
            device_map={"": device.index or 0},
        )  # fmt: skip
    model = FluxTransformer2DModel.from_pretrained(folder, subfolder="transformer", dtype=dtype)
    if precision == "nf4":
        quantize_linears(model)
    return model


def quantize_linears(model: nn.Module) -> None:
    """Hold the blocks' Linear layers in 4-bit NormalFloat, in place.

    diffusers' own quantiser needs a GPU; bitsandbytes' layer itself does not.
    """
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and "transformer_blocks." in name:
            parent_name, _, child = name.rpartition(".")
            layer = bnb.nn.Linear4bit(
                module.in_features, module.out_features, bias=module.bias is not None,
                compute_dtype=module.weight.dtype, quant_type="nf4",
            )  # fmt: skip
            layer.weight = bnb.nn.Params4bit(
                module.weight.data, requires_grad=False, quant_type="nf4"
            )
            if module.bias is not None:
                layer.bias = nn.Parameter(module.bias.data, requires_grad=False)
            # Moving a Linear4bit to a device is what quantises it.
            setattr(model.get_submodule(parent_name), child, layer.to(module.weight.device))
