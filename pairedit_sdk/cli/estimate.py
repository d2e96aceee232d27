"""``pairedit estimate``: what a training or an edit would take."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pairedit_sdk.cli import options
from pairedit_sdk.cli.lorweb_train import basis_recipe_for
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.train import overridden
from pairedit_sdk.jobs.make_edit import settings_for

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from pairedit_sdk.estimates.fitting import Settings
    from pairedit_sdk.estimates.needs import Needs

ROWS = {
    "transformer": "Transformer's weights",
    "lora": "LoRAs and optimiser",
    "working": "Activations and gradients",
    "autoencoder": "Autoencoder at work",
    "text_encoders": "Text encoders, before the rest",
    "process": "Before there is a model",
}


def estimate(
    method: Annotated[
        Literal["train", "edit", "lorweb"],
        typer.Option("--for", help="Learning an edit, using it, or training a LoRWeB basis."),
    ] = "train",
    base: options.TrainBase = None,
    recipe: options.Recipe = None,
    settings: options.Settings = None,
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option("--device", help="Where it would run, whether that is here or not."),
    ] = None,
    precision: options.TrainPrecision = None,
    offload: options.Offload = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Estimate the memory, disk space and time of a training.

    Or, with --for edit, of an edit, and with --for lorweb of a LoRWeB basis. Only the model's
    configuration is read; no weights are loaded or downloaded.
    """
    from pairedit_sdk.estimates.fitting import needs_of
    from pairedit_sdk.estimates.needs import editing_needs
    from pairedit_sdk.estimates.speed import span
    from pairedit_sdk.training.config import TrainConfig

    output = Output(as_json, quiet)
    given = {"precision": precision, "offload": "true" if offload else None}
    words = overridden(settings, given)
    config: Settings = (
        basis_recipe_for(base, recipe, words)
        if method == "lorweb"
        else settings_for(base, recipe, words)
    )
    name = config.base or options.DEFAULT_MODEL
    here = _device_here(device)
    kind = device or (here.type if here is not None else "cpu")
    if isinstance(config, TrainConfig) and method == "edit":
        needs = editing_needs(name, config, kind)
    else:
        needs = needs_of(name, config, kind)
    output.table(_table(needs))
    seconds = None
    what = "picture" if method == "edit" else "step"
    if here is None:
        output.say(f"{needs.flops / 1e12:.1f} TFLOP a {what}; no GPU is here that could be timed.")
    else:
        seconds = _seconds(needs, config, here)
        total = f", {span(seconds * config.steps)} in all" if what == "step" else ""
        output.say(f"Roughly {span(seconds)} a {what} on this machine's {kind}{total}.")
    output.result(
        {"base": name, "device": kind, "for": method, **asdict(needs), "seconds": seconds}
    )


def _device_here(kind: str | None) -> torch.device | None:
    import torch

    if kind is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = kind == "cpu" or torch.cuda.is_available()
    return torch.device(kind) if here else None


def _seconds(needs: Needs, config: Settings, device: torch.device) -> float:
    from pairedit_sdk.estimates.speed import seconds_for
    from pairedit_sdk.models.precision import choose_precision

    return seconds_for(needs.flops, device, choose_precision(config.precision, device)[1])


def _table(needs: Needs) -> Table:
    from rich.table import Table

    from pairedit_sdk.estimates.fitting import size

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    values: dict[str, Any] = asdict(needs)
    for key, label in ROWS.items():
        table.add_row(label, size(values[key]))
    if needs.image_encoder:
        table.add_row("Image encoder", size(needs.image_encoder))
    table.add_row("Memory at the peak", size(needs.peak), style="bold")
    if needs.disk:
        table.add_row("Disk for the run", size(needs.disk))
    return table
