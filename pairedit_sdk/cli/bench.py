"""``pairedit bench``: how good and how fast, measured on the built-in model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import bench_edits, bench_photo, bench_words, options, speed, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.io.files import require_writable_folder

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(help="Measure quality and speed on the built-in model.", no_args_is_help=True)
app.command("edits")(bench_edits.edits)
app.command("speed")(speed.speed)
app.command("photo")(bench_photo.photo)
app.command("words")(bench_words.words)

_LEARNS = "Recipe that learns the edits, on the built-in model that it is for."
Recipe = Annotated[str, typer.Option("--recipe", help=_LEARNS)]


@app.command("compose")
def compose(
    mode: Annotated[
        list[str] | None,
        typer.Option(
            "--mode", metavar="MODE", help="merged, guided or sequential; may be repeated. [all]"
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of seeds. [3]")
    ] = None,
    faces: Annotated[
        int | None, typer.Option("--faces", min=1, help="Number of held-out faces. [24]")
    ] = None,
    combination: Annotated[
        list[str] | None,
        typer.Option(
            "--combination",
            metavar="NAME+NAME",
            help="Only these edits together, such as glasses+smile; may be repeated.",
        ),
    ] = None,
    recipe: Recipe = "mini-kontext",
    small: Annotated[bool, typer.Option("--small", help="A short run of a few minutes.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A folder for one collage per combination.")
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score pairs and triples of edits in every mode of composition."""
    from pairedit_sdk.bench.compose import SMALL, Plan, run
    from pairedit_sdk.bench.edit_types import as_combination
    from pairedit_sdk.bench.trained_edits import model_for
    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.editing.composition import check_mode

    output = Output(as_json, quiet)
    for name in mode or []:
        check_mode(name)
    given: dict[str, Any] = {"seeds": seeds, "faces": faces, "output": out, "modes": mode or None}
    given["combinations"] = [as_combination(text) for text in combination or []] or None
    plan: Plan = replace(
        SMALL if small else Plan(),
        recipe=recipe,
        **{k: v for k, v in given.items() if v is not None},
    )
    if out is not None:
        require_writable_folder(out)
    base = load_model(model_for(recipe), device=values.device(device))
    with output.meter("benchmark", plan.parts, "part") as meter:
        result = run(base, plan, meter.advance)
    output.table(_by_row(result["summary"], "Mode"))
    if out is not None:
        output.say(f"Collages: {out}")
    output.result(result)


@app.command("basis")
def basis(
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of seeds. [3]")
    ] = None,
    recipe: Recipe = "mini-kontext",
    small: Annotated[bool, typer.Option("--small", help="A short run of a few minutes.")] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Ask a basis of learned edits for analogies of held-out faces."""
    from pairedit_sdk.bench.basis import SMALL, Plan, run
    from pairedit_sdk.bench.trained_edits import model_for
    from pairedit_sdk.cli.services import load_model

    output = Output(as_json, quiet)
    plan: Plan = replace(SMALL if small else Plan(), recipe=recipe)
    plan = plan if seeds is None else replace(plan, seeds=seeds)
    base = load_model(model_for(recipe), device=values.device(device))
    with output.meter("benchmark", plan.parts, "part") as meter:
        result = run(base, plan, meter.advance)
    output.table(_by_row(result["summary"], "Router"))
    by_count = {f"{row['edits']:,}": row for row in result["scale"]}
    output.table(_by_row(by_count, "Edits in the basis"))
    output.result(result)


@app.command("analogy")
def analogy(
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of seeds. [3]")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="NAME",
            help="none, coarse, instruction, words, own-edits, single, basis, delta, both, tanh or "
            "uniform; may be repeated. [all but words, own-edits, tanh and uniform]",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the basis."),
    ] = None,
    base: Annotated[
        str, typer.Option("--base", "--model", help="The edit model.")
    ] = "mini-kontext",
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Folder for what is drawn and trained, to go on with later."),
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="A short run of a few minutes.")] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare a LoRWeB basis with other ways to answer analogies.

    All are trained on a drawn world of changes, and asked for changes of it and for held-out ones.
    """
    from pairedit_sdk.bench.analogy import PLAN, SMALL, VARIANTS, run
    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.io.files import require_writable_folder
    from pairedit_sdk.io.settings import by_path, from_values, with_overrides
    from pairedit_sdk.lorweb.rows import require_edit_model
    from pairedit_sdk.lorweb.settings import BasisSettings

    output = Output(as_json, quiet)
    for name in variant or []:
        if name not in VARIANTS:
            raise UsageError(
                f"The benchmark has no variant {name!r}", next_step=nearest(name, list(VARIANTS))
            )
    plan = SMALL if small else PLAN
    changed = by_path(BasisSettings, with_overrides({}, settings or []), note=True)
    values_of = by_path(BasisSettings, plan.settings.as_dict()) | changed
    plan = replace(plan, settings=from_values(BasisSettings, values_of, "The settings"))
    given: dict[str, Any] = {"seeds": seeds, "variants": variant or None, "keep": keep}
    plan = replace(plan, **{k: v for k, v in given.items() if v is not None})
    if keep is not None:
        require_writable_folder(keep)
    where = values.device(device)
    looking = require_edit_model(load_model(base, device=where))
    with output.meter("benchmark", plan.parts, "part") as meter:
        result = run(looking, lambda: load_model("mini", device=where), plan, meter.advance)
    flat = {
        name: {f"{group} {figure}": v for group, own in groups.items() for figure, v in own.items()}
        for name, groups in result["summary"].items()
    }
    output.table(_by_row(flat, "Variant"))
    output.result(result)


def _by_row(summary: Mapping[str, Mapping[str, float]], name: str) -> Table:
    """Figures down, what was compared across."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(name)
    for column in summary:
        table.add_column(column, justify="right")
    for figure in dict.fromkeys(f for figures in summary.values() for f in figures):
        shown = (figures.get(figure, float("nan")) for figures in summary.values())
        table.add_row(
            figure.replace("_", " "), *("" if math.isnan(v) else f"{v:.3g}" for v in shown)
        )
    return table
