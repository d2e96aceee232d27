"""Mixes of a basis's LoRAs, and what lets a further edit be mixed with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo


class Mix(Edit):
    """The LoRA of a mix, without any layers where the delta network alone says what changes."""

    def __init__(self, layers: Mapping[str, LoraLayer], info: EditInfo) -> None:
        self.layers, self.info = dict(layers), info
        self._noted = not layers


def empty_router(width: int) -> Router:
    """That of a basis without LoRAs: it is asked with Q = ``width`` numbers, and mixes nothing."""
    return Router(torch.zeros(1, 1, width), torch.zeros(1, 0, 1), 1.0, normalised=False)


def side_by_side(layer: BasisLayer, up: torch.Tensor | None = None) -> LoraLayer:
    """All LoRAs of a weight as one of rank N · r, its components in the order (N, r).

    Args:
        layer: of the basis.
        up: B_i in the place of the layer's own, [N, out, r].
    """
    up = layer.up if up is None else up
    return LoraLayer(layer.down.flatten(0, 1), up.transpose(0, 1).flatten(1))


def beside(one: LoraLayer, other: LoraLayer) -> LoraLayer:
    """Both updates as one LoRA."""
    return LoraLayer(
        torch.cat([one.down, other.down.to(one.down)]),
        torch.cat([one.up, other.up.to(one.up)], dim=1),
    )


def key_for_share(
    router: Router, queries: torch.Tensor, nothing: torch.Tensor, share: float
) -> torch.Tensor:
    """The key of one more element, [W, d], which gets ``share`` of the mix for these queries; see
    :meth:`.LoRWeBBasis.key_for`.

    Args:
        router: with the keys of all elements that there are.
        queries: of an edit's pairs, [P, Q].
        nothing: of no change, [P, Q].
        share: 0 to 1, neither of them itself.
    """
    q, still = (router.query(given[:, None]) for given in (queries, nothing))  # [P, W, d]
    direction = (q - still).mean(dim=0)
    common = F.normalize(still.mean(dim=0), dim=-1)
    direction = direction - (direction * common).sum(-1, keepdim=True) * common
    reached = (q * direction).sum(-1).mean(dim=0)  # [W]
    others = torch.stack([router.similarities(query) for query in queries])
    odds = torch.tensor(share / (1 - share))
    aim = (others / router.temperature).logsumexp(dim=-1).mean(dim=0) + float(odds.log())
    if router.activation == "tanh":
        aim = torch.full_like(aim, float(torch.atanh(torch.tensor(share))))
    length = router.temperature * aim / reached.clamp(min=1e-8)
    return direction * length[:, None]


def check_joining(layers: Mapping[str, BasisLayer], info: LearnedInfo, edit: Edit) -> None:
    """Refuse an edit that cannot be mixed with these LoRAs.

    Raises:
        EditError: of another model, or with layers of other shapes.
    """
    own, known = edit.info.base_fingerprint, info.base_fingerprint
    if own and known and own != known:
        raise EditError(
            f"Edit {edit.name!r} was learned on another model than the basis {info.name}",
            expected=f"{info.base} ({known})",
            got=f"{edit.info.base} ({own})",
            next_step="Train the edit on the basis's model, not on a sibling: in a mix all "
            "elements are to go equally far, and those of another model do not",
        )
    for name, layer in edit.layers.items():
        if name not in layers:
            continue
        wanted = (layers[name].up.shape[1], layers[name].down.shape[2])
        got = (layer.up.shape[0], layer.down.shape[1])
        if wanted != got:
            raise EditError(
                f"Layer {name} of edit {edit.name!r} has another shape than in the basis "
                f"{info.name}",
                expected=f"{wanted[0]} × {wanted[1]}",
                got=f"{got[0]} × {got[1]}",
                next_step="Train the edit on the basis's model",
            )
