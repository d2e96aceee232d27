"""Several edits at once: how a stack of them becomes a velocity.

- merged: ΔW = Σ s_i B_i A_i, one LoRA, no extra row in a forward pass;
- guided: v = v_base + Σ s_i (v_i − v_base), one more row for each edit. FlowEdit goes further, as
  it moves a copy of the picture: each edit moves one of its own, and the changes are added;
- sequential: edit 1, then edit 2 on its result, and so on: see :mod:`pairedit_sdk.editing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.adapters import attached, set_scales

if TYPE_CHECKING:
    from pairedit_sdk.bases.protocol import Condition, FlowBase
    from pairedit_sdk.edit import EditStack

MODES = ("merged", "guided", "sequential")
EDIT = "edit"
T = TypeVar("T")
#: Of a LoRA: one number, or one for each of B pictures.
Scale = float | torch.Tensor
#: Image tokens in one forward pass, so that a large base is not given all strengths at once.
TOKENS = 8192


class Rows(Protocol):
    """The edited model at one or several strengths and the plain model, together or by themselves.

    With k strengths on B pictures, edited states have k · B rows: all pictures at the first
    strength, then all at the second, and so on (:class:`PathRows` has more).
    """

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both velocities in one forward pass, each [k · B, C, h, w].

        ``x_plain`` has k · B rows too, the same B for every strength; they are computed once.
        """

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone, [k · B, …]."""

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone, any number of rows."""


class MergedRows:
    """The edited and the plain model as parts of one batch.

    Args:
        base: a base with LoRAs attached.
        scales: factor of each attached LoRA in the edited rows; in the plain ones it is 0.
        condition: shared by all rows.
        guidance: shared by all rows.
        strengths: further factors of all scales; every picture is edited at each of them.
    """

    def __init__(
        self, base: FlowBase, scales: Mapping[str, Scale], condition: Condition, guidance: float,
        strengths: Sequence[float] = (1.0,),
    ) -> None:  # fmt: skip
        self.base, self.scales, self.strengths = base, scales, strengths
        self.condition, self.guidance = condition, guidance

    @property
    def copies(self) -> int:
        """How many rows there are of every picture in edited states."""
        return len(self.strengths)

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        plain = x_plain[: len(x_plain) // self.copies]
        off = torch.zeros_like(plain[:, 0, 0, 0])
        on = {name: torch.cat([scale, off]) for name, scale in self._scales(x_edited).items()}
        v = self._velocity(torch.cat([x_edited, plain]), sigma, on)
        return v[: len(x_edited)], repeated(v[len(x_edited) :], self.copies)

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""
        return self._velocity(x, sigma, self._scales(x))

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""
        return self._velocity(x, sigma, dict.fromkeys(self.scales, 0.0))

    def _scales(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The factor of each LoRA in each row of edited states x."""
        strengths = per_row(self.strengths, x)
        return {name: self._each(scale, strengths) for name, scale in self.scales.items()}

    def _each(self, scale: Scale, strengths: torch.Tensor) -> torch.Tensor:
        """A LoRA's factor in each row of edited states, from the strength of each row."""
        if isinstance(scale, torch.Tensor):
            noises = len(strengths) // (self.copies * len(scale))
            scale = scale.repeat_interleave(noises).repeat(self.copies)
        return scale * strengths

    def _velocity(
        self, x: torch.Tensor, sigma: torch.Tensor, scales: Mapping[str, float | torch.Tensor]
    ) -> torch.Tensor:
        set_scales(self.base.transformer, scales)
        return self.base.velocity(x, sigma, self.condition, self.guidance)


class PathRows(MergedRows):
    """:class:`MergedRows` with one LoRA to a row: every edit has rows of its own.

    With E edits and k strengths on B pictures, edited states have E · k · B rows: all of the first
    edit, at one strength after the other, then all of the second.
    """

    @property
    def copies(self) -> int:
        """How many rows there are of every picture in edited states."""
        return len(self.scales) * len(self.strengths)

    def _scales(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        off = [0.0] * len(self.strengths)
        return {
            name: self._each(scale, per_row(self._only(name, off), x))
            for name, scale in self.scales.items()
        }

    def _only(self, name: str, off: Sequence[float]) -> list[float]:
        return [s for other in self.scales for s in (self.strengths if other == name else off)]


class GuidedRows:
    """v_base + Σ s_i (v_i − v_base), with the base and every edit as rows of one batch.

    Args:
        base: a base with every edit attached by itself.
        scales: s_i of each attached LoRA.
        condition: shared by all rows.
        guidance: shared by all rows.
        strengths: further factors of all s_i; every picture is edited at each of them.
    """

    def __init__(
        self, base: FlowBase, scales: Mapping[str, float], condition: Condition, guidance: float,
        strengths: Sequence[float] = (1.0,),
    ) -> None:  # fmt: skip
        self.base, self.scales, self.strengths = base, dict(scales), strengths
        self.condition, self.guidance = condition, guidance

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        once = x_plain[: len(x_plain) // len(self.strengths)]
        *parts, plain = self._parts([x_edited] * (len(self.scales) + 1) + [once], sigma)
        return self._sum(parts), repeated(plain, len(self.strengths))

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""
        return self._sum(self._parts([x] * (len(self.scales) + 1), sigma))

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""
        return self._parts([x], sigma)[0]

    def _parts(self, states: list[torch.Tensor], sigma: torch.Tensor) -> list[torch.Tensor]:
        """The velocity of the base, of each edit in turn, and of the base for all further rows."""
        for index, name in enumerate(self.scales):
            own = [
                torch.full((len(state),), float(k == index + 1)) for k, state in enumerate(states)
            ]
            set_scales(self.base.transformer, {name: torch.cat(own).to(states[0].device)})
        v = self.base.velocity(torch.cat(states), sigma, self.condition, self.guidance)
        return list(v.split([len(state) for state in states]))

    def _sum(self, parts: list[torch.Tensor]) -> torch.Tensor:
        # In float32: rounding each small change to bf16 would cost much of it.
        own, *edits = (part.float() for part in parts)
        strength = per_row(self.strengths, own).view(-1, 1, 1, 1)
        total = own
        for scale, v in zip(self.scales.values(), edits, strict=True):
            total = total + scale * strength * (v - own)
        return total


def per_row(strengths: Sequence[float], x: torch.Tensor) -> torch.Tensor:
    """The strength of each row of x [k · B, …], in float32 [k · B]."""
    each = torch.tensor(strengths, dtype=torch.float32, device=x.device)
    return each.repeat_interleave(len(x) // len(strengths))


def repeated(x: torch.Tensor, count: int) -> torch.Tensor:
    """x [B, …] once for each strength, [count · B, …]."""
    return x if count == 1 else x.repeat(count, 1, 1, 1)


def at_once(ways: Sequence[T], x: torch.Tensor, n_avg: int = 1) -> list[Sequence[T]]:
    """The ways in parts that one forward pass has room for beside the plain model's row.

    Args:
        ways: strengths or edits, each of which moves a copy of x.
        x: latents [B, C, h, w]; a base sees 2 × 2 of them as one token.
        n_avg: noises for each of them.
    """
    tokens = n_avg * len(x) * x.shape[2] * x.shape[3] // 4
    size = max(1, TOKENS // tokens - 1)
    return [ways[start : start + size] for start in range(0, len(ways), size)]


@contextmanager
def attached_stack(
    base: FlowBase, stack: EditStack, mode: str, condition: Condition, guidance: float,
    factors: Sequence[Scale] = (),
) -> Iterator[Callable[..., Rows]]:  # fmt: skip
    """Within the block the stack's edits are attached; afterwards the base is as it was.

    What it yields makes :class:`Rows` for any strengths of the whole stack.

    Args:
        base: without any LoRA attached.
        stack: the edits with their scales.
        mode: "merged", "guided", or "paths": an edit to a row, as FlowEdit does what is guided.
        condition: of the prompt.
        guidance: distilled guidance.
        factors: further factors of each part's scale, a number or one for each picture [B]; not
            with "guided", and merged only of a single part.

    Raises:
        ValueError: another mode.
        EditError: an edit of another base.
    """
    for edit, _ in stack.parts:
        edit.require_base(base)
    if mode == "merged":
        with attached(base.transformer, {EDIT: stack.layers()}):
            (factor,) = factors or (1.0,)
            yield partial(MergedRows, base, {EDIT: factor}, condition, guidance)
    elif mode in {"guided", "paths"}:
        every = zip(stack.parts, factors or [1.0] * len(stack.parts), strict=True)
        heard = {f"{EDIT}{k}": (*part, factor) for k, (part, factor) in enumerate(every) if part[1]}
        loras = {name: edit.layers for name, (edit, _, _) in heard.items()}
        with attached(base.transformer, loras):
            if mode == "guided":
                scales = {name: scale for name, (_, scale, _) in heard.items()}
                yield partial(GuidedRows, base, scales, condition, guidance)
            else:
                own = {name: scale * factor for name, (_, scale, factor) in heard.items()}
                yield partial(PathRows, base, own, condition, guidance)
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
