"""Whether what a file holds is a basis that fits together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.lorweb.settings import ACTIVATIONS, BasisSettings

if TYPE_CHECKING:
    from pairedit_sdk.basis.router import Router
    from pairedit_sdk.lorweb.delta import DeltaShape
    from pairedit_sdk.lorweb.parts import BasisLayer, Joined

#: No size of a delta network is larger.
LARGEST = 65_536
_TEXTS = ("name", "base", "base_fingerprint", "architecture", "encoder")


def require_description(values: Mapping[str, Any]) -> None:
    """Refuse a basis's description whose values are of another kind than is written.

    Settings and joined edits have checks of their own.

    Raises:
        KeyError, ValueError: naming one of them.
    """
    if not all(isinstance(values[name], str) for name in _TEXTS):
        raise ValueError("a name in it is no text")
    if type(values["steps"]) is not int or values["steps"] < 0:
        raise ValueError("its steps are not counted")
    temperature = values["temperature"]
    if not isinstance(temperature, float | int) or isinstance(temperature, bool):
        raise ValueError("its temperature is no number")
    if not math.isfinite(temperature) or temperature <= 0:
        raise ValueError("its temperature is not above 0")
    if not isinstance(values["normalised"], bool) or values["activation"] not in ACTIVATIONS:
        raise ValueError("its router is not known")
    for name in ("layers", "joined"):
        if not isinstance(values[name], list):
            raise ValueError(f"{name} is no list")
    layers = values["layers"]
    if not all(isinstance(layer, str) for layer in layers) or len(set(layers)) < len(layers):
        raise ValueError("its layers are not names, each once")
    if not isinstance(values["settings"], Mapping):
        raise ValueError("its settings are none")


def require_delta(shape: DeltaShape) -> None:
    """Refuse sizes that no delta network has, before one is made of them.

    Raises:
        ValueError: they are out of range.
    """
    for name, size in asdict(shape).items():
        least = 0 if name == "pooled" else 1
        if type(size) is not int or not least <= size <= LARGEST:
            raise ValueError(f"the {name} of its delta network is out of range")
    for name in ("tokens", "width", "layers"):
        holds, wanted = BasisSettings.own_rules[f"delta.{name}"]
        if not holds(getattr(shape, name)):
            raise ValueError(f"the {name} of its delta network is not {wanted}")


def require_whole(
    layers: Mapping[str, BasisLayer], router: Router, joined: Sequence[Joined]
) -> None:
    """Refuse tensors that are no numbers, or whose shapes do not belong together.

    Raises:
        ValueError: naming one of them.
    """
    _require_shape("projection", router.projection, (None, None, None))
    weights, width, _ = router.projection.shape
    if weights not in (1, len(layers)):
        raise ValueError(f"projection is for {weights} weights of {len(layers)}")
    if not layers and tuple(router.keys.shape) == (1, 0, width) and not joined:
        return  # the delta network alone
    _require_shape("keys", router.keys, (weights, None, width))
    count = router.keys.shape[1]
    for name, layer in layers.items():
        _require_shape(f"{name}/down", layer.down, (count, None, None))
        rank = layer.down.shape[1]
        _require_shape(f"{name}/up", layer.up, (count, None, rank))
    for one in joined:
        _require_shape("joined keys", one.keys, (weights, width))
        for name, part in one.edit.layers.items():
            _require_shape(f"{name}/down", part.down, (None, None))
            _require_shape(f"{name}/up", part.up, (None, part.down.shape[0]))
            if name not in layers:
                continue
            wanted = (layers[name].up.shape[1], layers[name].down.shape[2])
            if (part.up.shape[0], part.down.shape[1]) != wanted:
                raise ValueError(f"{name} of the edit {one.edit.name} has another shape")


def _require_shape(name: str, tensor: torch.Tensor, wanted: tuple[int | None, ...]) -> None:
    got = tuple(tensor.shape)
    fits = len(got) == len(wanted) and all(w in (None, g) for w, g in zip(wanted, got, strict=True))
    if not fits or 0 in got:
        raise ValueError(f"{name} is {list(got)}")
    if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} is not of finite numbers")
