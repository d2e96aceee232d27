"""``pairedit generate`` and ``sweep``: pictures made with saved edits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.sources import new_picture
from pairedit_sdk.errors import printable
from pairedit_sdk.images.files import write_image

if TYPE_CHECKING:
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.models.protocol import FlowModel

Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture to edit.")]
EDITS_HELP = "NAME=SCALE, NAME, or a path to an edit file; may be repeated."


def generate(
    prompt: Annotated[
        str, typer.Option("--prompt", help="What to show, or what to do to the --image.")
    ],
    out: options.Out,
    images: Annotated[
        list[Path] | None,
        typer.Option("--image", help="A reference image, for an edit model; again for more."),
    ] = None,
    edits: Annotated[
        list[str] | None, typer.Option("--edit", metavar="NAME=SCALE", help=EDITS_HELP)
    ] = None,
    mode: options.Mode = "merged",
    seed: options.Seed = 0,
    steps: options.Steps = 28,
    start_step: Annotated[
        int | None,
        typer.Option(
            "--start-step",
            min=0,
            help="The first step in which the edits act; before it the model alone fixes the "
            "layout. Without it: half of the steps.",
        ),
    ] = None,
    guidance: options.Guidance = None,
    cfg: options.Cfg = 1.0,
    negative_prompt: Annotated[
        str, typer.Option("--negative-prompt", help="What to keep away from, with --cfg.")
    ] = "",
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Without it: the model's own.")
    ] = None,
    base: options.Base = None,
    library: options.ReadLibrary = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    offload: options.Offload = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw a new picture from a prompt, with or without edits."""
    output = Output(as_json, quiet)
    target = new_picture(out, images or [])
    width, height = values.size(size)
    chosen = values.edits_and_scales(edits or [], library)
    values.check_steps(start_step, steps, "--start-step")
    device = values.device(device)

    from pairedit_sdk.cli.services import generate as run_generate
    from pairedit_sdk.editing.generate import GenerateOptions, check_prompts
    from pairedit_sdk.images.image import read_image

    asked = GenerateOptions(
        seed=seed,
        steps=steps,
        start_step=start_step,
        guidance=guidance,
        cfg=cfg,
        negative_prompt=negative_prompt,
        width=width,
        height=height,
        mode=mode,
    )
    check_prompts(prompt, asked)
    references = [read_image(path) for path in images or []]
    stack = values.load_stack(chosen) if chosen else None
    model = load_for(base, device, precision, stack, offload=offload)
    with output.meter("generating") as meter:
        result = run_generate(
            model, prompt, stack, asked, references=references, on_step=meter.update
        )
    write_image(result, target)
    output.say(f"Wrote {target}.")
    output.result({"path": target, "prompt": prompt, "edits": named(chosen), "seed": seed})


def sweep(
    image: Image,
    out: options.Out,
    edits: Annotated[
        list[str] | None, typer.Option("--edit", metavar="NAME=SCALE", help=EDITS_HELP)
    ] = None,
    instructions: options.Instructions = None,
    scales: Annotated[
        str, typer.Option("--scales", help="The scales to show, separated by commas.")
    ] = "0,.25,.5,.75,1",
    mode: Annotated[options.ModeName | None, options.MODE] = None,
    method: options.Method = "flowedit",
    steps: options.EditorSteps = None,
    n_max: options.NMax = None,
    n_avg: options.NAvg = None,
    threshold: options.Threshold = None,
    limit_scale: options.LimitScale = None,
    no_words: options.NoWords = False,
    resolution: options.Resolution = None,
    detail: options.Detail = "original",
    mask: options.Mask = None,
    region: options.RegionOf = None,
    guidance: options.Guidance = None,
    cfg: options.Cfg = 1.0,
    seed: options.Seed = 0,
    base: options.Base = None,
    library: options.ReadLibrary = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    offload: options.Offload = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show edits or instructions at several scales, as a strip.

    Those that are given together act together: each of the scales is that of the whole, beside
    their own.
    """
    output = Output(as_json, quiet)
    target = new_picture(out, [image], mask)
    strengths = values.scales(scales)
    values.require_edits(edits, instructions)
    chosen = values.edits_and_scales(edits or [], library)
    told = [values.instruction_and_scale(text) for text in instructions or []]
    values.check_flowedit(method, steps, n_max, n_avg, threshold, limit_scale, mode)
    device = values.device(device)

    from pairedit_sdk.cli.services import sweep as run_sweep
    from pairedit_sdk.editing.guidance import check_cfg
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.images.plots import strip

    asked = EditOptions(
        method=method,
        steps=steps,
        n_max=n_max,
        n_avg=n_avg,
        threshold=threshold,
        limit_scale=limit_scale,
        guidance=guidance,
        cfg=cfg,
        seed=seed,
        mode=mode,
        words=not no_words,
        resolution=resolution,
        detail=detail,
        mask=None if mask is None else Photo.read(mask),
        region=values.region(region),
    )
    picture = Photo.read(image)
    stack = values.load_stack(chosen, told)
    check_cfg(stack, asked)
    title = " + ".join(one.name for one, _ in stack.parts)
    model = load_for(base, device, precision, stack, offload=offload)
    words = say_words(output, stack, asked)
    with output.meter(f"sweeping {title}") as meter:
        results = run_sweep(model, picture, stack, strengths, asked, on_step=meter.update)
    labels = ["input", *(f"{strength:g}" for strength in strengths)]
    write_image(strip([picture.seen(), *results], labels, title=title), target)
    output.say(f"Wrote {target}.")
    output.result(
        {
            "path": target,
            "edit": chosen[0][0] if len(chosen) == 1 else None,
            "edits": named(chosen),
            "words": words,
            "scales": strengths,
            "seed": seed,
        }
    )


def load_for(
    base: str | None,
    device: str | None,
    precision: str | None,
    stack: EditStack | None,
    *,
    offload: bool = False,
) -> FlowModel:
    """The model that was asked for, or else the one that suits the edits, see
    :func:`pairedit_sdk.edits.learned_on.own_model`."""
    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.edits.learned_on import own_model

    edits = [] if stack is None else [edit for edit, _ in stack.parts]
    told = any(not edit.layers for edit in edits)
    name, suited = own_model([edit.info for edit in edits], told=told)
    return load_model(base or name, device=device, precision=precision or suited, offload=offload)


def say_words(output: Output | None, stack: EditStack, asked: EditOptions) -> list[dict[str, Any]]:
    """Say which instructions act, in one line; the same as JSON has it.

    Args:
        output: of the command; ``None`` where standard output is the picture's.
        stack: the edits.
        asked: how they are applied.
    """
    from pairedit_sdk.editing.words import words_for

    words = words_for(stack, asked)
    if words and output is not None:
        said = "; ".join(f"{printable(phrase)} @ {scale:g}" for phrase, scale in words.items())
        output.say(f"Words: {said}.")
    return [{"phrase": phrase, "scale": scale} for phrase, scale in words.items()]


def named(chosen: list[tuple[Path, float]]) -> list[dict[str, Any]]:
    return [{"path": path, "scale": scale} for path, scale in chosen]
