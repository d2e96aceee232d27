"""What a LoRWeB basis consists of, and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.lorweb.settings import BasisSettings


@dataclass(frozen=True)
class BasisLayer:
    """The updates of one weight; alpha / r is already baked into ``up``.

    Attributes:
        down: A_i, [N, r, in].
        up: B_i, [N, out, r].
    """

    down: torch.Tensor
    up: torch.Tensor


@dataclass(frozen=True)
class Joined:
    """A user's own edit as a further element.

    Attributes:
        edit: of any rank.
        keys: its key for every weight of the router, [W, d].
    """

    edit: Edit
    keys: torch.Tensor


@dataclass(frozen=True)
class LearnedInfo:
    """What is known of a learned basis.

    Attributes:
        name: of the basis.
        base: name of the model it was trained on.
        base_fingerprint: of that model; empty if it is not known.
        architecture: of that model.
        encoder: the image encoder's name.
        settings: of the training.
        steps: that were trained.
    """

    name: str
    base: str = ""
    base_fingerprint: str = ""
    architecture: str = ""
    encoder: str = ""
    settings: BasisSettings = field(default_factory=BasisSettings)
    steps: int = 0
