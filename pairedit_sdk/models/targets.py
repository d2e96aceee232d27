"""Which layers carry a LoRA, by the name of a set."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from pairedit_sdk.errors import UsageError


def target_layers(
    transformer: nn.Module,
    sets: Mapping[str, tuple[re.Pattern[str], ...]],
    which: str,
    idle: re.Pattern[str] | None = None,
) -> list[str]:
    """Names of the Linear layers in a set, in the model's order.

    Args:
        transformer: without LoRAs.
        sets: the family's, as patterns of whole names.
        which: one of them.
        idle: layers that are left out.

    Raises:
        UsageError: there is no such set.
    """
    if which not in sets:
        raise UsageError(f"There is no set of layers called {which!r}", expected=" or ".join(sets))
    return [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, nn.Linear)
        and any(p.fullmatch(name) for p in sets[which])
        and not (idle and idle.fullmatch(name))
    ]
