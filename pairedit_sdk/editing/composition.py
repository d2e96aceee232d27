"""Several edits at once: how a stack of them becomes a velocity.

- merged: ΔW = Σ s_i B_i A_i, one LoRA, no extra row in a forward pass;
- guided: v = v_base + Σ s_i (v_i − v_base), one more row for each edit. FlowEdit goes further, as
  it moves a copy of the picture: each edit moves one of its own, and the changes are added;
- sequential: edit 1, then edit 2 on its result, and so on: see
  :mod:`pairedit_sdk.editing.edit_image`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.adapters import attached, set_scales
from pairedit_sdk.lora.linear import Scale

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.models.protocol import Condition, FlowBase

MODES = ("merged", "guided", "sequential")
EDIT = "edit"
T = TypeVar("T")
#: Image tokens in one forward pass, so that a large base is not given all strengths at once.
TOKENS = 8192


class Rows(Protocol):
    """The edited and the plain model."""

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""


class MergedRows:
    """The edited and the plain model as parts of one batch.

    Args:
        base: a base with LoRAs attached.
        scales: factor of each attached LoRA in the edited rows; in the plain ones it is 0.
        condition: shared by all rows.
        guidance: shared by all rows.
    """

    def __init__(
        self, base: FlowBase, scales: Mapping[str, float], condition: Condition, guidance: float
    ) -> None:
        self.base, self.scales = base, dict(scales)
        self.condition, self.guidance = condition, guidance

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both velocities in one forward pass."""
        rows = torch.cat([x_edited, x_plain])
        on = torch.zeros(len(rows), device=rows.device)
        on[: len(x_edited)] = 1
        v = self._velocity(rows, sigma, {name: s * on for name, s in self.scales.items()})
        return v[: len(x_edited)], v[len(x_edited) :]

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""
        return self._velocity(x, sigma, self.scales)

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""
        return self._velocity(x, sigma, dict.fromkeys(self.scales, 0.0))

    def _velocity(
        self, x: torch.Tensor, sigma: torch.Tensor, scales: Mapping[str, float | torch.Tensor]
    ) -> torch.Tensor:
        set_scales(self.base.transformer, scales)
        return self.base.velocity(x, sigma, self.condition, self.guidance)


class PathRows:
    """Copies of the same pictures, each moved by a LoRA of its own, and the plain model once.

    With P paths, edited states of B pictures have P · B rows: all pictures on the first path, then
    all on the second, and so on; with several noises to a row as many times that.

    Args:
        base: a base with every path's LoRA attached.
        paths: the LoRA that moves each copy, and its scale, one for all pictures or for each [B].
        condition: shared by all rows.
        guidance: shared by all rows.
    """

    def __init__(
        self, base: FlowBase, paths: Sequence[tuple[str, Scale]], condition: Condition,
        guidance: float,
    ) -> None:  # fmt: skip
        self.base, self.paths = base, paths
        self.condition, self.guidance = condition, guidance

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both velocities in one forward pass, each [P · B, C, h, w].

        ``x_plain`` has P · B rows too, the same B for every path; they are computed once.
        """
        plain = x_plain[: len(x_plain) // len(self.paths)]
        each = [(name, per_row(scale, plain)) for name, scale in self.paths]
        off = torch.zeros(len(plain), device=plain.device)
        own = {
            name: torch.cat([scale if name == other else off for other, scale in each] + [off])
            for name in dict.fromkeys(name for name, _ in each)
        }
        set_scales(self.base.transformer, own)
        rows = torch.cat([x_edited, plain])
        v = self.base.velocity(rows, sigma, self.condition, self.guidance)
        return v[: len(x_edited)], repeated(v[len(x_edited) :], len(self.paths))


class GuidedRows:
    """v_base + Σ s_i (v_i − v_base), with the base and every edit as rows of one batch.

    Args:
        base: a base with every edit attached by itself.
        scales: s_i of each attached LoRA.
        condition: shared by all rows.
        guidance: shared by all rows.
    """

    def __init__(
        self, base: FlowBase, scales: Mapping[str, float], condition: Condition, guidance: float
    ) -> None:
        self.base, self.scales = base, dict(scales)
        self.condition, self.guidance = condition, guidance

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""
        count = 1 + len(self.scales)
        for index, name in enumerate(self.scales):
            on = torch.zeros(count, device=x.device)
            on[index + 1] = 1
            set_scales(self.base.transformer, {name: on.repeat_interleave(len(x))})
        v = self.base.velocity(repeated(x, count), sigma, self.condition, self.guidance)
        # In float32: rounding each small change to bf16 would cost much of it.
        own, *edits = v.float().chunk(count)
        changes = zip(self.scales.values(), edits, strict=True)
        return own + sum(scale * (edit - own) for scale, edit in changes)

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""
        set_scales(self.base.transformer, dict.fromkeys(self.scales, 0.0))
        return self.base.velocity(x, sigma, self.condition, self.guidance)


def per_row(scale: Scale, x: torch.Tensor) -> torch.Tensor:
    """A scale for each row of x [B · n, …], float32 [B · n], from one for all or for each of B."""
    each = torch.as_tensor(scale, dtype=torch.float32, device=x.device).reshape(-1)
    return each.repeat_interleave(len(x) // len(each))


def repeated(x: torch.Tensor, count: int) -> torch.Tensor:
    """x [B, …] once for each path, [count · B, …]."""
    return x if count == 1 else x.repeat(count, 1, 1, 1)


def at_once(ways: Sequence[T], x: torch.Tensor, n_avg: int = 1) -> list[Sequence[T]]:
    """The ways in parts that one forward pass has room for beside the plain model's row.

    Args:
        ways: each of them moves a copy of x.
        x: latents [B, C, h, w]; a base sees 2 × 2 of them as one token.
        n_avg: noises for each of them.
    """
    tokens = n_avg * len(x) * x.shape[2] * x.shape[3] // 4
    size = max(1, TOKENS // tokens - 1)
    return [ways[start : start + size] for start in range(0, len(ways), size)]


@contextmanager
def attached_stack(
    base: FlowBase, stack: EditStack, mode: str, condition: Condition, guidance: float
) -> Iterator[Rows]:
    """Within the block the stack's edits are attached; afterwards the base is as it was.

    What it yields is the model with all of them, by which a picture is drawn; see
    :mod:`pairedit_sdk.editing.flowedit` for how FlowEdit moves one.

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
        heard = {f"{EDIT}{k}": part for k, part in enumerate(stack.parts) if part[1]}
        loras = {name: edit.layers for name, (edit, _) in heard.items()}
        scales = {name: scale for name, (_, scale) in heard.items()}
        with attached(base.transformer, loras):
            yield GuidedRows(base, scales, condition, guidance)
    else:
        raise ValueError(f"{mode!r} is no mode of rows")


def default_mode(stack: EditStack, method: str) -> str:
    """How the edits act together on a picture if nothing is said: the stack's own way with
    FlowEdit, where it was measured, and as one LoRA with the other methods."""
    return stack.default_mode if method == "flowedit" else "merged"


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
