"""What the two branches are taught: one function an objective, each from noised rows to losses.

The formulae are in :mod:`pairedit_sdk.flow.losses`; here is which velocities they need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.losses import (
    Losses,
    content_loss,
    difference_target,
    flowedit_state,
    flowedit_target,
    guidance_target,
    linear_progress,
    semantic_loss,
    slider_loss,
)
from pairedit_sdk.flow.schedule import Noised

if TYPE_CHECKING:
    from pairedit_sdk.training.branches import Branches


@dataclass(frozen=True)
class Rows:
    """Rows of a draw, all of one size.

    Attributes:
        x_a: latents before, [B, C, H, W].
        x_b: latents after.
        sigma: noise levels, [B].
        noise: ε, [B, C, H, W].
        place: where a state of "flowedit" lies between the one furthest behind and the one
            furthest ahead, 0 to 1, [B].
    """

    x_a: torch.Tensor
    x_b: torch.Tensor
    sigma: torch.Tensor
    noise: torch.Tensor
    place: torch.Tensor


Objective = Callable[["Branches", Rows], Losses]


def published_guidance(branches: Branches, rows: Rows) -> Losses:
    """PairEdit's L_c (Eq. 3) and L_s with the target β ε + η (x_A − x_B) (Eq. 10)."""
    noised = branches.noised(rows.x_a, rows)
    content, (v,) = _velocities(branches, rows, noised, [noised.x], [1.0])
    target = guidance_target(noised, rows.x_a, rows.x_b, branches.config.eta)
    return Losses(_content(content, noised), semantic_loss(v, target))


def difference(branches: Branches, rows: Rows) -> Losses:
    """L_c, and L_s with the target sg[v] + η (x_A − x_B).

    v is the content branch's velocity, or the plain model's where there is no content LoRA.
    """
    noised = branches.noised(rows.x_a, rows)
    plain = None if branches.config.content_lora else branches.plain(noised.x, rows.sigma, rows.x_a)
    content, (v,) = _velocities(branches, rows, noised, [noised.x], [1.0])
    reference = content if plain is None else plain
    assert reference is not None
    target = difference_target(reference, rows.x_a, rows.x_b, branches.config.eta)
    return Losses(_content(content, noised), semantic_loss(v, target))


def flowedit(branches: Branches, rows: Rows) -> Losses:
    """At states that FlowEdit visits between x_A and x_B, the velocity that leads to x_B.

    ``lag`` and ``lead`` spread the states around linear progress. The semantic LoRA alone is
    trained.
    """
    config, x_a, x_b, sigma = branches.config, rows.x_a, rows.x_b, rows.sigma
    noised = branches.noised(x_a, rows)
    linear = linear_progress(sigma, float(branches.levels(x_a)[0]))
    behind, ahead = config.lag * linear, config.lead * (1 - linear)
    progress = linear - behind + rows.place * (behind + ahead)
    target = flowedit_target(branches.plain(noised.x, sigma, x_a), x_a, x_b, sigma, progress)
    (v,) = branches.velocities([flowedit_state(noised, x_a, x_b, progress)], sigma, [1.0], x_a)
    # σ² (v − target)² is the squared error of the picture that the model sees.
    return Losses(_zero(v), semantic_loss(v, target, sigma.square()))


def slider(branches: Branches, rows: Rows) -> Losses:
    """Ablation A, visual Concept Sliders: +θ_s fits the after image, −θ_s the before image."""
    noised = branches.noised(rows.x_a, rows)
    noised_b = branches.noised(rows.x_b, rows)
    states, signs = [noised_b.x, noised.x], [1.0, -1.0]
    content, (plus, minus) = _velocities(branches, rows, noised, states, signs)
    return Losses(_content(content, noised), slider_loss(plus, minus, noised_b, noised))


def reconstruction(branches: Branches, rows: Rows) -> Losses:
    """A plain LoRA of the after images: the flow-matching loss ‖v − (ε − x_B)‖²."""
    noised = branches.noised(rows.x_b, rows)
    (v,) = branches.velocities([noised.x], rows.sigma, [1.0], rows.x_a)
    return Losses(_zero(v), semantic_loss(v, noised.velocity))


#: By the names of :data:`pairedit_sdk.training.config.OBJECTIVES`.
OBJECTIVES: dict[str, Objective] = {
    "pairedit": published_guidance,
    "difference": difference,
    "slider": slider,
    "reconstruction": reconstruction,
    "flowedit": flowedit,
}


def _velocities(
    branches: Branches,
    rows: Rows,
    noised: Noised,
    states: Sequence[torch.Tensor],
    signs: Sequence[float],
) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """The content branch's velocity at ``noised``, if it is trained, and the semantic one's at
    each of ``states``; all in one pass, content rows first."""
    if not branches.config.content_lora:
        return None, branches.velocities([*states], rows.sigma, [*signs], rows.x_a)
    content, *semantic = branches.velocities(
        [noised.x, *states], rows.sigma, [0.0, *signs], rows.x_a
    )
    return content, semantic


def _content(velocity: torch.Tensor | None, noised: Noised) -> torch.Tensor:
    return _zero(noised.x) if velocity is None else content_loss(velocity, noised)


def _zero(like: torch.Tensor) -> torch.Tensor:
    return torch.zeros((), device=like.device)
