"""Whether what a file holds is a basis that fits together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pairedit_sdk.basis.router import Router
    from pairedit_sdk.lorweb.parts import BasisLayer, Joined


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


def _require_shape(name: str, tensor: torch.Tensor, wanted: tuple[int | None, ...]) -> None:
    got = tuple(tensor.shape)
    fits = len(got) == len(wanted) and all(w in (None, g) for w, g in zip(wanted, got, strict=True))
    if not fits or 0 in got:
        raise ValueError(f"{name} is {list(got)}")
    if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} is not of finite numbers")
