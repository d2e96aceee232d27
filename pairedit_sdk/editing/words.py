"""Editing by words: what an edit model makes of an instruction, as one more part of a sum.

FlowEdit moves a copy z of the picture x from the empty prompt to the instruction. Both models see
the picture itself as a reference, so that the instruction alone tells them apart:

    z += (σ_next − σ) · [ v(z_tar, σ | x, instruction) − v(z_src, σ | x) ]

What is added to the picture is c (z_words − x), damped as a LoRA's change is, with c the sum of the
instruction's scales. z_words does not depend on c, so it is made once for a whole sweep, the change
is linear in c, and at c = 0 nothing changes.

With classifier-free guidance the first velocity is guided against the empty prompt, at the same
state and with the same reference. The second has the empty prompt already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.composition import PLAIN, repeated
from pairedit_sdk.editing.flowedit import flowedit, without_faint
from pairedit_sdk.edits.edit import EditStack
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow.solvers import last_state
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.models.folders import ANY_EDIT_MODEL
from pairedit_sdk.models.prompts import each_condition

if TYPE_CHECKING:
    from pairedit_sdk.editing.kept import Kept
    from pairedit_sdk.editing.options import EditOptions, ResolvedOptions
    from pairedit_sdk.models.conditioned import ConditionedModel
    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")
_noted: set[str] = set()


class InstructedVelocities:
    """The model with an instruction, on a branch for each of them, and with the empty prompt.

    Args:
        instructed: the model with each of the P instructions; without any LoRA active.
        plain: the same model with the empty prompt.
        pictures: latents [B, C, h, w] that all of them see beside the states.
        kept: of these pictures, if the plain velocities are kept, by their σ.
    """

    def __init__(
        self,
        instructed: Sequence[ConditionedModel],
        plain: ConditionedModel,
        pictures: torch.Tensor,
        kept: Kept | None = None,
    ) -> None:
        self.instructed, self.plain = instructed, plain
        self.pictures, self.kept = pictures, kept

    def __call__(
        self, x_instructed: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both velocities of states [P · B · n, C, h, w]: all pictures under the first instruction,
        then all under the second, and so on. ``x_plain`` is the same for all of them, and is
        computed once.
        """
        count = len(self.instructed)
        rows = len(x_instructed) // count
        seen = self.pictures.repeat_interleave(rows // len(self.pictures), dim=0)
        # A pass for each, as a condition is that of all rows in a pass.
        instructed = [
            model.velocity(states, sigma, reference=seen)
            for model, states in zip(self.instructed, x_instructed.chunk(count), strict=True)
        ]
        known = None if self.kept is None else self.kept.get(PLAIN, float(sigma))
        plain = known[0] if known else self.plain.velocity(x_plain[:rows], sigma, reference=seen)
        if self.kept is not None and not known:
            self.kept.put(PLAIN, float(sigma), tensors=[plain])
        return torch.cat(instructed), repeated(plain, count)


@holding
def edited_by_words(
    model: ConditionedModel,
    x: torch.Tensor,
    phrases: Sequence[str],
    options: ResolvedOptions,
    on_step: Callable[[int, int], None],
    kept: Kept | None = None,
) -> torch.Tensor:
    """What each of P instructions by itself makes of x [B, C, h, w]: [P, B, C, h, w].

    Args:
        model: an edit model with the empty prompt, without any LoRA attached.
        x: latents of the pictures.
        phrases: the instructions.
        options: of editing.
        on_step: called with (done, total).
        kept: of these pictures, if the plain velocities are kept.
    """
    instructed = [
        replace(model, condition=condition, negative=model.condition, cfg=options.cfg)
        for condition in each_condition(model.base, phrases)
    ]
    count = len(phrases)
    states = flowedit(
        repeated(x, count),
        model.base.sigmas(options.steps, *model.base.image_size(x)),
        InstructedVelocities(instructed, model, x, kept),
        options.noise_for(x, count),
        n_max=options.n_max,
        n_avg=options.n_avg,
    )
    with torch.no_grad():
        end = last_state(states, lambda done: on_step(done, options.n_max))
        return without_faint(x, torch.unflatten(end, 0, (count, len(x))), options.threshold)


def words_for(stack: EditStack, options: EditOptions) -> dict[str, float]:
    """The instructions that act when the stack is applied so, each with the sum of its scales."""
    return stack.words if options.words and options.method == "flowedit" else {}


def check_words(model: FlowModel, stack: EditStack, options: EditOptions) -> None:
    """Refuse instructions that cannot act, and log where edits do without theirs.

    Raises:
        UsageError: the model takes no reference images; or the method is not FlowEdit, and an
            instruction is all that an edit is.
    """
    if not options.words:
        for edit, scale in stack.parts:
            if scale != 0 and not edit.layers:
                _note(
                    f"Edit {edit.name} does nothing: it acts by its instruction alone, and "
                    "instructions are left out."
                )
    elif options.method != "flowedit":
        do_without_words(
            stack,
            f"the method {options.method}",
            "Use the method flowedit, or leave the instruction out",
        )
    elif stack.words and not model.takes_references:
        raise UsageError(
            f"Model {model.name} cannot follow the instruction {next(iter(stack.words))!r}",
            expected=ANY_EDIT_MODEL,
            got=model.name,
            next_step="Load an edit model (--base mini-kontext), with edits that were learned on "
            "it, or leave instructions out (--no-words, words=False)",
        )


def changes_nothing(stack: EditStack, method: str) -> bool:
    """Whether the pictures stay as they are, as every scale is 0. The other methods go through the
    model all the same, if there is a LoRA to do it with."""
    return stack.is_zero and (method in ("flowedit", "from-noise") or not without_silent(stack))


def without_silent(stack: EditStack) -> EditStack | None:
    """The stack without the instructions at scale 0, which say nothing; ``None`` if nothing is
    left."""
    parts = [(edit, scale) for edit, scale in stack.parts if edit.layers or scale != 0]
    return EditStack(parts) if parts else None


def do_without_words(stack: EditStack, what: str, next_step: str) -> None:
    """Where LoRAs alone act: refuse an edit that has none, and log that others do without words.

    Args:
        stack: the edits.
        what: has no instructions.
        next_step: for whoever gave one.

    Raises:
        UsageError: an instruction is all that an edit is.
    """
    alone = [edit.name for edit, scale in stack.parts if scale != 0 and not edit.layers]
    if alone:
        raise UsageError(
            f"The instruction {alone[0]!r} cannot be used with {what}",
            expected="edits with a LoRA",
            next_step=next_step,
        )
    if stack.words:
        _note(f"With {what} these instructions of edits are left out: {'; '.join(stack.words)}.")


def _note(warning: str) -> None:
    """Log a warning once, as many pictures are edited with the same edits."""
    if warning not in _noted:
        _noted.add(warning)
        _log.warning("%s", warning)
