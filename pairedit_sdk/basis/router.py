"""The encoder's choice: q = P [E(a), E(a′), E(b)], coefficients softmax(q Kᵀ / τ).

For a user's own edits P starts as the map to E(a′) − E(a), q and the keys have length 1, and key i
is the mean direction of edit i's own pairs. :func:`fit` goes on from there. LoRWeB's learned basis
is the same formula with its own P and K, no normalising, and τ = √d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F

#: Of the unfitted router: a similarity that is higher by this much weighs e times as much.
TEMPERATURE = 0.05
#: Of fitting. A few pairs determine far fewer directions than P has: with steps ten times as long
#: and no weight on leaving the start it unlearns more than it learns (docs/experiments/basis.md).
STEPS, LEARNING_RATE, DRIFT = 300, 5e-4, 1.0


@dataclass(frozen=True)
class Router:
    """P, K and τ. A leading dimension of weights, for keys and projections per adapted weight, may
    stand before all of them.

    Attributes:
        projection: P, [..., d, 3 D].
        keys: K, [..., N, d].
        temperature: τ.
        normalised: whether q and the keys are brought to length 1.
        activation: "softmax", "tanh" of each similarity by itself, or "uniform", 1 / N for all.
    """

    projection: torch.Tensor
    keys: torch.Tensor
    temperature: float = TEMPERATURE
    normalised: bool = True
    activation: str = "softmax"

    def query(self, embeddings: torch.Tensor) -> torch.Tensor:
        """q of the concatenated embeddings [..., 3 D], [..., d]."""
        q = torch.einsum("...dx,...x->...d", self.projection, embeddings)
        return F.normalize(q, dim=-1) if self.normalised else q

    def similarities(self, embeddings: torch.Tensor) -> torch.Tensor:
        """q · k_i, [..., N]."""
        return torch.einsum("...d,...nd->...n", self.query(embeddings), self._compared)

    @cached_property
    def _compared(self) -> torch.Tensor:
        # A large basis has so many keys that bringing them to length 1 is most of an answer's time.
        return F.normalize(self.keys, dim=-1) if self.normalised else self.keys

    def coefficients(self, embeddings: torch.Tensor) -> torch.Tensor:
        """softmax(q Kᵀ / τ), or what else the activation makes of it, [..., N]."""
        scores = self.similarities(embeddings) / self.temperature
        if self.activation == "tanh":
            return scores.tanh()
        if self.activation == "uniform":
            return torch.full_like(scores, 1 / scores.shape[-1])
        return scores.softmax(dim=-1)


def difference_projection(width: int) -> torch.Tensor:
    """The unfitted P = [−1, 1, 0]: of (E(a), E(a′), E(b)) it keeps E(a′) − E(a)."""
    one = torch.eye(width)
    return torch.cat([-one, one, torch.zeros(width, width)], dim=1)


def key_of(pairs: torch.Tensor) -> torch.Tensor:
    """The unfitted key of an edit, [D]: the mean direction E(a′) − E(a) of its pairs [P, 2, D]."""
    directions = F.normalize(pairs[:, 1] - pairs[:, 0], dim=-1)
    return F.normalize(directions.mean(dim=0), dim=0)


def top(coefficients: torch.Tensor, count: int) -> torch.Tensor:
    """The ``count`` largest coefficients, made to sum to what all did; the others are 0."""
    kept = torch.zeros_like(coefficients)
    index = coefficients.topk(min(count, len(coefficients))).indices
    kept[index] = coefficients[index]
    return kept * (coefficients.sum() / kept.sum())


@dataclass(frozen=True)
class Fitted:
    """What fitting came to.

    Attributes:
        router: the better one.
        kept: whether that is the fitted one.
        before: share of left-out pairs for which the unfitted router finds the right edit.
        after: the same for the fitted router.
        asked: how many pairs could be left out.
    """

    router: Router
    kept: bool
    before: float
    after: float
    asked: int


def fit(pairs: Sequence[torch.Tensor], seed: int = 0) -> Fitted:
    """Learn P, K and τ so that every edit's pairs find their own edit.

    How well that carries over is asked of pairs left out, the k-th of every edit at once. An edit
    with one pair is learned from, but cannot be asked.

    Args:
        pairs: for each edit the embeddings of its pairs and of augmented ones, [P, A, 2, D].
        seed: of the draws of b.

    Returns:
        The fitted router if it finds as many of the left-out pairs as the unfitted one, or more,
        and their edits have more of the mix; otherwise the unfitted one.
    """
    start = unfitted(pairs)
    asked = 0
    before, after = _Found(), _Found()
    for fold in range(max(len(own) for own in pairs)):
        left = {i: own[fold, 0] for i, own in enumerate(pairs) if len(own) > 1 and fold < len(own)}
        if not left:
            continue
        rest = [
            torch.cat([own[:fold], own[fold + 1 :]]) if i in left else own
            for i, own in enumerate(pairs)
        ]
        plain = unfitted(rest)
        learned = _learned(plain, rest, seed)
        for i, pair in left.items():
            given = torch.cat([pair[0], pair[1], pair[0]])
            before = before.and_one(plain.coefficients(given), i)
            after = after.and_one(learned.coefficients(given), i)
            asked += 1
    kept = after.right >= before.right and after.log_likelihood > before.log_likelihood
    router = _learned(start, pairs, seed) if kept else start
    share = max(asked, 1)
    return Fitted(router, kept, before.right / share, after.right / share, asked)


@dataclass(frozen=True)
class _Found:
    """How many left-out pairs found their edit, and how clearly: the sum of log coefficients."""

    right: int = 0
    log_likelihood: float = 0.0

    def and_one(self, coefficients: torch.Tensor, right: int) -> _Found:
        return _Found(
            self.right + int(coefficients.argmax() == right),
            self.log_likelihood + float(coefficients[right].clamp(min=1e-12).log()),
        )


def unfitted(pairs: Sequence[torch.Tensor]) -> Router:
    """The router that works from the first edit on; pairs as in :func:`fit`."""
    keys = torch.stack([key_of(own[:, 0]) for own in pairs])
    return Router(difference_projection(keys.shape[1]), keys)


def _learned(start: Router, pairs: Sequence[torch.Tensor], seed: int) -> Router:
    """Cross-entropy on the pairs, with every edit weighing the same, near the start."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.cat([own.flatten(0, 1) for own in pairs])
    labels = torch.cat(
        [torch.full((own.shape[0] * own.shape[1],), i) for i, own in enumerate(pairs)]
    )
    weights = 1 / torch.bincount(labels)[labels].float()
    projection = start.projection.clone().requires_grad_(True)
    keys = start.keys.clone().requires_grad_(True)
    log_temperature = torch.tensor(start.temperature).log().requires_grad_(True)
    optimizer = torch.optim.Adam([projection, keys, log_temperature], lr=LEARNING_RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            b = rows[torch.randint(len(rows), (len(rows),), generator=generator), 0]
            given = torch.cat([rows[:, 0], rows[:, 1], b], dim=1)
            router = replace(start, projection=projection, keys=keys)
            logits = router.similarities(given) / log_temperature.exp()
            losses = F.cross_entropy(logits, labels, reduction="none")
            loss = (losses * weights).sum() / weights.sum()
            left = (projection - start.projection).square().sum()
            loss = loss + DRIFT * (left + (keys - start.keys).square().sum())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return replace(
        start,
        projection=projection.detach(),
        keys=keys.detach(),
        temperature=float(log_temperature.detach().exp()),
    )
