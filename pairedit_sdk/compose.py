"""Several edits at once: how a stack of them becomes a velocity.

- merged: ΔW = Σ s_i B_i A_i, one LoRA, no extra row in a forward pass;
- guided: v = v_base + Σ s_i (v_i − v_base), one more row for each edit;
- sequential: edit 1, then edit 2 on its result, and so on: see :mod:`pairedit_sdk.editing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.adapters import attached, set_scales

if TYPE_CHECKING:
    from pairedit_sdk.bases.protocol import Condition, FlowBase
    from pairedit_sdk.edit import EditStack

MODES = ("merged", "guided", "sequential")
EDIT = "edit"


class Rows(Protocol):
    """The edited and the plain model, together or each by itself."""

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both velocities in one forward pass, each [B, C, h, w]."""

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""


class MergedRows:
    """The edited and the plain model as two halves of one batch.

    Args:
        base: a base with LoRAs attached.
        scales: factor of each attached LoRA in the edited half; in the plain half it is 0.
        condition: shared by both halves.
        guidance: shared by both halves.
    """

    def __init__(
        self, base: FlowBase, scales: Mapping[str, float], condition: Condition, guidance: float
    ) -> None:
        self.base, self.scales = base, scales
        self.condition, self.guidance = condition, guidance

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = len(x_edited)
        on = torch.cat([torch.ones(rows), torch.zeros(rows)]).to(x_edited.device)
        set_scales(self.base.transformer, {n: s * on for n, s in self.scales.items()})
        v = self._velocity(torch.cat([x_edited, x_plain]), sigma)
        return v[:rows], v[rows:]

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""
        set_scales(self.base.transformer, self.scales)
        return self._velocity(x, sigma)

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""
        set_scales(self.base.transformer, dict.fromkeys(self.scales, 0.0))
        return self._velocity(x, sigma)

    def _velocity(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return self.base.velocity(x, sigma, self.condition, self.guidance)


class GuidedRows:
    """v_base + Σ s_i (v_i − v_base), with the base and every edit as rows of one batch.

    Args:
        base: a base with every edit attached by itself.
        strengths: s_i of each attached LoRA.
        condition: shared by all rows.
        guidance: shared by all rows.
    """

    def __init__(
        self, base: FlowBase, strengths: Mapping[str, float], condition: Condition, guidance: float
    ) -> None:
        self.base, self.strengths = base, dict(strengths)
        self.condition, self.guidance = condition, guidance

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        *parts, plain = self._parts([x_edited] * (len(self.strengths) + 1) + [x_plain], sigma)
        return self._sum(parts), plain

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""
        return self._sum(self._parts([x] * (len(self.strengths) + 1), sigma))

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""
        return self._parts([x], sigma)[0]

    def _parts(self, states: list[torch.Tensor], sigma: torch.Tensor) -> list[torch.Tensor]:
        """The velocity of the base, of each edit in turn, and of the base for all further rows."""
        rows = len(states[0])
        for index, name in enumerate(self.strengths):
            own = torch.tensor([float(k == index + 1) for k in range(len(states))])
            scale = own.repeat_interleave(rows).to(states[0].device)
            set_scales(self.base.transformer, {name: scale})
        v = self.base.velocity(torch.cat(states), sigma, self.condition, self.guidance)
        return list(v.split(rows))

    def _sum(self, parts: list[torch.Tensor]) -> torch.Tensor:
        # In float32: rounding each small change to bf16 would cost much of it.
        own, *edits = (part.float() for part in parts)
        total = own
        for strength, v in zip(self.strengths.values(), edits, strict=True):
            total = total + strength * (v - own)
        return total


@contextmanager
def attached_stack(
    base: FlowBase, stack: EditStack, mode: str, condition: Condition, guidance: float
) -> Iterator[Rows]:
    """Within the block the stack's edits are attached; afterwards the base is as it was.

    Args:
        base: without any LoRA attached.
        stack: the edits with their scales.
        mode: "merged" or "guided".
        condition: of the prompt.
        guidance: distilled guidance.

    Raises:
        ValueError: another mode.
        EditError: an edit of another base.
    """
    for edit, _ in stack.parts:
        edit.require_base(base)
    if mode == "merged":
        with attached(base.transformer, {EDIT: stack.layers()}):
            yield MergedRows(base, {EDIT: 1.0}, condition, guidance)
    elif mode == "guided":
        heard = {f"{EDIT}{k}": part for k, part in enumerate(stack.parts) if part[1] != 0}
        loras = {name: edit.layers for name, (edit, _) in heard.items()}
        strengths = {name: scale for name, (_, scale) in heard.items()}
        with attached(base.transformer, loras):
            yield GuidedRows(base, strengths, condition, guidance)
    else:
        raise ValueError(f"{mode!r} is no mode of rows")


def check_mode(mode: str, method: str = "flowedit") -> None:
    """Refuse a mode that does not exist, or not with this method.

    Raises:
        UsageError: naming it.
    """
    if mode not in MODES:
        raise UsageError(f"There is no mode {mode!r}", expected="one of " + ", ".join(MODES))
    if method == "inversion-lora" and mode == "guided":
        raise UsageError(
            "The method inversion-lora has no mode guided", expected="merged or sequential"
        )
