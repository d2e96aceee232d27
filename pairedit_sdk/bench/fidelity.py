"""How faithful an edit is on faces whose true result can be drawn.

Nothing in here knows how the edit was learned or how it is applied: an editor is a function from
latents and scales to latents.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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

    Attributes:
        scale: the edit's strength.
        accuracy: edit accuracy, 1 is the true edit.
        accuracy_std: its standard deviation between faces.
        accuracy_pooled: of all faces as one, see :func:`.metrics.pooled_accuracy`.
        accuracy_unblurred: the same without the blur.
        success: share of faces with every changed attribute as it should be, 0 … 1.
        leakage: share of the other attributes that changed, 0 … 1.
        preservation_db: PSNR outside the true edit's area.
        monotone: of the editor, not of this scale: the share of all steps from 0 over the scales
            up to 1, on all faces, in which accuracy did not fall by more than 0.02.
        edit_seconds: per picture, of editing a few together at one scale and decoding them.
    """

    scale: float
    accuracy: float
    accuracy_std: float
    accuracy_pooled: float
    accuracy_unblurred: float
    success: float
    leakage: float
    preservation_db: float
    monotone: float
    edit_seconds: float


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
def measure(
    model: FlowModel,
    editor: Editor,
    faces: Sequence[tuple[Face, Face]],
    changed: Sequence[str],
    scales: Sequence[float],
    classifier: AttributeClassifier,
    drawing: Drawing | None = None,
) -> list[Fidelity]:
    """Score an editor on faces whose true result is known; one row per scale.

    Args:
        model: the built-in model.
        editor: what is scored.
        faces: (before, true after).
        changed: the attributes that the edit sets.
        scales: ascending.
        classifier: reads attributes for success and leakage.
        drawing: of the first faces, if one is wanted.
    """
    drawn, drawn_true = (torch.cat([to_tensor(p[k].draw()) for p in faces]) for k in (0, 1))
    x, x_true = (model.encode(pictures).float() for pictures in (drawn, drawn_true))
    rb, rb_true = model.decode(x).cpu(), model.decode(x_true).cpu()
    mask = metrics.edit_mask(drawn, drawn_true)
    seen = [seen_attributes(before, after) for before, after in faces]
    reading = classifier.predict(rb)
    rows, outs, course = [], [], [torch.zeros(len(faces))]
    edited = editor(x, scales)
    begun = time.perf_counter()
    model.decode(editor(x[:TIMED], scales[-1:])[0])
    seconds = (time.perf_counter() - begun) / len(x[:TIMED])
    for scale, z in zip(scales, edited, strict=True):
        out = model.decode(z).cpu()
        outs.append(out)
        accuracy = metrics.edit_accuracy(out, rb, rb_true, mask)
        read = classifier.predict(out)
        right = _right(read, faces, changed)
        rows.append(
            Fidelity(
                scale,
                float(accuracy.nanmean()),
                metrics.evenness(accuracy),
                metrics.pooled_accuracy(out, rb, rb_true, mask),
                float(metrics.edit_accuracy(out, rb, rb_true, mask, blur=0).nanmean()),
                sum(right) / len(right),
                float(metrics.leakage(read, reading, changed, seen).nanmean()),
                float(metrics.preservation_db(out, rb, mask).nanmean()),
                float("nan"),
                seconds,
            )
        )
        if scale <= 1:
            course.append(accuracy)
    if len(course) > 1:
        monotone = metrics.monotonicity(torch.stack(course), tolerance=0.02)
        rows = [replace(row, monotone=monotone) for row in rows]
    if drawing is not None:
        labels = ["b", "truth", *(f"{scale:g}" for scale in scales)]
        drawing.draw([rb, rb_true, *outs], labels)
    return rows


def _right(
    read: Mapping[str, Sequence[str]], faces: Sequence[tuple[Face, Face]], changed: Sequence[str]
) -> list[bool]:
    """Of each face, whether all that was to change reads as it should."""
    return [
        all(read[name][k] == getattr(after, name) for name in changed)
        for k, (_, after) in enumerate(faces)
    ]


def best_of(rows: Sequence[Fidelity]) -> Fidelity:
    """The row of the scale with the highest sum of accuracy and success.

    By accuracy alone, half an edit is often the best one: what is missing costs less than what
    is too much. Whoever looks at the picture wants to see the edit.
    """
    return max(rows, key=lambda row: row.accuracy + row.success)
