"""``pairedit train-many``: learn the edits of a manifest, on one loaded model."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.errors import FAILED, StoppedError
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import UsageError, counted
from pairedit_sdk.io.files import require_writable
from pairedit_sdk.jobs.make_edit import resume_hint
from pairedit_sdk.jobs.manifest import ManifestEntry, read_manifest
from pairedit_sdk.jobs.on_ray import train_many_on_ray
from pairedit_sdk.jobs.outcomes import EditOutcome, log_path
from pairedit_sdk.jobs.ray_cluster import LOCAL, RayWorkers
from pairedit_sdk.jobs.train_many import train_many as train_in_order

if TYPE_CHECKING:
    from pairedit_sdk.cli.progress import Meter
    from pairedit_sdk.training.trainer import StepInfo


def train_many(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            help='JSON Lines, one edit a line: {"name": "glasses", "pairs": "FOLDER"}, and '
            'optionally "recipe", "set" (settings by name) and "licence".',
        ),
    ],
    base: options.TrainBase = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Recipe of the lines that name none. Without it the one for the model, as in "
            "pairedit train.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting of all lines; a line's own wins."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", "--yes", help="Replace edits and runs of other settings or pairs."),
    ] = False,
    skip_check: Annotated[
        bool, typer.Option("--skip-check", help="Train even if pairedit check advises against it.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option("--engine", help="local: here, in order. ray: on a Ray cluster."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="ray only: workers. Without it: as many as fit the cluster."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="ray only: address of a running cluster, or auto. Without it: RAY_ADDRESS, else a "
            "cluster is started here.",
        ),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker",
            min=0,
            help="ray only: GPUs for each worker; 0.5 shares one. Without it: 1 if there are any.",
        ),
    ] = None,
    cpus: Annotated[
        float | None,
        typer.Option(
            "--cpus-per-worker", min=0, help="ray only: CPUs for each worker. Without it: 1."
        ),
    ] = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.TrainPrecision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn many edits from a list, on one loaded model.

    If one fails, the others go on. The same command again skips what is finished, and resumes an
    edit that was interrupted. Each edit has the files of pairedit train. LIBRARY/train-many.jsonl
    records what was made and what failed. The exit status is 1 if any failed.
    """
    output = Output(as_json, quiet)
    device = values.device(device)
    asked = {
        "--workers": workers,
        "--address": address,
        "--gpus-per-worker": gpus,
        "--cpus-per-worker": cpus,
    }
    given = [option for option, value in asked.items() if value is not None]
    if given and engine != "ray":
        raise UsageError(f"{given[0]} is for --engine ray", next_step="Leave it out")
    overrides = [*(settings or []), *([f"precision={precision}"] if precision else [])]
    entries = read_manifest(manifest, base, recipe, overrides)
    config = entries[0].config
    base_name = config.base or options.DEFAULT_MODEL
    require_writable(log_path(library.folder))

    shown = _Shown(output, len(entries))
    try:
        with shown:
            if engine == "ray":
                where = address or os.environ.get("RAY_ADDRESS") or LOCAL
                crew = RayWorkers(workers, where, 1.0 if cpus is None else cpus, gpus)
                # Ray says on standard output what it has to say, and that is for the result.
                with redirect_stdout(sys.stderr):
                    outcomes = train_many_on_ray(
                        base_name,
                        entries,
                        library.folder,
                        crew,
                        device=device,
                        precision=config.precision,
                        force=force,
                        skip_check=skip_check,
                        on_outcome=shown.outcome,
                    )
            else:
                from pairedit_sdk.cli.services import load_model

                loaded = load_model(
                    base_name, device=device, precision=config.precision, offload=config.offload
                )
                outcomes = train_in_order(
                    loaded,
                    entries,
                    library.folder,
                    force=force,
                    skip_check=skip_check,
                    on_step=shown.step,
                    on_outcome=shown.outcome,
                )
    except KeyboardInterrupt as error:
        going = f", {shown.at} {resume_hint(library.run_folder(shown.at))}" if shown.at else ""
        raise StoppedError(
            f"Stopped with {shown.done} of {counted(len(entries), 'edit')} through{going}",
            next_step="Go on with the same command",
        ) from error
    _report(output, outcomes, library.folder)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(FAILED)


class _Shown:
    """The progress of many edits: a meter for the one under way, a line for each that ends.

    Attributes:
        done: how many have ended.
        at: the name of the one under way, where that is known.
    """

    def __init__(self, output: Output, total: int) -> None:
        self.done, self.at = 0, ""
        self._output, self._total = output, total
        self._meter: Meter | None = None
        self._held = ExitStack()

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def step(self, entry: ManifestEntry, info: StepInfo) -> None:
        if self._meter is None:
            self.at = entry.name
            meter = self._output.meter(f"training {entry.name}", info.steps)
            self._meter = self._held.enter_context(meter)
        self._meter.training(info)

    def outcome(self, outcome: EditOutcome) -> None:
        self._held.close()
        self._meter, self.at = None, ""
        self.done += 1
        if (console := self._output.aside) is not None:
            end = f": {outcome.reason}" if outcome.reason else f" ({outcome.seconds:.0f} s)"
            line = f"{self.done} of {self._total}: {outcome.name} {outcome.state}{end}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _report(output: Output, outcomes: Sequence[EditOutcome], library: Path) -> None:
    counts = Counter(outcome.state for outcome in outcomes)
    if output.words is not None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for heading in ("Edit", "State", "Seconds", "Why"):
            table.add_column(heading, justify="right" if heading == "Seconds" else "left")
        for outcome in outcomes:
            seconds, why = f"{outcome.seconds:.1f}", Text(outcome.reason)
            table.add_row(outcome.name, outcome.state, seconds, why)
        output.table(table)
    output.say(
        f"{counts['made']} made, {counts['skipped']} skipped, {counts['failed']} failed, in "
        f"{library}."
    )
    output.result(
        {
            "library": library,
            "log": log_path(library),
            **{state: counts[state] for state in ("made", "skipped", "failed")},
            "edits": [asdict(outcome) for outcome in outcomes],
        }
    )
