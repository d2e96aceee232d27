"""``pairedit analogy``: a : a′ :: b, answered with the user's own edits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.basis import After, Before, Count, Router, as_values, check_router, mix_table
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.pictures import another_picture, load_for
from pairedit_sdk.errors import InputError
from pairedit_sdk.image_files import picture_path, write_image


def analogy(
    a: Before,
    a_prime: After,
    b: Annotated[Path, typer.Argument(metavar="B", help="The picture to edit.")],
    out: options.Out,
    scale: Annotated[float, typer.Option("--scale", help="Strength of the whole mix.")] = 1.0,
    count: Count = 3,
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
    base: options.Base = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Do to B what was done from A to A_PRIME, with the edits of the basis.

    The router finds the edits that make this change, and B is edited with their mix. A change that
    is like none of them is refused: --force mixes what is nearest.
    """
    check_router(router)
    output = Output(as_json, quiet)
    target = another_picture(picture_path(out), b)
    shown = None if strip is None else another_picture(picture_path(strip), b)
    device = values.device(device)
    scale = values.finite(str(scale), "The scale")

    from pairedit_sdk.bases import load_base
    from pairedit_sdk.basis.library import Basis
    from pairedit_sdk.editing import edit_image
    from pairedit_sdk.images import read_image
    from pairedit_sdk.plots import strip as draw_strip

    before, after, picture = (read_image(path) for path in (a, a_prime, b))
    basis = Basis.open(library)
    model = None
    if router == "velocity":
        model = load_base(
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
        labels = ["a", "a\N{PRIME}", "b", "b\N{PRIME}"]
        write_image(draw_strip([before, after, picture, result], labels), shown)
    output.say(f"Wrote {target}.")
    output.result({"path": target, "strip": shown, "seed": seed, **as_values(route)})
