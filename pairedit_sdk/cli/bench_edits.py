"""``pairedit bench edits``: recipes against each other, on edits whose true result is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.io.files import require_writable_folder

if TYPE_CHECKING:
    from rich.table import Table

    from pairedit_sdk.bench.edits import Job
    from pairedit_sdk.bench.fidelity import Fidelity

#: Figures of the first table, and their headings.
SHOWN = {
    "accuracy": "Accuracy",
    "accuracy_std": "± faces",
    "accuracy_pooled": "Pooled",
    "success": "Success",
    "leakage": "Leakage",
    "preservation_db": "Preserved dB",
    "monotone": "Monotone",
    "scale": "Scale",
    "train_seconds": "Learning s",
}
#: Of the second: accuracy taken apart, and what is left of success and leakage beside the truth's.
BESIDE_THE_TRUTH = {
    "accuracy_median": "Accuracy, median of faces",
    "accuracy_edit_median": "Accuracy, median of edits",
    "progress": "Progress",
    "remaining_error": "Remaining error",
    "success_share": "Success beside truth's",
    "success_share_edit_median": "The same, median of edits",
    "excess_leakage": "Excess leakage",
}
_IN_PERCENT = ("success", "leakage", "monotone", "success_share", "excess_leakage")


def edits(
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="default, plain-model, published, A, B, C, plain, seeing-plain, text, "
            "instruction, or another recipe; may be repeated. Without it: all of these.",
        ),
    ] = None,
    edit: Annotated[
        list[str] | None,
        typer.Option("--edit", metavar="NAME", help="Only this edit; may be repeated."),
    ] = None,
    pairs: Annotated[
        list[int] | None,
        typer.Option(
            "--pairs",
            metavar="NUMBER",
            min=1,
            max=8,
            help="Number of training pairs; may be repeated. [1, 2, 3]",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of seeds. [3]")
    ] = None,
    faces: Annotated[
        int | None, typer.Option("--faces", min=1, help="Number of held-out faces. [24]")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe default."),
    ] = None,
    at_one: Annotated[
        bool, typer.Option("--at-one", help="Count every recipe at scale 1, not at its best scale.")
    ] = False,
    small: Annotated[bool, typer.Option("--small", help="A short run of a few minutes.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A folder for one collage per edit.")
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score recipes on held-out faces.

    Every recipe learns the same edits from the same drawn pairs, on the built-in model it is for.
    The recipe default is scored at scale 1, the others each at their own best scale.
    """
    from pairedit_sdk.bench.edit_types import require_edits
    from pairedit_sdk.bench.edits import SMALL, Plan, run
    from pairedit_sdk.cli.services import load_model

    output = Output(as_json, quiet)
    require_edits(edit or [])
    lists = {"recipes": recipe, "edits": edit, "pairs": pairs, "settings": settings}
    given: dict[str, Any] = {"seeds": seeds, "faces": faces, "output": out, "at_one": at_one}
    given |= {name: tuple(value) for name, value in lists.items() if value}
    plan: Plan = replace(
        SMALL if small else Plan(), **{k: v for k, v in given.items() if v is not None}
    )
    if out is not None:
        require_writable_folder(out)
    where = values.device(device)
    with output.meter("benchmark", len(plan.jobs()), "run") as meter:
        result = run(
            lambda name: load_model(name, device=where),
            plan,
            lambda job, row: meter.advance(_note(job, row)),
        )
    output.table(_table(result["summary"], SHOWN))
    output.table(_table(result["summary"], BESIDE_THE_TRUTH))
    if out is not None:
        output.say(f"Collages: {out}")
    output.result(result)


def _note(job: Job, row: Fidelity) -> str:
    return f"{job.edit}, {job.recipe}: {row.accuracy:.2f}, {row.success:.0%} at {row.scale:g}"


def _table(summary: Mapping[str, Mapping[str, float]], shown: Mapping[str, str]) -> Table:
    """Recipes down, these figures across."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("Recipe")
    for heading in shown.values():
        table.add_column(heading, justify="right")
    for recipe, figures in summary.items():
        table.add_row(recipe, *(_figure(name, figures[name]) for name in shown))
    return table


def _figure(name: str, value: float) -> str:
    if math.isnan(value):
        return ""
    if name.removesuffix("_edit_median") in _IN_PERCENT:
        return f"{value:.1%}"
    return f"{value:.1f}" if name in ("preservation_db", "train_seconds") else f"{value:.2f}"
