"""How faithful an edit is on faces whose true result can be drawn.

Nothing in here knows how the edit was learned or how it is applied: an editor is a function from
latents and scales to latents.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.builtin.faces.attribute_classifier import seen_attributes
from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.images import metrics
from pairedit_sdk.images.files import write_image
from pairedit_sdk.images.image import to_image, to_tensor
from pairedit_sdk.images.plots import collage

if TYPE_CHECKING:
    from pairedit_sdk.builtin.faces.attribute_classifier import AttributeClassifier
    from pairedit_sdk.models.protocol import FlowModel

#: Latents [B, C, h, w] of before pictures, and scales, to latents of that shape for each scale.
Editor = Callable[[torch.Tensor, Sequence[float]], Sequence[torch.Tensor]]
#: Pictures whose editing is timed.
TIMED = 4


@dataclass(frozen=True)
class Fidelity:
    """One edit at one scale, means over held-out faces; see :mod:`.metrics`.

    What the truth itself scores is a ceiling: no editor can do better than the autoencoder shows,
    and the classifier reads some true edits wrong.

    Attributes:
        scale: the edit's strength.
        accuracy: edit accuracy, 1 is the true edit.
        accuracy_std: its standard deviation between faces.
        accuracy_median: its median over faces, which a few faces with next to nothing to change
            cannot pull down.
        accuracy_pooled: of all faces as one, see :func:`.metrics.pooled_accuracy`.
        accuracy_unblurred: the same without the blur.
        progress: p, how far the edit went; 1 is as far as the truth. It can be mended by gain.
        remaining_error: e, what else is wrong, as a share of the true change; 0 is nothing. On
            each face accuracy is 1 − (1 − p)² − e², of these means it is not.
        success: share of faces with every changed attribute as it should be, 0 … 1.
        success_share: success as a share of the truth's, above 1 where the classifier finds the
            edit more often than the true one; NaN where it never finds the true one.
        truth_success: the truth's success.
        leakage: share of the other attributes that changed, 0 … 1.
        excess_leakage: leakage less the truth's; below 0 where the truth changes more.
        truth_leakage: the truth's leakage.
        preservation_db: PSNR outside the true edit's area.
        monotone: of the editor, not of this scale: the share of all steps from 0 over the scales
            up to 1, on all faces, in which accuracy did not fall by more than 0.02.
        edit_seconds: per picture, of editing a few together at one scale and decoding them.
    """

    scale: float
    accuracy: float
    accuracy_std: float
    accuracy_median: float
    accuracy_pooled: float
    accuracy_unblurred: float
    progress: float
    remaining_error: float
    success: float
    success_share: float
    truth_success: float
    leakage: float
    excess_leakage: float
    truth_leakage: float
    preservation_db: float
    monotone: float
    edit_seconds: float


@dataclass(frozen=True, eq=False)
class Truth:
    """Held-out faces, their true edit, and what that scores by itself after the autoencoder.

    Attributes:
        faces: (before, true after), B of them.
        changed: the attributes that the edit sets.
        classifier: reads attributes for success and leakage.
        x: latents of the faces before, [B, C, h, w].
        rb: their round trip r(b), [B, 3, H, W] in −1 … 1, on the CPU.
        rb_true: that of the faces truly after, r(b′).
        mask: M, boolean [B, 1, H, W].
        reading: the classifier's, of r(b).
        success: of r(b′), 0 … 1.
        leakage: of r(b′), 0 … 1.
    """

    faces: Sequence[tuple[Face, Face]]
    changed: Sequence[str]
    classifier: AttributeClassifier
    x: torch.Tensor
    rb: torch.Tensor
    rb_true: torch.Tensor
    mask: torch.Tensor
    reading: metrics.Reading
    success: float
    leakage: float


@dataclass(frozen=True)
class Drawing:
    """A collage to be drawn.

    Attributes:
        path: where it goes.
        title: above it.
        shown: how many faces it shows.
    """

    path: Path
    title: str = ""
    shown: int = 6

    def draw(self, rows: Sequence[torch.Tensor], labels: Sequence[str]) -> None:
        """Draw pictures, a row of them for each label."""
        grid = [[to_image(picture) for picture in row[: self.shown]] for row in rows]
        write_image(collage(grid, [""] * len(grid[0]), list(labels), title=self.title), self.path)


@torch.no_grad()
def truth_of(
    model: FlowModel,
    faces: Sequence[tuple[Face, Face]],
    changed: Sequence[str],
    classifier: AttributeClassifier,
) -> Truth:
    """What every editor of these faces is compared with.

    Args:
        model: a built-in model, whose autoencoder the pictures go through.
        faces: (before, true after).
        changed: the attributes that the edit sets.
        classifier: reads attributes for success and leakage.
    """
    drawn, drawn_true = (torch.cat([to_tensor(p[k].draw()) for p in faces]) for k in (0, 1))
    x, x_true = (model.encode(pictures).float() for pictures in (drawn, drawn_true))
    rb, rb_true = model.decode(x).cpu(), model.decode(x_true).cpu()
    reading = classifier.predict(rb)
    success, leakage = _read(classifier.predict(rb_true), reading, faces, changed)
    mask = metrics.edit_mask(drawn, drawn_true)
    return Truth(faces, changed, classifier, x, rb, rb_true, mask, reading, success, leakage)


@torch.no_grad()
def measure(
    model: FlowModel,
    editor: Editor,
    truth: Truth,
    scales: Sequence[float],
    drawing: Drawing | None = None,
) -> list[Fidelity]:
    """Score an editor on faces whose true result is known; one row per scale.

    Args:
        model: the built-in model, of the same autoencoder as the truth's.
        editor: what is scored.
        truth: of :func:`truth_of`; it serves any number of editors.
        scales: ascending.
        drawing: of the first faces, if one is wanted.
    """
    edited = editor(truth.x, scales)
    begun = time.perf_counter()
    model.decode(editor(truth.x[:TIMED], scales[-1:])[0])
    seconds = (time.perf_counter() - begun) / len(truth.x[:TIMED])
    rows, outs, course = [], [], [torch.zeros(len(truth.faces))]
    for scale, z in zip(scales, edited, strict=True):
        out = model.decode(z).cpu()
        outs.append(out)
        accuracy = metrics.edit_accuracy(out, truth.rb, truth.rb_true, truth.mask)
        rows.append(_row(truth, scale, out, accuracy, seconds))
        if scale <= 1:
            course.append(accuracy)
    if len(course) > 1:
        monotone = metrics.monotonicity(torch.stack(course), tolerance=0.02)
        rows = [replace(row, monotone=monotone) for row in rows]
    if drawing is not None:
        labels = ["b", "truth", *(f"{scale:g}" for scale in scales)]
        drawing.draw([truth.rb, truth.rb_true, *outs], labels)
    return rows


def _row(
    truth: Truth, scale: float, out: torch.Tensor, accuracy: torch.Tensor, seconds: float
) -> Fidelity:
    """The figures of edited pictures ``out`` [B, 3, H, W] with this accuracy [B]."""
    compared = (out, truth.rb, truth.rb_true, truth.mask)
    progress = metrics.progress(*compared)
    read = truth.classifier.predict(out)
    success, leakage = _read(read, truth.reading, truth.faces, truth.changed)
    return Fidelity(
        scale=scale,
        accuracy=float(accuracy.nanmean()),
        accuracy_std=metrics.evenness(accuracy),
        accuracy_median=float(accuracy.nanquantile(0.5)),
        accuracy_pooled=metrics.pooled_accuracy(*compared),
        accuracy_unblurred=float(metrics.edit_accuracy(*compared, blur=0).nanmean()),
        progress=float(progress.nanmean()),
        remaining_error=float(metrics.remaining_error(accuracy, progress).nanmean()),
        success=success,
        success_share=success / truth.success if truth.success else math.nan,
        truth_success=truth.success,
        leakage=leakage,
        excess_leakage=leakage - truth.leakage,
        truth_leakage=truth.leakage,
        preservation_db=float(metrics.preservation_db(out, truth.rb, truth.mask).nanmean()),
        monotone=math.nan,
        edit_seconds=seconds,
    )


def _read(
    read: metrics.Reading,
    reading: metrics.Reading,
    faces: Sequence[tuple[Face, Face]],
    changed: Sequence[str],
) -> tuple[float, float]:
    """Success and leakage of pictures that read so, where the faces before read ``reading``."""
    right = [
        all(read[name][k] == getattr(after, name) for name in changed)
        for k, (_, after) in enumerate(faces)
    ]
    seen = [seen_attributes(before, after) for before, after in faces]
    leaked = metrics.leakage(read, reading, changed, seen)
    return sum(right) / len(right), float(leaked.nanmean())


def best_of(rows: Sequence[Fidelity]) -> Fidelity:
    """The row of the scale with the highest sum of accuracy and success.

    By accuracy alone, half an edit is often the best one: what is missing costs less than what
    is too much. Whoever looks at the picture wants to see the edit.
    """
    return max(rows, key=lambda row: row.accuracy + row.success)
