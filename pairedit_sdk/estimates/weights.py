"""What a model's weights take, and its autoencoder's work, from its configuration alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn

from pairedit_sdk.estimates.passes import measured
from pairedit_sdk.models.meta import model_skeleton, text_encoder_skeletons
from pairedit_sdk.models.precision import is_quantizable, text_dtype

META = torch.device("meta")
#: bitsandbytes' NF4 keeps a 32-bit scale for so many weights.
NF4_BLOCK = 64


@lru_cache(maxsize=16)
def transformer_bytes(name: str, precision: str, dtype: torch.dtype) -> tuple[int, int]:
    """Of all weights, and of the largest one that has to be unpacked to be used."""
    model = model_skeleton(name, dtype)
    packed: dict[int, int] = {}
    largest = 0
    for module_name, module in model.transformer.named_modules():
        if is_quantizable(module_name, module, model.family.blocks):
            assert isinstance(module, nn.Linear)
            count = module.weight.numel()
            if precision == "nf4":
                packed[id(module.weight)] = count // 2 + count // NF4_BLOCK * 4
            elif precision == "int8":
                packed[id(module.weight)] = count + module.out_features * 4
            else:
                continue
            largest = max(largest, count * dtype.itemsize)
    total = sum(
        packed.get(id(p), p.numel() * p.element_size()) for p in model.transformer.parameters()
    )
    return total, largest


def autoencoder_flops(name: str, dtype: torch.dtype, side: int) -> int:
    """Floating-point operations of encoding one picture."""
    return autoencoder(name, dtype, side)[2]


@lru_cache(maxsize=16)
def autoencoder(name: str, dtype: torch.dtype, side: int) -> tuple[int, int, int]:
    """Bytes of its weights, and of what is alive while it encodes or decodes; and the arithmetic
    of encoding."""
    model = model_skeleton(name, dtype)
    weights = list(model.vae.parameters())
    picture = torch.empty(1, 3, side, side, device=META)
    latents = torch.empty(1, *model.latent_shape(side, side), device=META)
    works: list[Callable[[], object]] = [
        lambda: model.encode(picture),
        lambda: model.decode(latents),
    ]
    encoding, decoding = (measured(work, [*weights, picture, latents]) for work in works)
    return _bytes(model.vae), max(encoding.peak, decoding.peak), encoding.flops


@lru_cache(maxsize=16)
def text_bytes(name: str, dtype: torch.dtype) -> int:
    """Of the text encoders' weights."""
    size = text_dtype(dtype).itemsize
    return sum(
        p.numel() * size for encoder in text_encoder_skeletons(name) for p in encoder.parameters()
    )


def _bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())
