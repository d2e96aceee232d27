"""``pairedit lorweb``: models of LoRAs that are trained together on analogies (LoRWeB)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.lorweb_draw import draw
from pairedit_sdk.cli.lorweb_learn import learn
from pairedit_sdk.cli.lorweb_train import train
from pairedit_sdk.cli.lorweb_values import basis_path, coefficient_table, find_basis
from pairedit_sdk.cli.options import After, Before, Edited, Layout, Strip
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.sources import new_picture
from pairedit_sdk.errors import UsageError, counted
from pairedit_sdk.images.files import write_image
from pairedit_sdk.io.files import require_writable

#: The model of the bases that LoRWeB's authors publish.
PUBLISHED = "black-forest-labs/FLUX.1-Kontext-dev"

app = typer.Typer(
    rich_markup_mode=None,
    help="Train and use LoRWeB bases: LoRAs mixed by analogy.",
    no_args_is_help=True,
)

app.command("draw")(draw)
app.command("train")(train)
app.command("learn")(learn)

Name = Annotated[str, typer.Option("--name", help="Name of the basis.")]
BasisFile = Annotated[
    str, typer.Argument(metavar="BASIS", help="A LoRWeB basis of the library, or its file.")
]
Force = Annotated[bool, typer.Option("--force", "--yes", help="Replace a basis of this name.")]


@app.command("join")
def join(
    basis: BasisFile,
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="The folder of the pairs it was learned from.")
    ],
    library: options.Library = options.DEFAULT_LIBRARY,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Add an edit to a LoRWeB basis, for analogies to choose."""
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.files import locked
    from pairedit_sdk.models.image_encoder import load_encoder
    from pairedit_sdk.pairs.pair_set import PairSet

    output = Output(as_json, quiet)
    path = require_writable(find_basis(basis, library))
    own, pair_set = library.load(edit), PairSet.from_folder(pairs)
    with locked(path):
        loaded = LoRWeBBasis.load(path)
        if own.name in loaded.elements:
            raise UsageError(
                f"There is an edit {own.name} in {path} already", next_step="Rename one of them"
            )
        encoder = load_encoder(loaded.info.encoder)
        joined = loaded.join(own, *loaded.asked(encoder, pair_set))
        joined.save(path)
    output.say(f"{own.name} joined {path}; it has {counted(len(joined.elements), 'element')}.")
    output.result({"path": path, "elements": joined.elements})


@app.command("import")
def import_command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="LoRWeB's safetensors file.")
    ],
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The YAML that it was trained with.")
    ],
    name: Name,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            envvar="PAIREDIT_BASE",
            help=f"The Kontext model that it was trained on. [{PUBLISHED}]",
        ),
    ] = None,
    force: Force = False,
    library: options.Library = options.DEFAULT_LIBRARY,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Read a checkpoint of LoRWeB's own trainer into the library."""
    from pairedit_sdk.lorweb.files import locked
    from pairedit_sdk.lorweb.published import read_lorweb

    output = Output(as_json, quiet)
    target = basis_path(name, library)
    if target.exists() and not force:
        raise UsageError(
            f"There is a LoRWeB basis {name} already ({target})",
            next_step="Choose another --name, or replace it with --force",
        )
    require_writable(target)
    for path in (checkpoint, config):
        if not path.is_file():
            raise UsageError(f"There is no file {path}", next_step="Check the path")
    basis = read_lorweb(checkpoint, config, name=name, base=base or PUBLISHED)
    with locked(target):
        basis.save(target)
    settings = basis.info.settings
    output.say(
        f"Saved {target}: {counted(settings.count, 'LoRA')} of rank {settings.rank} for "
        f"{counted(len(basis.layers), 'weight')}, mixed by {basis.info.encoder}."
    )
    about: dict[str, Any] = {"name": name, "path": target, "weights": len(basis.layers)}
    output.result({**about, "count": settings.count, "rank": settings.rank})


@app.command("answer")
def answer_command(
    basis: BasisFile,
    a: Before,
    a_prime: After,
    b: Edited,
    out: options.Out,
    prompt: Annotated[
        str, typer.Option("--prompt", help="Words about the change, in addition.")
    ] = "",
    layout: Annotated[
        Layout | None, typer.Option("--layout", help="Layout of the pictures. [as in training]")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Sampling steps. [28]")
    ] = None,
    seed: options.Seed = 0,
    strip: Strip = None,
    base: options.Base = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.AutoPrecision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make the change from A to A_PRIME on picture B.

    The answer is made with a mix of the basis's LoRAs. The model sees all three pictures, so it
    must be an edit model.
    """
    output = Output(as_json, quiet)
    target = new_picture(out, (a, a_prime, b))
    drawn = None if strip is None else new_picture(strip, (a, a_prime, b))
    device = values.device(device)

    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.plots import strip as draw_strip
    from pairedit_sdk.lorweb.answering import STEPS, answer
    from pairedit_sdk.lorweb.basis import LoRWeBBasis

    pictures = [read_image(path) for path in (a, a_prime, b)]
    loaded = LoRWeBBasis.load(find_basis(basis, library))
    model = load_model(base or loaded.info.base, device=device, precision=precision or "auto")
    with output.meter("answering") as meter:
        found = answer(
            model,
            loaded,
            *pictures,
            prompt=prompt,
            layout=layout,
            steps=steps or STEPS,
            seed=seed,
            on_step=meter.update,
        )
    output.table(coefficient_table(found.coefficients))
    write_image(found.b_prime, target)
    if drawn is not None:
        write_image(draw_strip([*pictures, found.b_prime], ["a", "a'", "b", "b'"]), drawn)
    output.say(f"Wrote {target}.")
    output.result(
        {"path": target, "strip": drawn, "seed": seed, "coefficients": found.coefficients}
    )
