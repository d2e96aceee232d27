"""Editing by what a model is told: an instruction, or a change that it is shown, as parts of a sum.

FlowEdit moves a copy z of the picture x from the empty prompt to what is told. Both models see the
picture itself as a reference:

    z += (σ_next − σ) · [ v(z_tar, σ | x, told) − v(z_src, σ | x) ]

Told is an instruction; or a shown change (:class:`pairedit_sdk.edits.shown.ShownChange`): tokens
behind the prompt's, which may be empty, a and a′ behind x as further references, and a LoRA that is
active in that velocity alone. What is added to the picture is c (z_told − x), damped as a LoRA's
change is, with c the scale. z_told does not depend on c, so it is made once for a whole sweep, the
change is linear in c, and at c = 0 nothing changes.

A shown change begins at pure noise, unless something else is asked for. What a basis learns it
learns of the noised b′, and where a state still shows x it believes that: of a change to night
FlowEdit's usual 4 of 5 steps made 11 %, and all 5 made 99 %.

With classifier-free guidance an instruction's velocity is guided against the empty prompt, at the
same state and with the same reference. A shown change has none, and neither has the second
velocity, whose prompt is the empty one.

The method "from-noise" draws a picture with a shown change: with v_k the velocity that is told it
and s_k its scale, at v_edits(z, σ | x) + Σ s_k [v_k(z, σ | x, a, a′) − v(z, σ | x)]. One change
alone at scale 1 is what the model draws when it is told and shown it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.composition import PLAIN, StackVelocities, repeated
from pairedit_sdk.editing.flowedit import flowedit, without_faint
from pairedit_sdk.editing.words import check_words, words_for
from pairedit_sdk.edits.shown import ShownChange, shown_parts
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.flow.solvers import last_state
from pairedit_sdk.lora.adapters import activate, attach, attached
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.models.prompts import each_condition
from pairedit_sdk.models.protocol import told

if TYPE_CHECKING:
    from pairedit_sdk.editing.kept import Kept
    from pairedit_sdk.editing.options import EditOptions, ResolvedOptions
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.lora.layers import LoraLayer
    from pairedit_sdk.models.conditioned import ConditionedModel
    from pairedit_sdk.models.protocol import FlowModel

#: The methods that a shown change can be used with.
SHOWN_BY = ("flowedit", "from-noise")
#: What a model is told: an instruction, or a change that it is shown.
Telling = str | ShownChange


def tellings(
    stack: EditStack, options: ResolvedOptions
) -> list[tuple[list[tuple[Telling, float]], ResolvedOptions]]:
    """What FlowEdit's model is told when the stack is applied so, each with its scale, in groups
    that are run alike, and how: the instructions, and the shown changes."""
    words: list[tuple[Telling, float]] = list(words_for(stack, options).items())
    shown: list[tuple[Telling, float]] = list(shown_parts(stack))
    n_max = options.steps if options.shown_n_max is None else options.shown_n_max
    groups = [(words, options), (shown, replace(options, n_max=n_max))]
    return [(group, own) for group, own in groups if group]


def check_told(model: FlowModel, stack: EditStack, options: EditOptions) -> None:
    """Refuse instructions and shown changes that cannot act, and log where edits do without their
    instructions.

    Raises:
        UsageError: as :func:`pairedit_sdk.editing.words.check_words`, or a shown change with
            another method than FlowEdit or "from-noise".
    """
    check_words(model, stack, options)
    shown, method = shown_parts(stack), options.method
    if shown and method not in SHOWN_BY:
        raise UsageError(
            f"The shown change {shown[0][0].name!r} cannot be used with the method {method}",
            expected="the method flowedit or from-noise",
            next_step="Use one of these, or leave the change out",
        )


@dataclass(frozen=True)
class _Told:
    """A model that is told something.

    Attributes:
        model: with the prompt, and no pictures.
        beside: pictures that it sees behind the one that is edited.
        lora: name of the attached LoRA that is active meanwhile; without one, none is.
    """

    model: ConditionedModel
    beside: tuple[torch.Tensor, ...] = ()
    lora: str | None = None

    def velocity(
        self, states: torch.Tensor, sigma: torch.Tensor, pictures: torch.Tensor
    ) -> torch.Tensor:
        """v of states [B, C, h, w], each of which sees its picture."""
        activate(self.model.base.transformer, [] if self.lora is None else [self.lora])
        condition = replace(self.model.condition, references=(pictures, *self.beside))
        return replace(self.model, condition=condition).velocity(states, sigma)


class ToldVelocities:
    """The model as it is told each of some things, on a branch for each, and as it is told nothing.

    Args:
        told: P of them, with their LoRAs attached.
        plain: told nothing.
        pictures: latents [B, C, h, w] that all of them see beside the states.
        kept: of these pictures, if the plain velocities are kept, by their σ.
    """

    def __init__(
        self, told: Sequence[_Told], plain: _Told, pictures: torch.Tensor, kept: Kept | None = None
    ) -> None:
        self.told, self.plain = told, plain
        self.pictures, self.kept = pictures, kept

    def __call__(
        self, x_told: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both velocities of states [P · B · n, C, h, w]: all pictures as they are under the first,
        then all under the second, and so on. ``x_plain`` is the same for all of them, and is
        computed once.
        """
        count = len(self.told)
        rows = len(x_told) // count
        seen = self.pictures.repeat_interleave(rows // len(self.pictures), dim=0)
        # A pass for each, as a condition is that of all rows in a pass.
        moved = [
            one.velocity(states, sigma, seen)
            for one, states in zip(self.told, x_told.chunk(count), strict=True)
        ]
        known = None if self.kept is None else self.kept.get(PLAIN, float(sigma))
        plain = known[0] if known else self.plain.velocity(x_plain[:rows], sigma, seen)
        if self.kept is not None and not known:
            self.kept.put(PLAIN, float(sigma), tensors=[plain])
        return torch.cat(moved), repeated(plain, count)


@holding
def edited_as_told(
    model: ConditionedModel,
    x: torch.Tensor,
    all_told: Sequence[Telling],
    options: ResolvedOptions,
    on_step: Callable[[int, int], None],
    kept: Kept | None = None,
) -> torch.Tensor:
    """What each of P tellings by itself makes of x [B, C, h, w]: [P, B, C, h, w].

    Args:
        model: an edit model with the empty prompt, without any LoRA attached; it is left so.
        x: latents of the pictures.
        all_told: instructions and shown changes.
        options: of editing.
        on_step: called with (done, total).
        kept: of these pictures, if the plain velocities are kept.

    Raises:
        EditError: a shown change is of another model.
    """
    count = len(all_told)
    with torch.no_grad(), _attached_told(model, all_told, options.cfg) as each:
        states = flowedit(
            repeated(x, count),
            model.base.sigmas(options.steps, *model.base.image_size(x)),
            ToldVelocities(each, _Told(model), x, kept),
            options.noise_for(x, count),
            n_max=options.n_max,
            n_avg=options.n_avg,
        )
        end = last_state(states, lambda done: on_step(done, options.n_max))
        return without_faint(x, torch.unflatten(end, 0, (count, len(x))), options.threshold)


def drawn_as_shown(
    own: StackVelocities, model: ConditionedModel, stack: EditStack, x: torch.Tensor
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The velocity, of a state and σ, by which a picture is drawn with a stack's LoRAs and shown
    changes.

    Args:
        own: with the stack's LoRAs attached; those of its shown changes are attached here.
        model: with the empty prompt.
        stack: the edits with their scales.
        x: latents of the picture [B, C, h, w], which all see.

    Raises:
        EditError: a shown change is of another model.
    """
    parts = shown_parts(stack)
    if not parts:
        return own.edited
    plain = _Told(model)
    each = [(_as_shown(model, change, f"shown{k}"), s) for k, (change, s) in enumerate(parts)]
    for (one, _), (change, _) in zip(each, parts, strict=True):
        if one.lora is not None:
            attach(model.base.transformer, one.lora, change.mix)

    def velocity(z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        shown = [(one.velocity(z, sigma, x), scale) for one, scale in each]
        if not own.scales and len(shown) == 1 and shown[0][1] == 1:
            return shown[0][0]
        without = plain.velocity(z, sigma, x).float()
        total = without
        if own.scales:
            activate(model.base.transformer, list(own.scales))
            total = own.edited(z, sigma).float()
        return total + sum(scale * (v.float() - without) for v, scale in shown)

    return velocity


@contextmanager
def _attached_told(
    model: ConditionedModel, all_told: Sequence[Telling], cfg: float
) -> Iterator[list[_Told]]:
    """Within the block the LoRAs of the shown changes are attached."""
    phrases = [one for one in all_told if isinstance(one, str)]
    said = dict(zip(phrases, each_condition(model.base, phrases), strict=True))
    each: list[_Told] = []
    loras: dict[str, Mapping[str, LoraLayer]] = {}
    for number, one in enumerate(all_told):
        if isinstance(one, str):
            instructed = replace(model, condition=said[one], negative=model.condition, cfg=cfg)
            each.append(_Told(instructed))
        else:
            each.append(_as_shown(model, one, f"shown{number}"))
            if one.mix:
                loras[f"shown{number}"] = one.mix
    with attached(model.base.transformer, loras):
        yield each


def _as_shown(model: ConditionedModel, change: ShownChange, name: str) -> _Told:
    """The model as it is shown a change, whose LoRA is attached by this name.

    Raises:
        EditError: its tokens or pictures are none of this model's.
    """
    base, said = model.base, model.condition
    sizes = [("tokens", change.tokens, -1, said.prompt_embeds.shape[-1])]
    if "pooled" in said.extras:
        sizes += [("pooled", change.pooled, -1, said.extras["pooled"].shape[-1])]
    channels = base.latent_shape(base.multiple, base.multiple)[0]
    sizes += [("a reference", picture, 1, channels) for picture in change.references]
    for what, tensor, axis, wanted in sizes:
        if tensor is not None and tensor.shape[axis] != wanted:
            raise EditError(
                f"The shown change {change.name!r} is none of {base.name}: {what}",
                expected=f"{wanted} {'channels' if axis == 1 else 'numbers'}",
                got=f"{tensor.shape[axis]}",
                next_step="Make it again with the model that it is used on",
            )
    beside = tuple(
        picture.to(base.device, said.prompt_embeds.dtype) for picture in change.references
    )
    if change.prompt:
        (said,) = each_condition(base, [change.prompt])
    condition = told(said, change.tokens, change.pooled)
    return _Told(replace(model, condition=condition), beside, name if change.mix else None)
