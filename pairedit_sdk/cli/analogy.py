"""``pairedit analogy``: a : a′ :: b, answered with the user's own edits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.basis import After, Before, Count, Router, as_values, check_router, mix_table
from pairedit_sdk.cli.learned import find_learned
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.pictures import another_picture, load_for
from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.files import picture_path, write_image

if TYPE_CHECKING:
    from rich.table import Table

    from pairedit_sdk.edits.library import EditLibrary

#: Edits in a mix, unless more are asked for.
COUNT = 3


def analogy(
    a: Before,
    a_prime: After,
    b: Annotated[Path, typer.Argument(metavar="B", help="The picture to edit.")],
    out: options.Out,
    scale: Annotated[float, typer.Option("--scale", help="Strength of the whole mix.")] = 1.0,
    count: Count = COUNT,
    router: Router = "encoder",
    strip: Annotated[
        Path | None, typer.Option("--strip", help="A picture of a, a\N{PRIME}, b and b\N{PRIME}.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Answer even if nothing in the basis is like it.")
    ] = False,
    method: options.Method = "flowedit",
    steps: options.EditorSteps = None,
    seed: options.Seed = 0,
    learned: Annotated[
        str | None,
        typer.Option(
            "--basis",
            help="A learned basis (see pairedit basis train), by name or file, in the place of the "
            "library's edits.",
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option("--prompt", help="With --basis: what is asked for, in words, besides.")
    ] = "",
    layout: Annotated[
        Literal["grid", "sequence"] | None,
        typer.Option("--layout", help="With --basis: another one than it was trained with."),
    ] = None,
    base: options.Base = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Do to B what was done from A to A_PRIME, with the edits of the basis.

    The router finds the edits that make this change, and B is edited with their mix. A change that
    is like none of them is refused: --force mixes what is nearest. With --basis a learned basis is
    mixed in their place, on a Kontext base that looks at all three pictures.
    """
    check_router(router)
    output = Output(as_json, quiet)
    target = another_picture(picture_path(out), b)
    shown = None if strip is None else another_picture(picture_path(strip), b)
    device = values.device(device)
    if learned is not None:
        dropped = [
            option
            for option, given in {
                "--scale": scale != 1, "--count": count != COUNT, "--router": router != "encoder",
                "--force": force, "--method": method != "flowedit",
            }.items()
            if given
        ]  # fmt: skip
        if dropped:
            raise UsageError(
                f"{' and '.join(dropped)} cannot be used with a learned basis",
                next_step="Leave it out, or leave out --basis",
            )
        _answer(
            output, (a, a_prime, b), target, shown, learned, prompt=prompt, layout=layout,
            steps=steps, seed=seed, base=base, library=library, device=device, precision=precision,
        )  # fmt: skip
        return
    if prompt or layout:
        raise UsageError(
            "--prompt and --layout are for a learned basis", next_step="Name one with --basis"
        )
    scale = values.finite(str(scale), "The scale")

    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.editing.edit_image import edit_image
    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.plots import strip as draw_strip
    from pairedit_sdk.models.loading import load_model

    before, after, picture = (read_image(path) for path in (a, a_prime, b))
    basis = EditBasis.open(library)
    model = None
    if router == "velocity":
        model = load_model(
            base or basis.require_base(), device=device, precision=precision or "auto"
        )
        route = basis.route_by_velocity(model, before, after, count=count, seed=seed)
    else:
        route = basis.route(before, after, picture, count=count)
    if not route.known and not force:
        raise InputError(
            route.sentence.rstrip("."),
            next_step="Learn this change with `pairedit train PAIRS --name NAME --place`, or mix "
            "what is nearest with --force",
        )
    output.table(mix_table(route))
    output.say(route.sentence)
    model = model or load_for(base, device, precision, route)
    with output.meter("editing") as meter:
        result = edit_image(
            model, picture, route @ scale, method=method, steps=steps, seed=seed,
            on_step=meter.update,
        )  # fmt: skip
    write_image(result, target)
    if shown is not None:
        labels = ["a", "a'", "b", "b'"]
        write_image(draw_strip([before, after, picture, result], labels), shown)
    output.say(f"Wrote {target}.")
    output.result({"path": target, "strip": shown, "seed": seed, **as_values(route)})


def _answer(
    output: Output, pictures: tuple[Path, Path, Path], target: Path, shown: Path | None,
    learned: str, *, prompt: str, layout: str | None, steps: int | None, seed: int,
    base: str | None, library: EditLibrary, device: str | None, precision: str | None,
) -> None:  # fmt: skip
    """:func:`analogy` with a learned basis."""
    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.plots import strip as draw_strip
    from pairedit_sdk.lorweb.answering import STEPS, answer
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.loading import load_model

    a, a_prime, b = (read_image(path) for path in pictures)
    basis = LoRWeBBasis.load(find_learned(learned, library))
    model = load_model(base or basis.info.base, device=device, precision=precision or "auto")
    with output.meter("answering") as meter:
        found = answer(
            model, basis, a, a_prime, b, prompt=prompt, layout=layout, steps=steps or STEPS,
            seed=seed, on_step=meter.update,
        )  # fmt: skip
    output.table(_coefficient_table(found.coefficients))
    write_image(found.b_prime, target)
    if shown is not None:
        labels = ["a", "a'", "b", "b'"]
        write_image(draw_strip([a, a_prime, b, found.b_prime], labels), shown)
    output.say(f"Wrote {target}.")
    output.result(
        {"path": target, "strip": shown, "seed": seed, "coefficients": found.coefficients}
    )


def _coefficient_table(coefficients: dict[str, float]) -> Table:
    """The elements that have most of the mix."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("Element")
    table.add_column("In the mix", justify="right")
    for name in sorted(coefficients, key=lambda n: -abs(coefficients[n]))[:5]:
        table.add_row(Text(name), f"{coefficients[name]:.2f}")
    return table
