"""``pairedit lorweb learn``: an edit that is learned as a part of a LoRWeB basis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.errors import StoppedError
from pairedit_sdk.cli.lorweb_values import find_basis
from pairedit_sdk.cli.output import Output
from pairedit_sdk.edits.library import EditLibrary, check_name
from pairedit_sdk.errors import UsageError, counted
from pairedit_sdk.io.files import require_writable, require_writable_folder
from pairedit_sdk.training.processes import is_first
from pairedit_sdk.training.trackers import require_tracker

if TYPE_CHECKING:
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.pairs.pair_set import PairSet


def learn(
    basis: Annotated[
        str, typer.Argument(metavar="BASIS", help="A LoRWeB basis of the library, or its file.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the edit is to be called.")],
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS", help="A folder of one to three pairs.")],
    base: options.Base = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one of the settings."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this name.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "--yes", help="Replace an edit of this name in the basis.")
    ] = False,
    track: options.Track = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.AutoPrecision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn an edit as a part of a LoRWeB basis.

    Analogies can then choose it. It is learned as it is used there: on a model that sees an
    example of the change beside the picture, at its share of the mix. Its run is in
    LIBRARY/learned/runs/BASIS-NAME.
    """
    from pairedit_sdk.lorweb.settings import own_edit_settings

    output = Output(as_json, quiet)
    path = require_writable(find_basis(basis, library))
    run_dir = EditLibrary(library.folder / "learned").run_folder(f"{path.stem}-{check_name(name)}")
    require_writable_folder(run_dir)
    device = values.device(device)
    config = own_edit_settings([*(settings or []), *([f"track={track}"] if track else [])])
    require_tracker(config.track)

    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.learning import OwnEditStep, learn_edit
    from pairedit_sdk.pairs.pair_set import PairSet

    known = _without(LoRWeBBasis.load(path), name, path, allowed=force or resume)
    pair_set = PairSet.from_folder(pairs)
    loaded = load_model(base or known.info.base, device=device, precision=precision or "auto")
    if force and not resume:
        _clear(run_dir)
    try:
        with output.meter(f"learning {name}", config.steps) as meter:

            def shown(info: OwnEditStep) -> None:
                meter.update(info.step, info.steps, f"loss {info.loss:.4f}")

            joined = learn_edit(
                loaded,
                known,
                pair_set,
                config,
                name=name,
                run_dir=run_dir,
                resume=resume,
                on_step=shown,
            )
    except KeyboardInterrupt as error:
        raise StoppedError(
            f"Learning {name} was stopped", next_step="Go on with the same command and --resume"
        ) from error
    if not is_first():
        return
    joined = _joined(path, joined, name, pair_set, str(loaded.device), allowed=force or resume)
    output.say(
        f"{name} is part of {path}; it has {counted(len(joined.elements), 'element')}.\n"
        f"Use it:  pairedit lorweb answer {path.stem} A A_PRIME B -o out.png"
    )
    output.result(
        {"path": path, "run_dir": run_dir, "steps": config.steps, "elements": joined.elements}
    )


def _without(basis: LoRWeBBasis, name: str, path: Path, *, allowed: bool) -> LoRWeBBasis:
    """The basis without an edit of this name, which may be there if that is allowed."""
    if name in [own.edit.name for own in basis.joined] and not allowed:
        raise UsageError(
            f"There is an edit {name} in {path} already",
            next_step="Choose another name, or replace it with --force",
        )
    return basis.without(name)


def _joined(
    path: Path, learned: LoRWeBBasis, name: str, pairs: PairSet, device: str, *, allowed: bool
) -> LoRWeBBasis:
    """Save the edit in the basis as its file is now: others may have changed it in the meantime.

    Args:
        path: of the basis.
        learned: the basis as it was before the training, and the edit.
        name: of the edit.
        pairs: of the edit.
        device: of the image encoder.
        allowed: replace an edit of this name.

    Raises:
        UsageError: an edit of this name has joined, or the basis was trained anew.
        EditError: the file is gone.
    """
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.files import locked
    from pairedit_sdk.models.image_encoder import load_encoder

    edit = next(own.edit for own in learned.joined if own.edit.name == name)
    asked = learned.asked(load_encoder(learned.info.encoder, device), pairs)
    with locked(path):
        now = LoRWeBBasis.load(path)
        if not _same_training(now, learned):
            raise UsageError(
                f"The basis {path} was trained anew while {name} was learned in it",
                next_step="Learn it again with --force",
            )
        if name in now.elements and not allowed:
            raise UsageError(
                f"An edit {name} has joined {path} while this one was learned",
                next_step="Choose another name, or replace it with --force",
            )
        joined = now.without(name).join(edit, *asked)
        joined.save(path)
    return joined


def _same_training(one: LoRWeBBasis, other: LoRWeBBasis) -> bool:
    """Whether both have the same projections, keys and LoRAs, whatever edits have joined."""
    import torch

    held = [
        [basis.router.projection, basis.router.keys]
        + [half for layer in basis.layers.values() for half in (layer.down, layer.up)]
        for basis in (one, other)
    ]
    return list(one.layers) == list(other.layers) and all(map(torch.equal, *held))


def _clear(run_dir: Path) -> None:
    """Empty an earlier run's folder, unless somebody trains there."""
    from pairedit_sdk.training.run_lock import clear, run_lock

    if is_first() and run_dir.is_dir():
        with run_lock(run_dir):
            clear(run_dir)
