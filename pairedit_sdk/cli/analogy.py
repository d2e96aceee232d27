"""``pairedit analogy``: a : a′ :: b, answered with the user's own edits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.basis import Count, Router, as_values, check_router, mix_table, next_step
from pairedit_sdk.cli.edit import Run
from pairedit_sdk.cli.lorweb import answer_command
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.pictures import load_for
from pairedit_sdk.cli.renamed import note
from pairedit_sdk.cli.sources import new_picture
from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.files import write_image

#: Edits in a mix, unless more are asked for.
COUNT = 3


def analogy(
    a: options.Before,
    a_prime: options.After,
    b: options.Edited,
    out: options.Out,
    scale: Annotated[float, typer.Option("--scale", help="Scale of the whole mix.")] = 1.0,
    count: Count = COUNT,
    router: Router = "encoder",
    strip: options.Strip = None,
    force: Annotated[
        bool, typer.Option("--force", help="Answer even if no edit is like this change.")
    ] = False,
    method: options.Method = "flowedit",
    steps: options.EditorSteps = None,
    detail: options.Detail = "original",
    mask: options.Mask = None,
    region: options.RegionOf = None,
    seed: options.Seed = 0,
    no_metadata: options.NoMetadata = False,
    lorweb: Annotated[str | None, typer.Option("--basis", hidden=True)] = None,
    prompt: Annotated[str, typer.Option("--prompt", hidden=True)] = "",
    layout: Annotated[options.Layout | None, typer.Option("--layout", hidden=True)] = None,
    base: options.Base = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make the change from A to A_PRIME on picture B.

    The router finds the edits of the basis that make this change, and B is edited with their mix. A
    change that is like none of them is refused; --force mixes the nearest. See also pairedit
    lorweb answer.
    """
    check_router(router)
    output = Output(as_json, quiet)
    target = new_picture(out, (a, a_prime, b), mask)
    shown = None if strip is None else new_picture(strip, (a, a_prime, b), mask)
    if lorweb is not None:
        _refuse_own(
            {
                "--scale": scale != 1,
                "--count": count != COUNT,
                "--router": router != "encoder",
                "--force": force,
                "--method": method != "flowedit",
                "--detail": detail != "original",
                "--mask": mask is not None,
                "--region": region is not None,
                "--no-metadata": no_metadata,
            }
        )
        note("pairedit analogy --basis", "pairedit lorweb answer", quiet=quiet)
        answer_command(
            lorweb,
            a,
            a_prime,
            b,
            out,
            prompt=prompt,
            layout=layout,
            steps=steps,
            seed=seed,
            strip=strip,
            base=base,
            library=library,
            device=device,
            precision=precision,
            as_json=as_json,
            quiet=quiet,
        )
        return
    if prompt or layout:
        raise UsageError(
            "--prompt and --layout are for a LoRWeB basis",
            next_step="Use them with `pairedit lorweb answer`",
        )
    device = values.device(device)
    scale = values.finite(str(scale), "The scale")

    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.images.plots import strip as draw_strip

    photo = Photo.read(b)
    before, after, picture = read_image(a), read_image(a_prime), photo.seen()
    asked = EditOptions(
        method=method,
        steps=steps,
        seed=seed,
        detail=detail,
        mask=None if mask is None else Photo.read(mask),
        region=values.region(region),
    )
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
            next_step=f"{next_step(route, library)}, or mix what is nearest with --force",
        )
    output.table(mix_table(route))
    output.say(route.sentence)
    model = model or load_for(base, device, precision, route)
    result = Run(output, model, route @ scale, asked, not no_metadata).one(photo, target)
    if shown is not None:
        labels = ["a", "a'", "b", "b'"]
        write_image(draw_strip([before, after, picture, result.seen()], labels), shown)
    output.say(f"Wrote {target}.")
    output.result({"path": target, "strip": shown, "seed": seed, **as_values(route)})


def _refuse_own(given: Mapping[str, bool]) -> None:
    """Refuse options that a LoRWeB basis has no use for.

    Raises:
        UsageError: naming those that are given.
    """
    dropped = [option for option, is_given in given.items() if is_given]
    if dropped:
        raise UsageError(
            f"{' and '.join(dropped)} cannot be used with a LoRWeB basis",
            next_step="Leave it out, or leave out --basis",
        )
