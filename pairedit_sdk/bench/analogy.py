"""``pairedit bench analogy``: do learned bases make changes that no analogy showed them?

What is trained is trained on the same drawn world of changes, for as many steps and with as many
parameters in its LoRAs, and asked about people it has not seen: for changes of the training, and
for three groups of changes that are held out, which are never put together in one figure. Every
trained variant draws b′ with a coarse caption, without words, and without words with another
example, and edits b with and without the caption. The user's own edits are learned by their
recipe, from three pairs for each of the training's changes asked for.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.bench.analogy_answers import by_found_words, own_edits
from pairedit_sdk.bench.analogy_trained import (
    TRAINED,
    WAYS,
    answers,
    asked_way,
    trained,
    variant_settings,
)
from pairedit_sdk.bench.analogy_world import Asked, Change, asked_analogies, world_relations
from pairedit_sdk.builtin.faces.analogies import NEW_FORMS, NEW_THINGS, NEW_VALUES
from pairedit_sdk.edits.guidance import GUIDANCE
from pairedit_sdk.images import metrics
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.half_products import half_products

if TYPE_CHECKING:
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import FlowModel

#: What is not trained on analogies: the model alone without words, with coarse ones and with the
#: whole instruction; words that are found; the user's own edits.
UNTRAINED = ("none", "coarse", "instruction", "words", "own-edits")
VARIANTS = (*UNTRAINED, *TRAINED)
#: Those of the training's changes that are asked for, one of each kind.
ASKED: tuple[Change, ...] = (
    ("glasses", "round"),
    ("hat", "beanie"),
    ("hair_color", "red"),
    ("style", "night"),
    ("beard", "full"),
    ("lipstick", "red"),
    ("mouth", "smiling"),
    ("age", "old"),
)
GROUPS: dict[str, tuple[Change, ...]] = {
    "seen": ASKED,
    "values": NEW_VALUES,
    "things": NEW_THINGS,
    "forms": NEW_FORMS,
}
#: Passes that are timed.
TIMED = 20


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        groups: the changes asked for, by group.
        seeds: how many; each has its own training, and its own noise.
        tasks: of the drawn world that is trained on.
        pairs: people that each of them is shown on.
        asked: analogies of every change that are answered.
        settings: of "both"; the other variants follow from them.
        steps: Euler steps of an answer.
        recipe: what the user's own edits are learned with, three pairs each.
        variants: those to be compared.
        keep: a folder where drawn pictures and trained variants stay, and are found again.
    """

    groups: Mapping[str, Sequence[Change]]
    seeds: int = 3
    tasks: int = 1500
    pairs: int = 4
    asked: int = 3
    settings: BasisSettings = BasisSettings(  # noqa: RUF009  # frozen
        count=8,
        rank=4,
        alpha=32.0,
        key_width=32,
        targets="attention",
        layout="sequence",
        unit_embeddings=True,
        start="difference",
        caption_dropout=0.5,
        on_change=0.5,
        delta_tokens=8,
        lr=2e-3,
        lr_schedule="cosine",
        steps=1000,
        batch=8,
        checkpoint_every=200,
    )
    steps: int = 14
    recipe: str = "mini"
    variants: Sequence[str] = ("none", "coarse", "instruction", "single", "basis", "delta", "both")
    keep: Path | None = None

    @property
    def parts(self) -> int:
        """How often :func:`run` reports."""
        return self.seeds * len(self.variants) + ("basis" in self.variants)


PLAN = Plan(GROUPS)
SMALL = Plan(
    {name: changes[:2] for name, changes in GROUPS.items()},
    seeds=1,
    tasks=40,
    asked=1,
    steps=8,
    settings=PLAN.settings.with_values(count=4, alpha=16.0, steps=40, batch=4),
    variants=("coarse", "single", "basis"),
)


def run(
    model: FlowModel,
    plain: Callable[[], FlowModel],
    plan: Plan,
    on_part: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """Train every variant for every seed and ask it.

    Args:
        model: the built-in Kontext model.
        plain: loads the built-in model, for the user's own edits.
        plan: what to do.
        on_part: called after every variant.

    Returns:
        ``summary``: for each variant, and for those that are trained for each way of asking, the
        figures of each group; ``rows``: the same by seed and change, with the accuracy of every
        analogy in ``each``; ``cost``: of a pass of the model with the mix, as a ratio to one with
        an ordinary LoRA of the same rank, and of mixing.

    Raises:
        UsageError: settings that do not go together in one of the variants.
    """
    own = {v: variant_settings(plan.settings, v, 0) for v in plan.variants if v in TRAINED}
    asked = asked_analogies(plan.groups, plan.asked)
    truth = _Truth(model, asked)
    rows: list[dict[str, Any]] = []
    cost: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if plan.keep is None else plan.keep
        world = partial(world_relations, folder / "world", plan.tasks, plan.pairs)
        for seed in range(plan.seeds):
            for variant in plan.variants:
                if variant in TRAINED:
                    settings = own[variant].with_values(seed=seed)
                    basis = trained(model, world, settings, f"{variant}-{seed}", plan.keep)
                    if variant == "basis" and not cost:
                        cost = _cost(model, basis)
                        on_part("cost")
                    for way in WAYS:
                        outs = asked_way(model, basis, asked, way, steps=plan.steps, seed=seed)
                        about = {"seed": seed, "variant": f"{variant}, {way}"}
                        rows += [{**about, **row} for row in truth.scored(outs)]
                else:
                    outs = _untrained(model, plain, plan, variant, asked, seed)
                    about = {"seed": seed, "variant": variant}
                    rows += [{**about, **row} for row in truth.scored(outs)]
                on_part(f"{variant}, seed {seed}")
    return {"summary": summary(rows), "rows": rows, "cost": cost}


def _untrained(
    model: FlowModel,
    plain: Callable[[], FlowModel],
    plan: Plan,
    variant: str,
    asked: Sequence[Asked],
    seed: int,
) -> torch.Tensor:
    """The answers of what is not trained on analogies."""
    if variant in ("words", "own-edits"):
        with tempfile.TemporaryDirectory() as folder:
            if variant == "words":
                one_by_one = by_found_words(model, seed)
            else:
                seen = plan.groups["seen"]
                one_by_one = own_edits(plain(), seen, plan.recipe, seed, folder)
            return torch.cat([to_tensor(one_by_one(one.analogy)) for one in asked])
    said = {
        "none": ["" for _ in asked],
        "coarse": [one.coarse for one in asked],
        "instruction": [one.analogy.caption for one in asked],
    }[variant]
    # The model alone knows this layout best.
    alone = plan.settings.with_values(layout="alone", delta_tokens=0)
    with half_products(model.transformer, str(model.device)):
        return answers(model, None, asked, said, alone, steps=plan.steps, seed=seed)


class _Truth:
    """What the answers should be, and how near they are."""

    @torch.no_grad()
    def __init__(self, model: FlowModel, asked: Sequence[Asked]) -> None:
        self.asked = asked
        b, b_prime = (
            torch.cat([to_tensor(getattr(one.analogy, side)) for one in asked])
            for side in ("b", "b_prime")
        )
        self.rb, self.wanted = (
            model.decode(model.encode(whole).float()).cpu() for whole in (b, b_prime)
        )
        self.mask = metrics.edit_mask(b, b_prime)

    def scored(self, outs: torch.Tensor) -> Iterator[dict[str, Any]]:
        """The figures of every change."""
        numbers: dict[tuple[str, Change], list[int]] = {}
        for number, one in enumerate(self.asked):
            numbers.setdefault((one.group, one.change), []).append(number)
        for (group, change), own in numbers.items():
            given = (outs[own], self.rb[own], self.wanted[own], self.mask[own])
            accuracy = metrics.edit_accuracy(*given)
            kept = metrics.preservation_db(outs[own], self.rb[own], self.mask[own])
            yield {
                "group": group,
                "change": "=".join(change),
                "each": accuracy.tolist(),
                "accuracy": float(accuracy.nanmean()),
                "pooled": metrics.pooled_accuracy(*given),
                "preservation_db": float(kept.nanmean()),
            }


@torch.no_grad()
def _cost(model: FlowModel, basis: LoRWeBBasis) -> dict[str, float]:
    """Seconds of a pass with the mix and with an ordinary LoRA of its rank, taking turns."""
    query = torch.randn(
        basis.router.projection.shape[-1], generator=torch.Generator().manual_seed(0)
    )
    begun = time.perf_counter()
    mix = basis.mixed(basis.coefficients(query))
    mixing = time.perf_counter() - begun
    plain = {
        name: LoraLayer(torch.randn_like(layer.down), torch.randn_like(layer.up))
        for name, layer in mix.layers.items()
    }
    x = torch.randn(1, *model.latent_shape(model.resolution, model.resolution)).to(model.device)
    condition = replace(model.condition(""), references=(x,) * 3)
    seconds: dict[str, list[float]] = {"mix": [], "single": []}
    for _ in range(TIMED):
        for name, layers in (("mix", mix.layers), ("single", plain)):
            with attached(model.transformer, {name: layers}):
                begun = time.perf_counter()
                # Reading a number waits for a GPU to be done.
                float(model.velocity(x, torch.tensor(0.5), condition, GUIDANCE).sum())
                seconds[name].append(time.perf_counter() - begun)
    one = median(seconds["single"])
    return {
        "pass_ratio": median(seconds["mix"]) / one,
        "pass_seconds": one,
        "mixing_seconds": mixing,
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """By variant and group: means over changes and seeds, and the median over all analogies."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        result.setdefault(row["variant"], {}).setdefault(row["group"], {})
    for variant, groups in result.items():
        for group, figures in groups.items():
            own = [r for r in rows if (r["variant"], r["group"]) == (variant, group)]
            each = [value for row in own for value in row["each"] if value == value]
            figures["accuracy"] = fmean(each) if each else float("nan")
            figures["median"] = median(each) if each else float("nan")
            for name in ("pooled", "preservation_db"):
                known = [row[name] for row in own if row[name] == row[name]]
                figures[name] = fmean(known) if known else float("nan")
    return result
