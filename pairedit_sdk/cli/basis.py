"""``pairedit basis``: edits with keys that an analogy finds them by."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairedit_sdk.cli import lorweb, values
from pairedit_sdk.cli.lorweb_draw import draw
from pairedit_sdk.cli.lorweb_train import train
from pairedit_sdk.cli.options import DEFAULT_LIBRARY, After, Before, Device, Json, Library, Quiet
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.renamed import former
from pairedit_sdk.errors import UsageError, counted

if TYPE_CHECKING:
    from rich.table import Table

    from pairedit_sdk.basis.mix import EditMix
    from pairedit_sdk.edits.library import EditLibrary

app = typer.Typer(
    rich_markup_mode=None, help="Manage the edits that analogies choose from.", no_args_is_help=True
)

_LORWEB: dict[str, Callable[..., None]] = {
    "train": train,
    "join": lorweb.join,
    "import": lorweb.import_command,
    "draw": draw,
}
for name, command in _LORWEB.items():
    app.command(name, hidden=True)(former(command, f"basis {name}", f"lorweb {name}"))

Name = Annotated[str, typer.Argument(metavar="NAME", help="An edit of the basis.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="The image encoder: mini, a folder or a hub id of a CLIP or SigLIP model. Without it: "
        "the basis's own, or the one that goes with the edit's model.",
    ),
]
Count = Annotated[int, typer.Option("--count", min=1, max=32, help="The most edits to mix.")]

Router = Annotated[
    str,
    typer.Option(
        "--router",
        help="encoder asks the image encoder, which is fast. velocity asks the model how much "
        "of each edit is in the change; it finds two edits at once in full.",
    ),
]
ROUTERS = ("encoder", "velocity")


@app.command("place")
def place(
    edit: Annotated[str, typer.Argument(metavar="EDIT", help="A name in the library, or a path.")],
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="The folder of the pairs it was learned from.")
    ],
    encoder: Encoder = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an edit of that name.")] = False,
    library: Library = DEFAULT_LIBRARY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put an edit into the basis.

    From then on analogies can choose it.
    """
    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.pairs.pair_set import PairSet

    output = Output(as_json, quiet)
    loaded = library.load(edit)
    pair_set = PairSet.from_folder(pairs)
    basis = EditBasis.open(library, encoder)
    placed = basis.place(loaded, pair_set, replacing=force)
    held = counted(len(basis.list()), "edit")
    output.say(f"Placed {loaded.name} ({counted(len(pair_set), 'pair')}); the basis has {held}.")
    output.result(
        {
            "name": placed.name,
            "pairs": placed.pairs,
            "recognised": placed.recognised,
            "edits": len(basis.list()),
        }
    )


@app.command("list")
def list_command(
    library: Library = DEFAULT_LIBRARY, as_json: Json = False, quiet: Quiet = False
) -> None:
    """List the edits of the basis."""
    from pairedit_sdk.basis.edit_basis import EditBasis

    output = Output(as_json, quiet)
    basis = EditBasis.open(library)
    entries = basis.list()
    for entry in entries:
        weak = "" if entry.recognised else ", not found in them"
        output.say(f"{entry.name}  ({counted(entry.pairs, 'pair')}{weak})")
    if not entries:
        output.say(f"Nothing in the basis of {library} yet: pairedit basis place EDIT PAIRS")
    output.result(
        {
            "library": library,
            "encoder": basis.index.encoder,
            "fitted": basis.index.fitted is not None,
            "edits": [
                {"name": e.name, "pairs": e.pairs, "recognised": e.recognised, "path": e.path}
                for e in entries
            ],
        }
    )


@app.command("show")
def show(
    name: Name, library: Library = DEFAULT_LIBRARY, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Show an edit of the basis, and the edits that it is like."""
    from pairedit_sdk.basis.edit_basis import EditBasis

    output = Output(as_json, quiet)
    basis = EditBasis.open(library)
    entry = basis.show(name)
    nearest = basis.neighbours(name)
    output.say(f"{entry.name}: {counted(entry.pairs, 'pair')}, {entry.path}")
    for other, similarity in nearest.items():
        output.say(f"  like {other}: {similarity:.2f}")
    output.result({"name": name, "pairs": entry.pairs, "path": entry.path, "similarities": nearest})


@app.command("remove")
def remove(name: Name, library: Library = DEFAULT_LIBRARY, quiet: Quiet = False) -> None:
    """Take an edit out of the basis; its file stays in the library."""
    from pairedit_sdk.basis.edit_basis import EditBasis

    EditBasis.open(library).remove(name)
    Output(quiet=quiet).say(f"Removed {name} from the basis; the edit itself is still there.")


@app.command("rename")
def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    library: Library = DEFAULT_LIBRARY,
    quiet: Quiet = False,
) -> None:
    """Give an edit of the basis another name."""
    from pairedit_sdk.basis.edit_basis import EditBasis

    EditBasis.open(library).rename(name, new)
    Output(quiet=quiet).say(f"{name} is now {new}.")


@app.command("reindex")
def reindex(library: Library = DEFAULT_LIBRARY, quiet: Quiet = False) -> None:
    """Build the basis's index again from the placed edits."""
    from pairedit_sdk.basis.edit_basis import EditBasis

    count = EditBasis.open(library).reindex()
    Output(quiet=quiet).say(f"The basis has {counted(count, 'edit')}.")


@app.command("fit")
def fit(library: Library = DEFAULT_LIBRARY, as_json: Json = False, quiet: Quiet = False) -> None:
    """Fit the router to the placed pairs.

    The fitted router is kept only if it finds left-out pairs better.
    """
    from pairedit_sdk.basis.edit_basis import EditBasis

    output = Output(as_json, quiet)
    result = EditBasis.open(library).fit()
    asked = counted(result.asked, "left-out pair")
    output.say(
        f"Of {asked} the right edit was found for {result.before:.0%} "
        f"unfitted and {result.after:.0%} fitted. The "
        + ("fitted router is kept." if result.kept else "unfitted router stays.")
    )
    output.result(
        {"before": result.before, "after": result.after, "asked": result.asked, "kept": result.kept}
    )


@app.command("route")
def route(
    a: Before,
    a_prime: After,
    b: Annotated[Path | None, typer.Argument(metavar="B", help="The picture to be edited.")] = None,
    count: Count = 3,
    router: Router = "encoder",
    library: Library = DEFAULT_LIBRARY,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which edits of the basis an analogy asks for."""
    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.images.image import read_image

    output = Output(as_json, quiet)
    check_router(router)
    device = values.device(device)
    before, after = read_image(a), read_image(a_prime)
    picture = None if b is None else read_image(b)
    basis = EditBasis.open(library)
    if router == "velocity":
        from pairedit_sdk.cli.services import load_model

        model = load_model(basis.require_base(), device=device)
        found = basis.route_by_velocity(model, before, after, count=count)
    else:
        found = basis.route(before, after, picture, count=count)
    output.table(mix_table(found))
    output.say(found.sentence if found.known else f"{found.sentence} {next_step(found, library)}.")
    output.result(as_values(found))


def check_router(name: str) -> None:
    """Refuse a router that does not exist.

    Raises:
        UsageError: naming it.
    """
    if name not in ROUTERS:
        raise UsageError(f"There is no router {name!r}", expected=" or ".join(ROUTERS))


def next_step(route: EditMix | None, library: EditLibrary) -> str:
    """What to do about an analogy that is not known."""
    if route is None or route.opposite is None:
        return "Learn this change with `pairedit train PAIRS --name NAME --place`"
    shown = "" if library == DEFAULT_LIBRARY else f" --library {shlex.quote(str(library))}"
    return f"Undo the edit with `pairedit edit PICTURE --edit {route.opposite}=-1{shown} -o OUT`"


def mix_table(route: EditMix) -> Table:
    """What was mixed, and how like each edit the analogy is."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("Edit", "Similarity", "In the mix"):
        table.add_column(heading, justify="left" if heading == "Edit" else "right")
    for name, similarity in route.similarities.items():
        share = route.coefficients.get(name)
        mixed = "" if share is None else f"{share:.2f}"
        table.add_row(Text(name), f"{similarity:.2f}", mixed)
    return table


def as_values(route: EditMix) -> dict[str, object]:
    """The same as plain values."""
    return {
        "known": route.known,
        "coefficients": route.coefficients,
        "similarities": route.similarities,
        "threshold": route.threshold,
        "thresholds": route.thresholds,
        "opposite": route.opposite,
        "sentence": route.sentence,
    }
