"""How faithful learned edits are on the built-in base, where the true result can be drawn.

``python -m pairedit_sdk.evaluation.fidelity --recipe published`` learns the example edits from
their three shipped faces, applies them to held-out ones, and prints the metrics of
:mod:`pairedit_sdk.evaluation.metrics` at every scale, with one collage per edit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.bases import load_base
from pairedit_sdk.bases.mini.attributes import load_attribute_classifier, seen_attributes
from pairedit_sdk.bases.mini.building.data import face_at
from pairedit_sdk.bases.mini.example_pairs import EXAMPLES, example_faces
from pairedit_sdk.bases.mini.faces import Face, visible
from pairedit_sdk.config import TrainConfig, load_recipe
from pairedit_sdk.editing import edit_latents
from pairedit_sdk.evaluation import metrics
from pairedit_sdk.image_files import write_image
from pairedit_sdk.images import to_image, to_tensor
from pairedit_sdk.pairs import PairSet
from pairedit_sdk.plots import collage
from pairedit_sdk.training import train

if TYPE_CHECKING:
    from pairedit_sdk.bases.mini.attributes import AttributeClassifier
    from pairedit_sdk.bases.protocol import FlowBase
    from pairedit_sdk.edit import Edit

SCALES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)


@dataclass(frozen=True)
class Fidelity:
    """One edit at one scale, means over held-out faces. Shares are 0 … 1, preservation in dB."""

    edit: str
    scale: float
    accuracy: float
    accuracy_std: float
    accuracy_unblurred: float
    success: float
    leakage: float
    preservation_db: float
    train_seconds: float


def held_out(name: str, count: int) -> list[tuple[Face, Face]]:
    """The first faces of split "test" on which the edit can be told, before and after."""
    example, index = EXAMPLES[name], 0
    found: list[tuple[Face, Face]] = []
    while len(found) < count:
        face = face_at(index, "test")
        index += 1
        if example.suits(face):
            before, after = example.pair(face)
            if all(visible(f, a) for f in (before, after) for a in example.after):
                found.append((before, after))
    return found


def learn(base: FlowBase, name: str, config: TrainConfig) -> tuple[Edit, float]:
    """The edit from its three example faces, and the seconds it took."""
    pairs = PairSet.from_images([(a.draw(), b.draw()) for a, b in example_faces(name)])
    started = time.perf_counter()
    return train(base, pairs, config, name=name), time.perf_counter() - started


@torch.no_grad()
def measure(
    base: FlowBase, edit: Edit, faces: Sequence[tuple[Face, Face]], scales: Sequence[float],
    classifier: AttributeClassifier, seconds: float = float("nan"), picture: Path | None = None,
    shown: int = 6,
) -> list[Fidelity]:  # fmt: skip
    """Score an edit on faces whose true result is known; one row per scale.

    Args:
        base: the built-in base.
        edit: named after its entry in ``EXAMPLES``.
        faces: (before, true after).
        scales: to be measured.
        classifier: reads attributes for success and leakage.
        seconds: how long the edit took to learn, for the record.
        picture: where to draw a collage of the first ``shown`` faces.
    """
    x, x_true = (
        torch.cat([base.encode(to_tensor(pair[k].draw())) for pair in faces]).float()
        for k in (0, 1)
    )
    rb, rb_true = base.decode(x).cpu(), base.decode(x_true).cpu()
    drawn, drawn_true = (torch.cat([to_tensor(p[k].draw()) for p in faces]) for k in (0, 1))
    mask = metrics.edit_mask(drawn, drawn_true)
    (attribute, wanted), *_ = EXAMPLES[edit.name].after.items()
    seen = [seen_attributes(before, after) for before, after in faces]
    reading = classifier.predict(rb)
    rows, outs = [], []
    for scale in scales:
        out = base.decode(edit_latents(base, x, edit @ scale)).cpu()
        outs.append(out)
        accuracy = metrics.edit_accuracy(out, rb, rb_true, mask)
        read = classifier.predict(out)
        rows.append(
            Fidelity(
                edit.name,
                scale,
                float(accuracy.nanmean()),
                metrics.evenness(accuracy),
                float(metrics.edit_accuracy(out, rb, rb_true, mask, blur=0).nanmean()),
                float(metrics.success(read, attribute, wanted).float().mean()),
                float(metrics.leakage(read, reading, attribute, seen).nanmean()),
                float(metrics.preservation_db(out, rb, mask).nanmean()),
                seconds,
            )
        )
    if picture is not None:
        columns = [rb[:shown], rb_true[:shown], *(out[:shown] for out in outs)]
        grid = [[to_image(image) for image in column] for column in columns]
        labels = ["b", "truth", *(f"{scale:g}" for scale in scales)]
        write_image(collage(grid, [""] * shown, labels, title=edit.name), picture)
    return rows


def best_of(rows: Sequence[Fidelity]) -> Fidelity:
    """The row of the scale with the highest sum of accuracy and success.

    By accuracy alone, half an edit is often the best one: what is missing costs less than what
    is too much. Whoever looks at the picture wants to see the edit.
    """
    return max(rows, key=lambda row: row.accuracy + row.success)


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description="Measure learned edits on the built-in base.")
    parser.add_argument("--recipe", default="published")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--edits", nargs="*", choices=list(EXAMPLES), default=list(EXAMPLES))
    parser.add_argument("--faces", type=int, default=24)
    parser.add_argument("--base", default="mini")
    parser.add_argument("--output", type=Path, default=Path("out/fidelity"))
    options = parser.parse_args(arguments)
    base = load_base(options.base)
    classifier = load_attribute_classifier()
    config = load_recipe(options.recipe, options.settings)
    table = []
    for name in options.edits:
        edit, seconds = learn(base, name, config)
        edit.save(options.output / f"{name}.safetensors")
        rows = measure(
            base, edit, held_out(name, options.faces), SCALES, classifier, seconds,
            options.output / f"{name}.png",
        )  # fmt: skip
        table += rows
        for row in rows:
            print(_line(row), flush=True)
    best = [best_of([row for row in table if row.edit == name]) for name in options.edits]
    fields = ("accuracy", "success", "leakage", "preservation_db", "accuracy_std", "train_seconds")
    mean = {f: sum(getattr(row, f) for row in best) / len(best) for f in fields}
    print("mean at best scales: " + ", ".join(f"{k} {v:.3f}" for k, v in mean.items()))
    result = {"summary": {options.recipe: mean}, "rows": [asdict(row) for row in table]}
    (options.output / "fidelity.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def _line(row: Fidelity) -> str:
    return (
        f"{row.edit:11s} s {row.scale:.2f}  accuracy {row.accuracy:6.3f} ± {row.accuracy_std:.2f} "
        f"(unblurred {row.accuracy_unblurred:6.3f})  success {row.success:.2f}  "
        f"leakage {row.leakage:.3f}  preservation {row.preservation_db:.1f} dB"
    )


if __name__ == "__main__":
    main()
