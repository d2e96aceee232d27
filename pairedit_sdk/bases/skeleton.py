"""A base's transformer without its weights: names and shapes, from the config alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.bases import folders
from pairedit_sdk.errors import EditError
from pairedit_sdk.quiet import quiet

if TYPE_CHECKING:
    from torch import nn

    from pairedit_sdk.lora.layers import LoraLayer

#: Layers that are named in an error; of more, how many there are.
SHOWN = 5


def transformer_skeleton(name_or_path: str) -> nn.Module:
    """The transformer on torch's meta device, where a weight takes no memory.

    Raises:
        BaseModelError: the base is not there, or its config is damaged.
    """
    with quiet():
        from diffusers import FluxTransformer2DModel

    folder = folders.resolve(name_or_path)
    folders.check(folder, name_or_path)
    with folders.explain_damage(folder):
        path = folder / "transformer" / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        with torch.device("meta"):
            found: nn.Module = FluxTransformer2DModel.from_config(config)
            return found


def require_layers(name_or_path: str, layers: Mapping[str, LoraLayer], what: str) -> None:
    """Refuse layers that the base does not have, or has in other shapes.

    Raises:
        EditError: naming them.
        BaseModelError: the base is not there.
    """
    shapes = {
        name: (int(module.out_features), int(module.in_features))
        for name, module in transformer_skeleton(name_or_path).named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    problems = []
    for name, layer in layers.items():
        got = (layer.up.shape[0], layer.down.shape[1])
        if name not in shapes:
            problems.append(name)
        elif shapes[name] != got:
            wanted = shapes[name]
            problems.append(f"{name} ({wanted[0]} × {wanted[1]}, not {got[0]} × {got[1]})")
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise EditError(
            f"{len(problems)} of the {len(layers)} layers of {what} are none of {name_or_path}: "
            + ", ".join(problems[:SHOWN]) + more,
            next_step="Name the base that it was made for",
        )  # fmt: skip
