"""The optimisers that a training can be asked for by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pairedit_sdk.io.optional import imported

if TYPE_CHECKING:
    import torch

OPTIMIZERS = ("adamw", "adamw8bit")


def adamw(
    kind: str,
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.Optimizer:
    """AdamW in 32 bits ("adamw"), or bitsandbytes' with its state in 8 ("adamw8bit")."""
    import torch

    made: type[torch.optim.Optimizer] = torch.optim.AdamW
    if kind == "adamw8bit":
        made = imported("bitsandbytes").optim.AdamW8bit
    return made(parameters, lr=lr, betas=betas, weight_decay=weight_decay)  # type: ignore[call-arg]
