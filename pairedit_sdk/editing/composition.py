"""Several edits at once: how a stack of them becomes a velocity.

- merged: ΔW = Σ s_i B_i A_i, one LoRA, no extra row in a forward pass;
- guided: v = v_base + Σ s_i (v_i − v_base), one more row for each edit. FlowEdit goes further, as
  it moves a copy of the picture: each edit moves one of its own, and the changes are added;
- sequential: edit 1, then edit 2 on its result, and so on: see
  :mod:`pairedit_sdk.editing.edit_latents`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.linear import Scale
from pairedit_sdk.models.tokens import TOKENS, latent_tokens

if TYPE_CHECKING:
    from pairedit_sdk.editing.kept import Kept
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.models.conditioned import ConditionedModel
    from pairedit_sdk.models.protocol import FlowModel

MODES = ("merged", "guided", "sequential")
EDIT = "edit"
#: What the plain model's velocities are kept by, with their σ.
PLAIN = "plain"
T = TypeVar("T")


class BranchVelocities:
    """The edited model on several branches and the plain model, as rows of one forward pass.

    A branch is a copy of all pictures that LoRAs of its own move. With P branches, edited states
    of B pictures have P · B rows: all pictures on the first branch, then all on the second, and so
    on; with several noises to a row as many times that.

    Args:
        model: with every branch's LoRAs attached and active.
        branches: for each the scales of the LoRAs that move it, by their names: one for all
            pictures or for each [B]. The LoRAs of the others are at 0 in its rows.
        reference: latents of the pictures [B, C, h, w], if both models see them beside the states.
        kept: of these pictures, if the plain velocities are kept, by their σ.
    """

    def __init__(
        self,
        model: ConditionedModel,
        branches: Sequence[Mapping[str, Scale]],
        reference: torch.Tensor | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.model, self.branches, self.reference, self.kept = model, branches, reference, kept

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The edited and the plain velocity, each [P · B, C, h, w].

        ``x_plain`` has P · B rows too, the same B for every branch; they are computed once, and not
        at all where they are kept.
        """
        count = len(self.branches)
        plain = x_plain[: len(x_plain) // count]
        known = None if self.kept is None else self.kept.get(PLAIN, float(sigma))
        off = torch.zeros(len(plain), device=plain.device)
        names = dict.fromkeys(name for branch in self.branches for name in branch)
        scales = {
            name: torch.cat(
                [
                    per_row(branch[name], plain) if name in branch else off
                    for branch in self.branches
                ]
                + [off] * (known is None)
            )
            for name in names
        }
        reference = self.reference
        if reference is not None:
            each = reference.repeat_interleave(len(plain) // len(reference), dim=0)
            reference = repeated(each, count + (known is None))
        states = torch.cat([x_edited, plain]) if known is None else x_edited
        v = self.model.velocity(states, sigma, scales, reference)
        own = v[len(x_edited) :] if known is None else known[0]
        if self.kept is not None and known is None:
            self.kept.put(PLAIN, float(sigma), tensors=[own])
        return v[: len(x_edited)], repeated(own, count)


class StackVelocities:
    """The edited model and the plain model, each by itself.

    Of one LoRA the edited velocity is the model's with that LoRA. Of several edits it is
    v_base + Σ s_i (v_i − v_base), with the plain model and every edit as rows of one pass.

    Args:
        model: with every LoRA attached.
        scales: s_i of each of them, by its name.
        guided: whether they are edits that act each by itself.
        reference: latents [B, C, h, w] of what both models see beside the states.
    """

    def __init__(
        self,
        model: ConditionedModel,
        scales: Mapping[str, float],
        guided: bool = False,
        reference: torch.Tensor | None = None,
    ) -> None:
        self.model, self.scales, self.guided = model, dict(scales), guided
        self.reference = reference

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """v_edit(x, σ) of states [B, C, h, w]."""
        if not self.guided:
            return self.model.velocity(x, sigma, self.scales, self.reference)
        count = 1 + len(self.scales)
        own_row = torch.eye(count, device=x.device)[1:].repeat_interleave(len(x), dim=1)
        alone = dict(zip(self.scales, own_row, strict=True))
        seen = None if self.reference is None else repeated(self.reference, count)
        v = self.model.velocity(repeated(x, count), sigma, alone, seen)
        # In float32: rounding each small change to bf16 would cost much of it.
        own, *edits = v.float().chunk(count)
        changes = zip(self.scales.values(), edits, strict=True)
        return own + sum(scale * (edit - own) for scale, edit in changes)

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """v_base(x, σ) of states [B, C, h, w]."""
        return self.model.velocity(x, sigma, dict.fromkeys(self.scales, 0.0), self.reference)


def per_row(scale: Scale, x: torch.Tensor) -> torch.Tensor:
    """A scale for each row of x [B · n, …], float32 [B · n], from one for all or for each of B."""
    each = torch.as_tensor(scale, dtype=torch.float32, device=x.device).reshape(-1)
    return each.repeat_interleave(len(x) // len(each))


def repeated(x: torch.Tensor, count: int) -> torch.Tensor:
    """x [B, …] once for each branch, [count · B, …]."""
    return x if count == 1 else x.repeat(count, 1, 1, 1)


def at_once(
    model: FlowModel, branches: Sequence[T], x: torch.Tensor, n_avg: int = 1
) -> list[Sequence[T]]:
    """The branches in parts that one forward pass has room for beside the plain model's row.

    Args:
        model: whose tokens are counted.
        branches: each of them moves a copy of x.
        x: latents [B, C, h, w].
        n_avg: noises for each of them.
    """
    tokens = n_avg * len(x) * latent_tokens(model, x)
    size = max(1, TOKENS // tokens - 1)
    return [branches[start : start + size] for start in range(0, len(branches), size)]


@contextmanager
def attached_stack(
    model: ConditionedModel, stack: EditStack, mode: str, reference: torch.Tensor | None = None
) -> Iterator[StackVelocities]:
    """Within the block the stack's LoRAs are attached; afterwards the model is as it was.

    What it yields is the model with all of them, by which a picture is drawn; see
    :mod:`pairedit_sdk.editing.flowedit` for how FlowEdit moves one.

    Args:
        model: without any LoRA attached.
        stack: the edits with their scales.
        mode: "merged" or "guided".
        reference: latents [B, C, h, w] of what the model sees beside the states.

    Raises:
        ValueError: another mode.
        EditError: an edit of another model.
    """
    for edit, _ in stack.parts:
        edit.require_base(model.base)
    if mode == "merged":
        layers = stack.layers()
        loras = {EDIT: layers} if layers else {}
        with attached(model.base.transformer, loras):
            yield StackVelocities(model, dict.fromkeys(loras, 1.0), reference=reference)
    elif mode == "guided":
        active = {
            f"{EDIT}{k}": part for k, part in enumerate(stack.parts) if part[1] and part[0].layers
        }
        loras = {name: edit.layers for name, (edit, _) in active.items()}
        scales = {name: scale for name, (_, scale) in active.items()}
        with attached(model.base.transformer, loras):
            yield StackVelocities(model, scales, guided=True, reference=reference)
    else:
        raise ValueError(f"Mode {mode!r} attaches no stack")


def default_mode(stack: EditStack, method: str) -> str:
    """How the edits act together on a picture if nothing is said: in the stack's own mode with
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
