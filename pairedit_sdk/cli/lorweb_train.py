"""``pairedit lorweb train``: LoRAs and the keys that mix them, learned from analogies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.errors import StoppedError
from pairedit_sdk.cli.lorweb_values import basis_path
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.train import overridden
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import UsageError, counted
from pairedit_sdk.io.files import require_writable, require_writable_folder
from pairedit_sdk.models.folders import EDIT_MODEL
from pairedit_sdk.training.processes import is_first
from pairedit_sdk.training.trackers import require_tracker

if TYPE_CHECKING:
    from pairedit_sdk.lorweb.recipes import BasisRecipe

Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        envvar="PAIREDIT_BASE",
        help="The edit model: mini-kontext, a folder or a hub id. Without it: the recipe's, and "
        "without a recipe mini-kontext.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A recipe's name or a YAML file: lorweb is LoRWeB as published. Without it LoRWeB's "
        "settings on the built-in model.",
    ),
]


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of analogies: control/ and target/, or a/, a_prime/, b/ and target/, or "
            "Relation252K.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the basis.")],
    base: Base = None,
    recipe: Recipe = None,
    settings: options.Settings = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this name.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "--yes", help="Replace a basis of this name.")
    ] = False,
    track: options.Track = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.TrainPrecision = None,
    offload: options.Offload = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a LoRWeB basis on analogies.

    It is a set of LoRAs, and the keys by which an image encoder mixes them. It is saved as
    LIBRARY/learned/NAME.safetensors, and its run in LIBRARY/learned/runs/NAME. --recipe lorweb is
    LoRWeB as published, on FLUX.1-Kontext; without it the settings are the same and the model is
    mini-kontext. --set count=8 --set steps=600 suits a laptop.
    """
    output = Output(as_json, quiet)
    target = basis_path(name, library)
    # An edit of the same name keeps its own run.
    run_dir = EditLibrary(library.folder / "learned").run_folder(name)
    if target.exists() and not (force or resume):
        raise UsageError(
            f"There is a LoRWeB basis {name} already ({target})",
            next_step="Choose another --name, or replace it with --force",
        )
    require_writable(target)
    require_writable_folder(run_dir)
    device = values.device(device)
    given = {"precision": precision, "track": track, "offload": "true" if offload else None}
    config = basis_recipe_for(base, recipe, overridden(settings, given))
    require_tracker(config.track)

    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.estimates.fitting import advised
    from pairedit_sdk.lorweb.analogies import AnalogyFolder
    from pairedit_sdk.lorweb.files import locked
    from pairedit_sdk.lorweb.trainer import BasisStep, train_basis

    analogies = AnalogyFolder(data)
    analogies.require_readable()
    model_name = config.base or EDIT_MODEL
    loaded = load_model(
        model_name, device=device, precision=config.precision, offload=config.offload
    )
    try:
        with (
            output.meter(f"training {name}", config.steps) as meter,
            advised(model_name, config, loaded.device),
        ):

            def shown(info: BasisStep) -> None:
                meter.update(info.step, info.steps, f"loss {info.loss:.4f}")

            basis = train_basis(
                loaded,
                analogies,
                config.settings,
                name=name,
                run_dir=run_dir,
                resume=resume,
                force=force,
                on_step=shown,
            )
    except KeyboardInterrupt as error:
        raise StoppedError(
            f"Training {name} was stopped", next_step="Go on with the same command and --resume"
        ) from error
    if not is_first():
        return
    with locked(target):
        basis.save(target)
    drawn = counted(len(analogies), "analogy", "analogies")
    output.say(
        f"Saved {target} ({drawn}, {counted(config.steps, 'step')}).\n"
        f"Use it:  pairedit lorweb answer {name} A A_PRIME B -o out.png"
    )
    output.result(
        {
            "name": name,
            "path": target,
            "run_dir": run_dir,
            "base": model_name,
            "analogies": len(analogies),
            "steps": config.steps,
            "elements": len(basis.elements),
        }
    )


def basis_recipe_for(base: str | None, recipe: str | None, overrides: Sequence[str]) -> BasisRecipe:
    """The settings of a basis's training with its model filled in, if anything names one.

    Args:
        base: the model asked for; without it the recipe's.
        recipe: a recipe's name or file; without it the defaults.
        overrides: ``key=value`` words.

    Raises:
        UsageError: an unknown recipe or setting, a value out of range, or the model among the
            overrides.
    """
    from pairedit_sdk.lorweb.recipes import load_basis_recipe

    if "base" in {text.partition("=")[0].strip() for text in overrides}:
        raise UsageError("--set cannot change the model", next_step="Give it with --base")
    config = load_basis_recipe(recipe, overrides)
    return config.with_values(base=base or config.base)
