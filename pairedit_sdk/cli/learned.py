"""``pairedit basis train | join | import | draw``: bases of LoRAs that are trained together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.errors import StoppedError
from pairedit_sdk.cli.output import Output
from pairedit_sdk.edits.library import SUFFIX, EditLibrary, check_name
from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.training.processes import is_first
from pairedit_sdk.training.trackers import require_tracker

KONTEXT = "mini-kontext"

Name = Annotated[str, typer.Option("--name", help="What the basis is to be called.")]
Learned = Annotated[
    str, typer.Argument(metavar="BASIS", help="A learned basis of the library, or its file.")
]
Force = Annotated[bool, typer.Option("--force", "--yes", help="Replace one of this name.")]


def learned_path(name: str, library: EditLibrary) -> Path:
    """The file that a learned basis has in the library."""
    return library.folder / "learned" / f"{check_name(name)}{SUFFIX}"


def find_learned(name_or_path: str, library: EditLibrary) -> Path:
    """The file of a learned basis, given its name in the library or a path.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    folder = library.folder / "learned"
    names = sorted(p.stem for p in folder.glob(f"*{SUFFIX}"))
    if name_or_path in names:
        return folder / f"{name_or_path}{SUFFIX}"
    raise UsageError(
        f"There is no learned basis {name_or_path!r} in {folder}",
        next_step=nearest(name_or_path, names)
        if names
        else "Train one with `pairedit basis train`, or give a file's path",
    )


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of analogies: control/ and target/, or a/, a_prime/, b/ and target/, or "
            "Relation252K.",
        ),
    ],
    name: Name,
    base: options.Base = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one of the published settings."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this name.")
    ] = False,
    force: Force = False,
    track: options.Track = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a basis of LoRAs on analogies, with keys that an image encoder mixes them by (LoRWeB).

    Saved as LIBRARY/learned/NAME.safetensors; the run's own files lie in LIBRARY/learned/runs/NAME.
    The settings are LoRWeB's published ones; --set count=8 --set steps=600 suits a laptop.
    """
    from pairedit_sdk.lorweb.settings import basis_settings

    output = Output(as_json, quiet)
    target = learned_path(name, library)
    # An edit of the same name keeps its own run.
    run_dir = EditLibrary(library.folder / "learned").run_folder(name)
    if target.exists() and not (force or resume):
        raise UsageError(
            f"There is a learned basis {name} already ({target})",
            next_step="Choose another --name, or replace it with --force",
        )
    device = values.device(device)
    config = basis_settings([*(settings or []), *([f"track={track}"] if track else [])])
    require_tracker(config.track)

    from pairedit_sdk.lorweb.analogies import AnalogyFolder
    from pairedit_sdk.lorweb.run_folder import BasisStep
    from pairedit_sdk.lorweb.trainer import train_basis
    from pairedit_sdk.models.loading import load_model

    analogies = AnalogyFolder(data)
    loaded = load_model(base or KONTEXT, device=device, precision=precision or "auto")
    try:
        with output.meter(f"training {name}", config.steps) as meter:

            def shown(info: BasisStep) -> None:
                meter.update(info.step, info.steps, f"loss {info.loss:.4f}")

            basis = train_basis(
                loaded, analogies, config, name=name, run_dir=run_dir, resume=resume, force=force,
                on_step=shown,
            )  # fmt: skip
    except KeyboardInterrupt as error:
        raise StoppedError(
            f"Training {name} was stopped", next_step="Go on with the same command and --resume"
        ) from error
    if not is_first():
        return
    basis.save(target)
    output.say(
        f"Saved {target} ({len(analogies)} analogies, {config.steps} steps).\n"
        f"Use it:  pairedit analogy A A_PRIME B --basis {name} -o out.png"
    )
    output.result(
        {"name": name, "path": target, "run_dir": run_dir, "analogies": len(analogies),
         "steps": config.steps, "elements": len(basis.elements)}
    )  # fmt: skip


def join(
    basis: Learned,
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="The folder of the pairs it was learned from.")
    ],
    library: options.Library = options.DEFAULT_LIBRARY,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Let an edit join a learned basis as one more element that analogies can choose."""
    import torch

    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.image_encoder import load_encoder
    from pairedit_sdk.pairs.pair_set import PairSet

    output = Output(as_json, quiet)
    path = find_learned(basis, library)
    loaded, own = LoRWeBBasis.load(path), library.load(edit)
    if own.name in loaded.elements:
        raise UsageError(
            f"There is an edit {own.name} in {path} already", next_step="Rename one of them"
        )
    pair_set = PairSet.from_folder(pairs)
    encoder = load_encoder(loaded.info.encoder)
    queries = [loaded.embed(encoder, p.before, p.after, p.before) for p in pair_set]
    nothing = [loaded.embed(encoder, p.before, p.before, p.before) for p in pair_set]
    joined = loaded.join(own, torch.stack(queries), torch.stack(nothing))
    joined.save(path)
    output.say(f"{own.name} joined {path}; it has {len(joined.elements)} elements.")
    output.result({"path": path, "elements": joined.elements})


def import_command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="LoRWeB's safetensors file.")
    ],
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The YAML that it was trained with.")
    ],
    name: Name,
    base: options.Base = None,
    force: Force = False,
    library: options.Library = options.DEFAULT_LIBRARY,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read a checkpoint of LoRWeB's own trainer into the library."""
    from pairedit_sdk.lorweb.published import read_lorweb

    output = Output(as_json, quiet)
    target = learned_path(name, library)
    if target.exists() and not force:
        raise UsageError(
            f"There is a learned basis {name} already ({target})",
            next_step="Choose another --name, or replace it with --force",
        )
    for path in (checkpoint, config):
        if not path.is_file():
            raise UsageError(f"There is no file {path}", next_step="Check the path")
    basis = read_lorweb(
        checkpoint, config, name=name, base=base or "black-forest-labs/FLUX.1-Kontext-dev"
    )
    basis.save(target)
    settings = basis.info.settings
    output.say(
        f"Saved {target}: {settings.count} LoRAs of rank {settings.rank} for {len(basis.layers)} "
        f"weights, mixed by {basis.info.encoder}."
    )
    about: dict[str, Any] = {"name": name, "path": target, "weights": len(basis.layers)}
    output.result({**about, "count": settings.count, "rank": settings.rank})


def draw(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder to write.")],
    each: Annotated[
        int, typer.Option("--each", min=1, help="Analogies of each kind of change.")
    ] = 8,
    first: Annotated[
        int,
        typer.Option(
            "--from", min=0, help="Leave out so many of each kind: those that were trained on."
        ),
    ] = 0,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            metavar="NAME=VALUE",
            help="Only this kind, e.g. hat=beanie; again for more.",
        ),
    ] = None,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Of the changes that are kept back from training.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw analogies of faces, to train a basis on the built-in Kontext base."""
    from pairedit_sdk.builtin.faces.analogies import SEEN, UNSEEN, drawn_analogy
    from pairedit_sdk.images.files import write_image

    output = Output(as_json, quiet)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already", expected="a new or empty folder")
    changes = _chosen(UNSEEN if unseen else SEEN, kinds or [])
    with output.meter("drawing", len(changes)) as meter:
        for change in changes:
            for index in range(first, first + each):
                drawn = drawn_analogy(change, index, "unseen" if unseen else "train")
                stem = f"{change[0]}-{change[1]}-{index:03d}"
                sides = {"a": drawn.a, "a_prime": drawn.a_prime, "b": drawn.b,
                         "target": drawn.b_prime}  # fmt: skip
                for side, face in sides.items():
                    write_image(face.draw(), folder / side / f"{stem}.png")
                caption = folder / "target" / f"{stem}.txt"
                caption.write_text(f"{drawn.caption}\n", encoding="utf-8")
            meter.advance(change[0])
    output.say(f"Drew {len(changes) * each} analogies of {len(changes)} changes into {folder}.")
    output.result({"folder": folder, "analogies": len(changes) * each, "changes": len(changes)})


def _chosen(changes: Sequence[tuple[str, str]], wanted: Sequence[str]) -> Sequence[tuple[str, str]]:
    known = {"=".join(change): change for change in changes}
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"There is no change {name!r} to draw", next_step=nearest(name, list(known))
            )
    return [known[name] for name in dict.fromkeys(wanted)] or changes
