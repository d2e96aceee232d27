"""How well phrases explain pairs: the flow loss of x_B, given x_A to look at and the phrase.

For a pair, noise levels σ and noises ε, with x_σ = (1 − σ) x_B + σ ε and the model's velocity v,

    L(phrase) = Σ_σ σ² ⟨w (v(x_σ, σ | x_A, phrase) − (ε − x_B))²⟩

σ² (v − …)² is the squared error of the picture that the model sees behind the noise. The weight w
is larger where x_A and x_B differ, as the rest of the picture is there to be copied.

Two bounds make L a share of the change: L of no words explains nothing, and L of no words where x_B
itself is what the model looks at has nothing left to be explained. And with x_A in the place of x_B
L says whether the phrase would rather leave the picture as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.models.protocol import Condition, stacked
from pairedit_sdk.models.tokens import TOKENS, latent_tokens

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.latents import PairLatents

#: Noise levels: at .5 the picture can be seen, at .9 little but the words says what to draw.
LEVELS = (0.9, 0.7, 0.5)
#: What the weight grows by where a pair's difference is at its mean, and where growing ends.
GROWTH, MOST = 4.0, 5.0
#: Most rows of a pass, see :func:`rows_at_once`. On a CPU 12 take .86 of the time of four passes of
#: 3, and 48 no less.
ROWS = 12
#: The level at which every phrase is asked, and how many of the best are asked at the others too.
#: Of 92 phrases and 22 pairs the best three at all levels are among the best 10 at this one.
FIRST, FINALISTS = 0.7, 16
#: Of several pairs the first is asked for all phrases, the others for so many of its best.
SHORTLIST = 24


@dataclass(frozen=True)
class Asked:
    """One question: does this text explain how ``reference`` becomes x_B?

    Attributes:
        text: the phrase, or nothing.
        reference: what the model looks at, [1, C, h, w].
    """

    text: str
    reference: torch.Tensor


def change_weight(x_a: torch.Tensor, x_b: torch.Tensor) -> torch.Tensor:
    """w = 1 + 4 min(|x_B − x_A| / mean, 5), |…| the mean over channels, of mean 1, [1, 1, h, w].

    Args:
        x_a: before, [1, C, h, w].
        x_b: after; where it equals x_A everywhere, w is 1.
    """
    gap = (x_b - x_a).abs().mean(dim=1, keepdim=True)
    weight = 1 + GROWTH * (gap / gap.mean().clamp(min=1e-12)).clamp(max=MOST)
    return weight / weight.mean()


@holding
@torch.no_grad()
def pair_losses(
    model: FlowModel,
    pair: PairLatents,
    questions: Sequence[Asked],
    conditions: Mapping[str, Condition],
    levels: Sequence[float] = LEVELS,
    *,
    guidance: float,
    seed: int,
) -> torch.Tensor:
    """The terms of L for every question, float64 [N, levels] on the CPU; L is their sum.

    Args:
        model: an edit model, without any LoRA attached.
        pair: x_A and x_B.
        questions: all of them get the same noises.
        conditions: of their texts.
        levels: some of :data:`LEVELS`; each has a noise of its own.
        guidance: distilled guidance.
        seed: of the noises.
    """
    x_b, count = pair.x_b, len(levels)
    rows = rows_at_once(model, x_b, *(asked.reference for asked in questions))
    if rows < count:
        alone = [
            pair_losses(model, pair, questions, conditions, [s], guidance=guidance, seed=seed)
            for s in levels
        ]
        return torch.cat(alone, dim=1)
    sigma = torch.tensor(levels, device=x_b.device)
    noise = torch.cat([_noise(x_b, seed, LEVELS.index(level)) for level in levels])
    column = sigma.view(-1, 1, 1, 1)
    states, target = (1 - column) * x_b + column * noise, noise - x_b
    weight = change_weight(pair.x_a, x_b) * column.square()
    found = []
    for part in _parts(questions, max(1, rows // count)):
        asked = len(part)
        v = model.velocity(
            states.repeat(asked, 1, 1, 1),
            sigma.repeat(asked),
            conditions_of(part, conditions, count),
            guidance,
        ).float()
        error = (v - target.repeat(asked, 1, 1, 1)).square() * weight.repeat(asked, 1, 1, 1)
        found.append(error.mean(dim=(1, 2, 3)).view(asked, count).double().cpu())
    return torch.cat(found)


def rows_at_once(model: FlowModel, x: torch.Tensor, *references: torch.Tensor) -> int:
    """Rows that one pass has room for, at least 1 and at most :data:`ROWS`.

    Args:
        model: whose tokens are counted.
        x: latents [1, C, h, w] of what is drawn.
        references: latents of pictures, one of which each row sees beside it.
    """
    drawn, *seen = (latent_tokens(model, one) for one in (x, *references))
    return max(1, min(ROWS, TOKENS // (drawn + max(seen, default=0))))


def _noise(like: torch.Tensor, seed: int, level: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(derive_seed(seed, level))
    return torch.randn(like.shape, generator=generator).to(like.device)


def _parts(questions: Sequence[Asked], size: int) -> Iterator[Sequence[Asked]]:
    for start in range(0, len(questions), size):
        yield questions[start : start + size]


def conditions_of(
    part: Sequence[Asked], conditions: Mapping[str, Condition], rows: int
) -> Condition:
    """The questions' conditions as one, each for ``rows`` rows in a row.

    All of it is where the references are: embeddings that come from disk are on the CPU.
    """
    own = [conditions[asked.text] for asked in part]
    seen = torch.cat([asked.reference.expand(rows, -1, -1, -1) for asked in part])
    said = stacked([one.to(seen.device) for one in own], [rows] * len(own))
    return replace(said, references=(seen,))
