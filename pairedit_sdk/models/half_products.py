"""Products in bfloat16 on a CPU that has instructions for them, for trainings that take long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


def _multiply_half(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    product = F.linear(x.bfloat16(), layer.weight.bfloat16()).float()
    return product if layer.bias is None else product + layer.bias


def _multiplies_half() -> bool:
    # Younger than the oldest torch that is supported.
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16"))


@contextmanager
def half_products(module: nn.Module, device: str) -> Iterator[None]:
    """Inside, the linear layers of ``module`` multiply in bfloat16 and give float32.

    On a CPU that has instructions for it this is faster where autocast is not, since everything
    between two products stays as it is; elsewhere nothing is changed.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if torch.device(device).type != "cpu" or not _multiplies_half():
        layers = []
    for layer in layers:
        layer.forward = partial(_multiply_half, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
