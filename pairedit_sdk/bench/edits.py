"""``pairedit bench edits``: recipes against each other on edits whose true result is known.

Every recipe learns the same edits from the same faces and is scored on the same held-out ones.
The recipe "default" is taken at scale 1, as a user gets it; all others, for each edit, seed and
number of pairs, at the scale that is best on the very faces of the test, which no user could know.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.bench.edit_types import EDIT_TYPES, held_out_faces, training_pairs
from pairedit_sdk.bench.fidelity import Drawing, Fidelity, best_of, measure
from pairedit_sdk.bench.text_editing import text_edit
from pairedit_sdk.bench.trained_edits import plain_mean
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.editing.edit_latents import sweep_latents
from pairedit_sdk.errors import UsageError
from pairedit_sdk.training.config import TrainConfig, load_recipe
from pairedit_sdk.training.trainer import train

if TYPE_CHECKING:
    import torch

    from pairedit_sdk.builtin.faces.attribute_classifier import AttributeClassifier
    from pairedit_sdk.models.protocol import FlowModel

#: What the table calls a recipe, and the recipe's file; words need none.
RECIPES: dict[str, str | None] = {
    "default": "mini",
    "published": "published",
    "A": "ablation-a",
    "B": "ablation-b",
    "C": "ablation-c",
    "plain": "plain",
    "text": None,
}
SCALES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)
TEXT_SCALES: tuple[float, ...] = (0.5, 0.75, 1.0, 1.5)
#: Settings that are the benchmark's own matter.
FIXED = ("seed", "checkpoint_every", "preview_every", "base")
#: The figures of the summary, means over edits and seeds of the row that counts.
FIGURES = (
    "accuracy", "accuracy_pooled", "accuracy_unblurred", "accuracy_std", "success", "leakage",
    "preservation_db", "monotone", "train_seconds", "edit_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        recipes: keys of :data:`RECIPES`, or names or files of other recipes.
        edits: keys of ``EDIT_TYPES``.
        pairs: numbers of training pairs.
        seeds: how many seeds, each with training faces and noise of its own.
        faces: held-out faces per edit.
        settings: ``key=value`` changes to the recipe "default".
        output: folder of the collages, and of ``rows.jsonl``, which grows with every job; nothing
            is written without it.
    """

    recipes: Sequence[str] = tuple(RECIPES)
    edits: Sequence[str] = tuple(EDIT_TYPES)
    pairs: Sequence[int] = (1, 2, 3)
    seeds: int = 3
    faces: int = 24
    settings: Sequence[str] = ()
    output: Path | None = None

    def jobs(self) -> list[Job]:
        """Everything that is to be learned and scored, in order. Words learn from no pairs."""
        return [
            Job(recipe, edit, pairs, seed)
            for edit in self.edits
            for recipe in self.recipes
            for pairs in ((0,) if recipe == "text" else self.pairs)
            for seed in range(self.seeds)
        ]


@dataclass(frozen=True)
class Job:
    """One recipe on one edit; ``pairs`` is 0 where nothing is learned."""

    recipe: str
    edit: str
    pairs: int
    seed: int


#: A few minutes on two cores: one edit of each easy kind, at most three pairs, one seed.
SMALL = Plan(
    recipes=("default", "published", "text"), edits=("glasses", "smile", "hair-color"),
    pairs=(3,), seeds=1, faces=24,
)  # fmt: skip


def run(
    model: FlowModel, plan: Plan, on_job: Callable[[Job, Fidelity], None] = lambda job, row: None
) -> dict[str, Any]:
    """Learn and score everything in the plan.

    Args:
        model: the built-in model.
        plan: what to do.
        on_job: called after every job with its row that counts.

    Returns:
        ``rows``: every job at every scale, with ``counts`` true for the row that the summary
        takes; ``summary``: by recipe, :data:`FIGURES` from the largest number of pairs, and
        ``accuracy_pairs_N`` for each smaller one.
    """
    _check(plan)
    classifier = load_attribute_classifier()
    rows: list[dict[str, Any]] = []
    for job in plan.jobs():
        scored, seconds = _score(model, plan, job, classifier)
        counting = _counting(job.recipe, scored)
        found = [
            {**asdict(job), **asdict(row), "train_seconds": seconds, "counts": row is counting}
            for row in scored
        ]
        rows += found
        if plan.output is not None:
            plan.output.mkdir(parents=True, exist_ok=True)
            with (plan.output / "rows.jsonl").open("a", encoding="utf-8") as log:
                log.writelines(json.dumps(row) + "\n" for row in found)
        on_job(job, counting)
    return {"summary": summary(rows), "rows": rows}


def _check(plan: Plan) -> None:
    """What is misspelt or has no effect is to be known before the first hour.

    Raises:
        UsageError: naming it.
    """
    for recipe in plan.recipes:
        if recipe != "text":
            load_recipe(RECIPES.get(recipe, recipe), plan.settings if recipe == "default" else ())
    if plan.settings and "default" not in plan.recipes:
        raise UsageError(
            "Settings change the recipe default, which is not measured",
            next_step="Add --recipe default, or leave out --set",
        )
    fixed = [s for s in plan.settings if s.partition("=")[0].strip() in FIXED]
    if fixed:
        raise UsageError(f"The benchmark sets {fixed[0].partition('=')[0]} by itself")


def _counting(recipe: str, rows: Sequence[Fidelity]) -> Fidelity:
    if recipe == "default":
        return next(row for row in rows if row.scale == 1.0)
    return best_of(rows)


def _score(
    model: FlowModel, plan: Plan, job: Job, classifier: AttributeClassifier
) -> tuple[list[Fidelity], float]:
    drawing = None
    if plan.output is not None and job.seed == 0 and job.pairs in (0, max(plan.pairs)):
        picture = plan.output / f"{job.edit}-{Path(job.recipe).stem}.webp"
        drawing = Drawing(picture, f"{job.edit}, {job.recipe}")
    faces = held_out_faces(job.edit, plan.faces)
    kind = EDIT_TYPES[job.edit]
    seconds = 0.0
    scales = TEXT_SCALES if job.recipe == "text" else SCALES
    if job.recipe == "text":

        def editor(x: torch.Tensor, scales: Sequence[float]) -> list[torch.Tensor]:
            return [text_edit(model, x, kind.caption, scale, seed=job.seed) for scale in scales]
    else:
        pairs = training_pairs(job.edit, job.pairs, job.seed)
        begun = time.perf_counter()
        edit = train(model, pairs, _config(plan, job), name=job.edit)
        seconds = time.perf_counter() - begun

        def editor(x: torch.Tensor, scales: Sequence[float]) -> list[torch.Tensor]:
            return sweep_latents(model, x, edit, scales, seed=job.seed)

    rows = measure(model, editor, faces, kind.example.changed, scales, classifier, drawing)
    return rows, seconds


def _config(plan: Plan, job: Job) -> TrainConfig:
    settings = plan.settings if job.recipe == "default" else ()
    config = load_recipe(RECIPES.get(job.recipe, job.recipe), settings)
    return config.with_values(seed=job.seed, checkpoint_every=0, preview_every=0)


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Means by recipe over edits, of means over seeds, of the rows that count."""
    result: dict[str, dict[str, float]] = {}
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == recipe and row["counts"]]
        most = max(row["pairs"] for row in own)
        result[recipe] = {
            figure: _mean([row for row in own if row["pairs"] == most], figure)
            for figure in (*FIGURES, "scale")
        }
        for pairs in sorted({row["pairs"] for row in own} - {most}):
            of_these = [row for row in own if row["pairs"] == pairs]
            result[recipe][f"accuracy_pairs_{pairs}"] = _mean(of_these, "accuracy")
    return result


def _mean(rows: Sequence[Mapping[str, Any]], figure: str) -> float:
    edits = dict.fromkeys(row["edit"] for row in rows)
    means = [plain_mean([row[figure] for row in rows if row["edit"] == edit]) for edit in edits]
    return plain_mean(means)
