"""``pairedit bench edits``: recipes against each other on edits whose true result is known.

Every recipe learns the same edits from the same faces and is scored on the same held-out ones.
Each learns on the built-in model that it is meant for; the faces and the classifier are the same.
The recipe "default" is taken at scale 1, as a user gets it; all others, for each edit, seed and
number of pairs, at the scale that is best on the very faces of the test, which no user could know,
unless the plan says that every recipe is taken at scale 1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.bench.edit_types import EDIT_TYPES, held_out_faces, training_pairs
from pairedit_sdk.bench.fidelity import Drawing, Editor, Fidelity, Truth, best_of, measure, truth_of
from pairedit_sdk.bench.text_editing import instruction_edit, text_edit
from pairedit_sdk.bench.trained_edits import model_for, plain_mean, plain_median
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.editing.edit_latents import sweep_latents
from pairedit_sdk.errors import UsageError
from pairedit_sdk.models.folders import BUILT_IN
from pairedit_sdk.training.config import TrainConfig, load_recipe
from pairedit_sdk.training.trainer import train

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

#: What the table calls a recipe, and the recipe's file, which says on what model it learns; words
#: need none.
RECIPES: dict[str, str | None] = {
    "default": "mini-kontext",
    "plain-model": "mini",
    "published": "published",
    "A": "ablation-a",
    "B": "ablation-b",
    "C": "ablation-c",
    "plain": "plain",
    "seeing-plain": "kontext-plain",
    "text": None,
    "instruction": None,
}
#: The model that words are given to.
WORDS = {"text": "mini", "instruction": "mini-kontext"}
SCALES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)
TEXT_SCALES: tuple[float, ...] = (0.5, 0.75, 1.0, 1.5)
INSTRUCTION_SCALES: tuple[float, ...] = (0.5, 0.75, 1.0, 1.2, 1.4)
#: Settings that are the benchmark's own matter.
FIXED = ("seed", "checkpoint_every", "preview_every", "base")
#: The figures of the summary, means over edits and seeds of the row that counts.
FIGURES = (
    "accuracy", "accuracy_median", "accuracy_pooled", "accuracy_unblurred", "accuracy_std",
    "progress", "remaining_error", "success", "success_share", "leakage", "excess_leakage",
    "preservation_db", "monotone", "train_seconds", "edit_seconds",
)  # fmt: skip
#: Figures of the summary whose median over edits stands beside their mean, as one failed edit can
#: outweigh many.
MEDIANS = (
    "accuracy", "accuracy_pooled", "progress", "remaining_error", "success_share",
    "excess_leakage", "preservation_db",
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
        at_one: every recipe counts at scale 1, with its own gain, and none at its best scale.
        output: folder of the collages, and of ``rows.jsonl``, which grows with every job; nothing
            is written without it.
    """

    recipes: Sequence[str] = tuple(RECIPES)
    edits: Sequence[str] = tuple(EDIT_TYPES)
    pairs: Sequence[int] = (1, 2, 3)
    seeds: int = 3
    faces: int = 24
    settings: Sequence[str] = ()
    at_one: bool = False
    output: Path | None = None

    def jobs(self) -> list[Job]:
        """Everything that is to be learned and scored, in order. Words learn from no pairs."""
        return [
            Job(recipe, edit, pairs, seed)
            for edit in self.edits
            for recipe in self.recipes
            for pairs in ((0,) if recipe in WORDS else self.pairs)
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
    load: Callable[[str], FlowModel],
    plan: Plan,
    on_job: Callable[[Job, Fidelity], None] = lambda job, row: None,
) -> dict[str, Any]:
    """Learn and score everything in the plan.

    Args:
        load: gives a built-in model by its name; each is loaded when it is first needed, and kept.
        plan: what to do.
        on_job: called after every job with its row that counts.

    Returns:
        ``rows``: every job at every scale, with the ``model``, and ``counts`` true for the row that
        the summary takes; ``summary``: by recipe, :data:`FIGURES` from the largest number of pairs,
        :data:`MEDIANS` as ``NAME_edit_median``, and ``accuracy_pairs_N`` for each smaller number.
    """
    _check(plan)
    bench = _Bench(load, plan)
    rows: list[dict[str, Any]] = []
    for job in plan.jobs():
        scored, seconds = bench.score(job)
        counting = _counting(plan, job, scored)
        more = {"model": _model_name(job.recipe), "train_seconds": seconds}
        found = [
            {**asdict(job), **asdict(row), **more, "counts": row is counting} for row in scored
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
        if recipe not in WORDS:
            load_recipe(RECIPES.get(recipe, recipe), plan.settings if recipe == "default" else ())
    if plan.settings and "default" not in plan.recipes:
        raise UsageError(
            "Settings change the recipe default, which is not measured",
            next_step="Add --recipe default, or leave out --set",
        )
    fixed = [s for s in plan.settings if s.partition("=")[0].strip() in FIXED]
    if fixed:
        raise UsageError(f"The benchmark sets {fixed[0].partition('=')[0]} by itself")


def _counting(plan: Plan, job: Job, rows: Sequence[Fidelity]) -> Fidelity:
    if plan.at_one or job.recipe == "default":
        return next(row for row in rows if row.scale == 1.0)
    return best_of(rows)


def _model_name(recipe: str) -> str:
    return WORDS.get(recipe) or model_for(RECIPES.get(recipe) or recipe)


class _Bench:
    """What the jobs of one run share: models, the classifier, and the truth of an edit's faces.

    Args:
        load: gives a built-in model by its name.
        plan: what is measured.
    """

    def __init__(self, load: Callable[[str], FlowModel], plan: Plan) -> None:
        self.plan = plan
        self.model = cache(load)
        classifier = load_attribute_classifier()

        # Jobs come edit by edit, so that no more than one edit's faces are kept for each model.
        @lru_cache(maxsize=len(BUILT_IN))
        def truth(edit: str, model: str) -> Truth:
            changed = EDIT_TYPES[edit].example.changed
            return truth_of(
                self.model(model), held_out_faces(edit, plan.faces), changed, classifier
            )

        self.truth = truth

    def score(self, job: Job) -> tuple[list[Fidelity], float]:
        """A row for every scale, and how many seconds were spent on learning."""
        plan, drawing = self.plan, None
        if plan.output is not None and job.seed == 0 and job.pairs in (0, max(plan.pairs)):
            picture = plan.output / f"{job.edit}-{Path(job.recipe).stem}.webp"
            drawing = Drawing(picture, f"{job.edit}, {job.recipe}")
        name = _model_name(job.recipe)
        model = self.model(name)
        begun = time.perf_counter()
        editor, scales = _editor(model, plan, job)
        seconds = 0.0 if job.recipe in WORDS else time.perf_counter() - begun
        return measure(model, editor, self.truth(job.edit, name), scales, drawing), seconds


def _editor(model: FlowModel, plan: Plan, job: Job) -> tuple[Editor, Sequence[float]]:
    """What the job is scored with, once it has been learned, and at which scales."""
    kind = EDIT_TYPES[job.edit]
    if job.recipe == "text":
        return (
            lambda x, scales: [
                text_edit(model, x, kind.caption, scale, seed=job.seed) for scale in scales
            ],
            TEXT_SCALES,
        )
    if job.recipe == "instruction":
        return (
            lambda x, scales: instruction_edit(model, x, kind.instruction, scales, seed=job.seed),
            INSTRUCTION_SCALES,
        )
    pairs = training_pairs(job.edit, job.pairs, job.seed)
    edit = train(model, pairs, _config(plan, job), name=job.edit)
    return lambda x, scales: sweep_latents(model, x, edit, scales, seed=job.seed), SCALES


def _config(plan: Plan, job: Job) -> TrainConfig:
    settings = plan.settings if job.recipe == "default" else ()
    config = load_recipe(RECIPES.get(job.recipe, job.recipe), settings)
    return config.with_values(seed=job.seed, checkpoint_every=0, preview_every=0)


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Means and medians by recipe over edits, of means over seeds, of the rows that count."""
    result: dict[str, dict[str, float]] = {}
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == recipe and row["counts"]]
        most = max(row["pairs"] for row in own)
        counted = [row for row in own if row["pairs"] == most]
        result[recipe] = {
            figure: plain_mean(_by_edit(counted, figure)) for figure in (*FIGURES, "scale")
        }
        for figure in MEDIANS:
            result[recipe][f"{figure}_edit_median"] = plain_median(_by_edit(counted, figure))
        for pairs in sorted({row["pairs"] for row in own} - {most}):
            of_these = [row for row in own if row["pairs"] == pairs]
            result[recipe][f"accuracy_pairs_{pairs}"] = plain_mean(_by_edit(of_these, "accuracy"))
    return result


def _by_edit(rows: Sequence[Mapping[str, Any]], figure: str) -> list[float]:
    """The mean over seeds for each edit."""
    edits = dict.fromkeys(row["edit"] for row in rows)
    return [plain_mean([row[figure] for row in rows if row["edit"] == edit]) for edit in edits]
