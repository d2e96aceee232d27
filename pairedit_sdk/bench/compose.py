"""``pairedit bench compose``: what is left of an edit when others act with it.

Every combination is drawn with all its changes at once, so the true result is known. Each edit is
learned once per seed and used at scale 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.bench.edit_types import EDIT_TYPES, combined, held_out
from pairedit_sdk.bench.fidelity import Drawing
from pairedit_sdk.bench.trained_edits import learned, plain_mean
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.editing.composition import MODES
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.images import metrics
from pairedit_sdk.images.image import to_tensor

if TYPE_CHECKING:
    from pairedit_sdk.builtin.faces.attribute_classifier import AttributeClassifier
    from pairedit_sdk.builtin.faces.face import Face
    from pairedit_sdk.models.protocol import FlowModel

COMBINATIONS: tuple[tuple[str, ...], ...] = (
    ("glasses", "smile"),
    ("hat", "lipstick"),
    ("earrings", "hair-color"),
    ("chubby", "freckles"),
    ("age", "glasses"),
    ("background", "smile"),
    ("glasses", "smile", "hat"),
    ("lipstick", "earrings", "hair-color"),
    ("freckles", "chubby", "background"),
    ("age", "glasses", "earrings"),
)
#: Figures of one combination in one mode.
FIGURES = (
    "accuracy",
    "accuracy_pooled",
    "kept",
    "success",
    "all_succeed",
    "preservation_db",
    "preservation_lost_db",
    "preservation_lost_least_db",
    "order_db",
    "edit_seconds",
)
SHOWN = 6


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        combinations: of keys of ``EDIT_TYPES``.
        modes: of composition.
        seeds: how many; each learns the edits from faces of its own.
        faces: held-out faces per combination.
        recipe: what the edits are learned with.
        output: folder of the collages; nothing is drawn without it.
    """

    combinations: Sequence[Sequence[str]] = COMBINATIONS
    modes: Sequence[str] = MODES
    seeds: int = 3
    faces: int = 24
    recipe: str = "mini-kontext"
    output: Path | None = None

    @property
    def edits(self) -> list[str]:
        """Every edit that is needed."""
        return list(dict.fromkeys(name for names in self.combinations for name in names))

    @property
    def parts(self) -> int:
        """How often :func:`run` reports."""
        return self.seeds * (len(self.edits) + len(self.combinations))


SMALL = Plan(combinations=(("glasses", "smile"), ("glasses", "smile", "hat")), seeds=1, faces=8)


@dataclass(frozen=True)
class Row:
    """One combination in one mode; means over faces.

    Attributes:
        edits: the combination.
        mode: of composition.
        seed: of the edits.
        accuracy: edit accuracy against the face with all changes, where any of them shows.
        accuracy_alone: mean of each edit's accuracy by itself.
        accuracy_pooled: of all faces as one, see :func:`.metrics.pooled_accuracy`.
        kept: each edit's pooled accuracy with the others, where it shows itself, as a share of
            what it has alone; mean over the edits.
        success: share of the changes that the classifier finds.
        success_alone: the same for each edit by itself.
        all_succeed: share of faces with every change.
        preservation_db: outside of all changes.
        preservation_alone_db: mean of each edit by itself, outside of its own change.
        preservation_lost_db: the difference.
        preservation_lost_least_db: the same against the edit that preserves least by itself: what
            one edit changes too much, no other can put right.
        order_db: PSNR between the edits in this order and in the opposite one.
        edit_seconds: per picture.
    """

    edits: tuple[str, ...]
    mode: str
    seed: int
    accuracy: float
    accuracy_alone: float
    accuracy_pooled: float
    kept: float
    success: float
    success_alone: float
    all_succeed: float
    preservation_db: float
    preservation_alone_db: float
    preservation_lost_db: float
    preservation_lost_least_db: float
    order_db: float
    edit_seconds: float


def run(
    model: FlowModel, plan: Plan, on_part: Callable[[str], None] = lambda note: None
) -> dict[str, Any]:
    """Learn the edits and score every combination in every mode.

    Args:
        model: a built-in model, see :func:`.trained_edits.model_for`.
        plan: what to do.
        on_part: called after every edit learned and every combination scored.

    Returns:
        ``rows``, and ``summary``: by mode, each of :data:`FIGURES` with the number of edits
        appended (``accuracy_2``), and ``accuracy_1``, ``success_1``, ``preservation_db_1``.
    """
    classifier = load_attribute_classifier()
    rows: list[Row] = []
    for seed in range(plan.seeds):
        drawer = learned(model, plan.edits, seed, plan.recipe, on_edit=on_part)
        for names in plan.combinations:
            rows += _score(model, plan, tuple(names), seed, drawer, classifier)
            on_part(" + ".join(names))
    return {"summary": summary(rows), "rows": [asdict(row) for row in rows]}


class _Truth:
    """The held-out faces of a combination: before, with each change, and with all of them."""

    def __init__(self, model: FlowModel, names: Sequence[str], count: int) -> None:
        faces = held_out(combined(names), count)
        drawn = _drawn([before for before, _ in faces])
        self.x = model.encode(drawn).float()
        self.rb = model.decode(self.x).cpu()
        self.all, self.mask = self._after(model, drawn, [after for _, after in faces])
        alone = {n: [EDIT_TYPES[n].example.pair(before)[1] for before, _ in faces] for n in names}
        self.alone = {name: self._after(model, drawn, after) for name, after in alone.items()}

    def pooled(self, out: torch.Tensor, name: str) -> float:
        """Pooled accuracy of pictures with all edits, where one of them shows itself."""
        return metrics.pooled_accuracy(out, self.rb, self.all, self.alone[name][1])

    @staticmethod
    def _after(
        model: FlowModel, drawn: torch.Tensor, faces: Sequence[Face]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = _drawn(faces)
        round_trip = model.decode(model.encode(pictures).float()).cpu()
        return round_trip, metrics.edit_mask(drawn, pictures)


def _drawn(faces: Sequence[Face]) -> torch.Tensor:
    return torch.cat([to_tensor(face.draw()) for face in faces])


@torch.no_grad()
def _score(
    model: FlowModel,
    plan: Plan,
    names: tuple[str, ...],
    seed: int,
    drawer: Mapping[str, Edit],
    classifier: AttributeClassifier,
) -> list[Row]:
    truth = _Truth(model, names, plan.faces)
    wanted = {name: dict(EDIT_TYPES[name].example.after) for name in names}
    edits, rows, outs = [drawer[name] for name in names], [], []

    def edited(parts: Sequence[Edit], mode: str) -> torch.Tensor:
        stack = EditStack([(edit, 1.0) for edit in parts])
        return model.decode(edit_latents(model, truth.x, stack, seed=seed, mode=mode)).cpu()

    own, pooled, found, kept_db = {}, {}, {}, {}
    for name, edit in zip(names, edits, strict=True):
        out, (after, mask) = edited([edit], "merged"), truth.alone[name]
        own[name] = _mean(metrics.edit_accuracy(out, truth.rb, after, mask))
        pooled[name] = metrics.pooled_accuracy(out, truth.rb, after, mask)
        found[name] = float(_right(classifier, out, wanted[name]).mean())
        kept_db[name] = _mean(metrics.preservation_db(out, truth.rb, mask))
    nowhere = torch.zeros_like(truth.mask)
    for mode in plan.modes:
        begun = time.perf_counter()
        out = edited(edits, mode)
        seconds = (time.perf_counter() - begun) / plan.faces
        order = _mean(metrics.preservation_db(edited(edits[::-1], mode), out, nowhere))
        shares = [truth.pooled(out, name) / pooled[name] for name in names]
        right = torch.stack([_right(classifier, out, wanted[name]) for name in names])
        alone_db = plain_mean(list(kept_db.values()))
        db = _mean(metrics.preservation_db(out, truth.rb, truth.mask))
        rows.append(
            Row(
                names,
                mode,
                seed,
                _mean(metrics.edit_accuracy(out, truth.rb, truth.all, truth.mask)),
                plain_mean(list(own.values())),
                metrics.pooled_accuracy(out, truth.rb, truth.all, truth.mask),
                plain_mean(shares),
                float(right.mean()),
                plain_mean(list(found.values())),
                float(right.amin(dim=0).mean()),
                db,
                alone_db,
                alone_db - db,
                min(kept_db.values(), default=alone_db) - db,
                order,
                seconds,
            )
        )
        outs.append(out)
    if plan.output is not None and seed == 0:
        picture = plan.output / ("+".join(names) + ".png")
        drawing = Drawing(picture, " + ".join(names), SHOWN)
        drawing.draw([truth.rb, truth.all, *outs], ["b", "truth", *plan.modes])
    return rows


def _right(
    classifier: AttributeClassifier, out: torch.Tensor, wanted: Mapping[str, str]
) -> torch.Tensor:
    """Of every face whether it has all of these attributes, float32 [B]."""
    read = classifier.predict(out)
    return torch.stack([metrics.success(read, name, v) for name, v in wanted.items()]).amin(dim=0)


def _mean(values: torch.Tensor) -> float:
    return float(values.nanmean())


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Means over combinations and seeds, by mode and number of edits."""
    result: dict[str, dict[str, float]] = {}
    for mode in dict.fromkeys(row.mode for row in rows):
        own = [row for row in rows if row.mode == mode]
        result[mode] = {
            "accuracy_1": plain_mean([row.accuracy_alone for row in own]),
            "success_1": plain_mean([row.success_alone for row in own]),
            "preservation_db_1": plain_mean([row.preservation_alone_db for row in own]),
        }
        for count in sorted({len(row.edits) for row in own}):
            these = [row for row in own if len(row.edits) == count]
            for figure in FIGURES:
                values = [getattr(row, figure) for row in these]
                result[mode][f"{figure}_{count}"] = plain_mean(values)
    return result
