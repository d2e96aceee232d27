"""``pairedit bench basis``: does the basis find the right edit, and how good is its answer?

Analogies are made of held-out faces: a and a′ are drawn without and with a change, b is another
face, and its true b′ is drawn too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.bench import basis_scale
from pairedit_sdk.bench.basis_scale import COUNTS
from pairedit_sdk.bench.edit_types import EDIT_TYPES, combined, held_out, training_pairs
from pairedit_sdk.bench.trained_edits import learned, plain_mean
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.images import metrics
from pairedit_sdk.images.image import to_tensor

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.builtin.faces.example_pairs import Example
    from pairedit_sdk.models.protocol import FlowModel

EDITS = (
    "glasses", "lipstick", "earrings", "freckles", "hat", "smile", "chubby", "age", "hair-color",
    "background",
)  # fmt: skip
FOREIGN = ("sketch", "night", "eye-size", "nose")
DOUBLES = (("glasses", "smile"), ("hat", "lipstick"), ("chubby", "earrings"), ("age", "background"))
ROUTERS = ("unfitted", "fitted", "velocity", "nearest", "uniform")
#: From here on in the split of held-out faces, those that are shown as a and a′.
SHOWN_FROM = 2000


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        edits: in the basis, keys of ``EDIT_TYPES``.
        foreign: not in it, asked all the same.
        doubles: two edits of the basis that one analogy shows.
        seeds: how many; each learns the edits from faces of its own.
        asked: analogies per edit whose choice is looked at.
        answered: how many of them are also answered with a picture.
        recipe: what the edits are learned with.
        counts: numbers of edits for which the time of an answer is measured.
    """

    edits: Sequence[str] = EDITS
    foreign: Sequence[str] = FOREIGN
    doubles: Sequence[tuple[str, str]] = DOUBLES
    seeds: int = 3
    asked: int = 24
    answered: int = 8
    recipe: str = "mini-kontext"
    counts: Sequence[int] = COUNTS

    @property
    def parts(self) -> int:
        """How often :func:`run` reports."""
        each = 2 * len(self.edits) + len(self.foreign) + len(self.doubles)
        return self.seeds * each + len(self.counts)


SMALL = Plan(
    edits=("glasses", "hat", "smile", "hair-color"), foreign=("sketch",),
    doubles=(("glasses", "smile"),), seeds=1, asked=8, answered=2, counts=(10, 1_000),
)  # fmt: skip


@dataclass(frozen=True)
class _Analogy:
    a: Image.Image
    a_prime: Image.Image
    b: Image.Image
    b_prime: Image.Image


def analogies(example: Example, count: int) -> list[_Analogy]:
    """Analogies that show this change, of faces that no edit was learned from."""
    shown, asked = held_out(example, count, SHOWN_FROM), held_out(example, count)
    return [
        _Analogy(a.draw(), a_prime.draw(), b.draw(), b_prime.draw())
        for (a, a_prime), (b, b_prime) in zip(shown, asked, strict=True)
    ]


def run(
    model: FlowModel, plan: Plan, on_part: Callable[[str], None] = lambda note: None
) -> dict[str, Any]:
    """Fill a basis for every seed and ask it.

    Args:
        model: a built-in model, see :func:`.trained_edits.model_for`.
        plan: what to do.
        on_part: called after every edit learned and every edit asked for.

    Returns:
        ``summary``: for each router ``selection``, the share of analogies whose right edit has the
        largest coefficient, and edit accuracy of the answers: ``accuracy``, the mean, and
        ``pooled``, see :func:`.metrics.pooled_accuracy`; of ``unfitted`` and ``velocity`` also
        ``accuracy_two`` and ``pooled_two``, for analogies that show two edits; the same figures of
        ``named``, where the right edits are named by hand at scale 1; and ``refused``: the shares
        of analogies that the basis says it does not know, of its own edits, of foreign ones and of
        two at once.
        ``rows``: the same by seed and edit. ``scale``: see :mod:`.basis_scale`.
    """
    # First, as it takes least: what fails should fail at once.
    scale = basis_scale.measure(plan.counts, on_part)
    rows: list[dict[str, Any]] = []
    for seed in range(plan.seeds):
        drawer = learned(model, plan.edits, seed, plan.recipe, on_edit=on_part)
        with tempfile.TemporaryDirectory() as folder:
            basis = EditBasis.open(folder)
            for name, edit in drawer.items():
                basis.place(edit, training_pairs(name, seed=seed))
            rows += _asked(model, plan, basis, drawer, seed, on_part)
    return {"summary": summary(rows), "rows": rows, "scale": scale}


class _Routers:
    """Every way to choose, as a function from an analogy to edits with their strengths."""

    def __init__(self, model: FlowModel, basis: EditBasis, drawer: Mapping[str, Edit]) -> None:
        self.base, self.basis, self.drawer = model, basis, drawer
        self.unfitted = basis.index
        basis.fit()
        self.fitted = basis.index
        self.pairs = {name: basis.embeddings(name)[:, 0] for name in drawer}

    def ask(self, router: str, analogy: _Analogy) -> dict[str, float]:
        """The coefficients of every edit in the mix."""
        if router == "uniform":
            return dict.fromkeys(self.drawer, 1 / len(self.drawer))
        if router == "velocity":
            route = self.basis.route_by_velocity(self.base, analogy.a, analogy.a_prime)
            return route.coefficients
        given = self.basis.embed(analogy.a, analogy.a_prime, analogy.b)
        if router == "nearest":
            return {self._nearest(given): 1.0}
        index = self.fitted if router == "fitted" else self.unfitted
        return self.basis.mix(index, given).coefficients

    def known(self, analogy: _Analogy) -> bool:
        """Whether the basis takes the analogy for one of its own."""
        given = self.basis.embed(analogy.a, analogy.a_prime, analogy.b)
        return self.basis.mix(self.unfitted, given).known

    def _nearest(self, given: torch.Tensor) -> str:
        """The edit that has the pair whose difference is most like the analogy's."""
        before, after, _ = given.chunk(3)
        likeness = {
            name: float(
                torch.cosine_similarity(pairs[:, 1] - pairs[:, 0], (after - before)[None]).max()
            )
            for name, pairs in self.pairs.items()
        }
        return max(likeness, key=likeness.__getitem__)


def _asked(
    model: FlowModel,
    plan: Plan,
    basis: EditBasis,
    drawer: Mapping[str, Edit],
    seed: int,
    on_part: Callable[[str], None],
) -> list[dict[str, Any]]:
    routers = _Routers(model, basis, drawer)
    rows: list[dict[str, Any]] = []

    def row(edit: str, router: str, **figures: float) -> None:
        rows.append({"seed": seed, "edit": edit, "router": router, **figures})

    for name in plan.edits:
        asked = analogies(EDIT_TYPES[name].example, plan.asked)
        for router in ROUTERS:
            mixes = [routers.ask(router, analogy) for analogy in asked]
            chosen = [_chosen(mix, name) for mix in mixes]
            accuracy = _accuracy(model, drawer, asked[: plan.answered], mixes, seed)
            row(name, router, selection=plain_mean(chosen), **accuracy)
        named = [{name: 1.0}] * plan.answered
        accuracy = _accuracy(model, drawer, asked[: plan.answered], named, seed)
        row(name, "named", selection=1.0, **accuracy)
        row(name, "refused", own=plain_mean([float(not routers.known(q)) for q in asked]))
        on_part(f"{name} asked")
    for name in plan.foreign:
        asked = analogies(EDIT_TYPES[name].example, plan.asked)
        row(name, "refused", foreign=plain_mean([float(not routers.known(q)) for q in asked]))
        on_part(f"{name} asked")
    for pair in plan.doubles:
        names = " + ".join(pair)
        asked = analogies(combined(pair), plan.answered)
        for router in ("unfitted", "velocity", "named"):
            if router == "named":
                mixes = [dict.fromkeys(pair, 1.0)] * len(asked)
            else:
                mixes = [routers.ask(router, analogy) for analogy in asked]
            both = [float(set(sorted(m, key=m.__getitem__)[-2:]) == set(pair)) for m in mixes]
            accuracy = _accuracy(model, drawer, asked, mixes, seed, "_two")
            row(names, router, selection_two=plain_mean(both), **accuracy)
        row(names, "refused", two=plain_mean([float(not routers.known(q)) for q in asked]))
        on_part(f"{names} asked")
    return rows


def _chosen(mix: Mapping[str, float], name: str) -> float:
    """Whether ``name`` has the largest coefficient; its chance, where several have."""
    largest = [edit for edit, scale in mix.items() if scale == max(mix.values())]
    return float(name in largest) / len(largest)


@torch.no_grad()
def _accuracy(
    model: FlowModel,
    drawer: Mapping[str, Edit],
    asked: Sequence[_Analogy],
    mixes: Sequence[Mapping[str, float]],
    seed: int,
    suffix: str = "",
) -> dict[str, float]:
    """Edit accuracy of each b edited with its analogy's own mix: the mean, and of all as one."""
    b, b_prime = (
        torch.cat([to_tensor(getattr(q, side)) for q in asked]) for side in ("b", "b_prime")
    )
    x, wanted = model.encode(b).float(), model.decode(model.encode(b_prime).float()).cpu()
    stacks = [EditStack([(drawer[name], s) for name, s in mix.items()]) for mix in mixes]
    edited = [
        edit_latents(model, row[None], stack, seed=seed)
        for row, stack in zip(x, stacks, strict=False)
    ]
    out, rb = model.decode(torch.cat(edited)).cpu(), model.decode(x).cpu()
    compared = (out, rb, wanted, metrics.edit_mask(b, b_prime))
    return {
        f"accuracy{suffix}": float(metrics.edit_accuracy(*compared).nanmean()),
        f"pooled{suffix}": metrics.pooled_accuracy(*compared),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Means over edits and seeds, by router."""
    result: dict[str, dict[str, float]] = {}
    known = ("seed", "edit", "router")
    for router in dict.fromkeys(row["router"] for row in rows):
        own = [row for row in rows if row["router"] == router]
        figures = dict.fromkeys(f for row in own for f in row if f not in known)
        result[router] = {f: plain_mean([row[f] for row in own if f in row]) for f in figures}
    return result
