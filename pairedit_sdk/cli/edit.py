"""``pairedit edit``: edits on one picture or many."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import options, sources, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.pictures import EDITS_HELP, load_for, named, say_words
from pairedit_sdk.cli.sources import STREAM, Job
from pairedit_sdk.errors import (
    InputError,
    PairEditError,
    UsageError,
    WriteError,
    counted,
    explained,
)

if TYPE_CHECKING:
    from pairedit_sdk.editing.edit_images import EditedImage
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.images.inputs import ImageLike
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.models.protocol import FlowModel


def edit(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Pictures to edit: files, folders, patterns like 'shots/*.jpg', or - for "
            "standard input.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE|FOLDER",
            help="The picture to write, or the folder for several, which keep their names. - is "
            "standard output, as PNG.",
        ),
    ],
    edits: Annotated[
        list[str] | None, typer.Option("--edit", metavar="NAME=SCALE", help=EDITS_HELP)
    ] = None,
    instructions: options.Instructions = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Write anew what is in the folder already, and skip nothing."
        ),
    ] = False,
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
    no_metadata: options.NoMetadata = False,
    base: options.Base = None,
    library: options.ReadLibrary = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    offload: options.Offload = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Apply edits and instructions, one or several, to pictures.

    A picture comes back at its own size and with its own detail, transparency, colour profile and
    EXIF data. Several pictures go into a folder: those that are there are skipped, and those that
    fail are listed at the end, with exit status 1.
    """
    jobs, in_folder = sources.jobs(images, out)
    if out == STREAM and as_json:
        raise UsageError("Both the picture and --json want standard output", next_step="Name a "
                         "file with -o")  # fmt: skip
    output = Output(as_json, quiet)
    values.require_edits(edits, instructions)
    chosen = values.edits_and_scales(edits or [], library)
    told = [values.instruction_and_scale(text) for text in instructions or []]
    values.check_flowedit(method, steps, n_max, n_avg, threshold, limit_scale, mode)
    device = values.device(device)
    words, todo = not no_words and method == "flowedit", []
    for job in jobs:
        if mask is not None and job.target is not None:
            sources.another_picture(job.target, mask, "the mask")
        if overwrite or not in_folder or not _is_there(job):
            todo.append(job)
            continue
        otherwise = _is_made_otherwise(job, chosen, told, words)
        by = ", made with other edits or scales; see --overwrite" if otherwise else ""
        output.say(f"Skipped {job.name}: {job.target} is there already{by}.")
        output.line({"input": job.name, "path": job.target, "skipped": True})
    if not todo:
        output.say("Nothing to do; --overwrite writes them anew.")
        return

    from pairedit_sdk.editing.composition import default_mode
    from pairedit_sdk.editing.guidance import check_cfg
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.images.encoding import require_size
    from pairedit_sdk.images.files import FORMATS
    from pairedit_sdk.images.photo import Photo

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
    # Before a model is loaded: a single picture, and standard input.
    read = {job: job.read() for job in todo if not in_folder or job.source is None}
    for job, photo in read.items():
        if job.target is not None:
            require_size(photo.size, FORMATS[job.target.suffix.lower()])
    stack = values.load_stack(chosen, told)
    check_cfg(stack, asked)
    model = load_for(base, device, precision, stack, offload=offload)
    done = {"seed": seed, "method": method, "mode": mode or default_mode(stack, method)}
    run = Run(output, model, stack, asked, not no_metadata)
    words_used = say_words(None if out == STREAM else output, stack, asked)
    facts = {"edits": named(chosen), "words": words_used, **done}
    if in_folder:
        _many(run, todo, read, facts)
        return
    run.one(read[todo[0]], todo[0].target)
    if out != STREAM:
        output.say(f"Wrote {todo[0].target}.")
    output.result({"path": todo[0].target, **facts})


@dataclass(frozen=True)
class Run:
    """What all pictures of a call have in common.

    Args:
        output: where words and progress go.
        model: that edits.
        stack: the edits.
        asked: how they are applied.
        metadata: whether files say how they were made.
    """

    output: Output
    model: FlowModel
    stack: EditStack
    asked: EditOptions
    metadata: bool = True

    def one(self, photo: Photo, target: Path | None) -> Photo:
        """Edit one picture, with a progress bar over steps, and write it.

        Raises:
            PairEditError: why it failed.
        """
        with self.output.meter("editing") as meter:
            (edited,) = self.edited([photo], meter.update)
        return self.written(edited, target)

    def edited(self, images: Iterable[ImageLike], on_step: Any = None) -> Iterator[EditedImage]:
        """What becomes of the pictures, in their order."""
        from pairedit_sdk.cli.services import edit_images

        return edit_images(self.model, images, self.stack, self.asked, on_step=on_step)

    def written(self, edited: EditedImage, target: Path | None) -> Photo:
        """Write what became of a picture.

        Raises:
            PairEditError: why it failed, or could not be written.
        """
        if edited.photo is None:
            raise edited.error or PairEditError("The picture was not edited")
        if target is not None:
            edited.photo.save(target, metadata=self.metadata)
            return edited.photo
        try:
            edited.photo.save(sys.stdout.buffer, metadata=self.metadata)
            sys.stdout.buffer.flush()  # or a full disk would be found when nobody can say so
        except BrokenPipeError:  # nobody reads any more
            raise
        except OSError as error:
            raise WriteError("standard output", error) from error
        return edited.photo


def _is_made_otherwise(
    job: Job, chosen: Sequence[tuple[Path, float]], told: Sequence[tuple[str, float]], words: bool
) -> bool:
    """Whether the file that is there says that it was made with other edits, scales or words."""
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.edits.instruction import Instruction
    from pairedit_sdk.edits.merging import acting_words
    from pairedit_sdk.images.metadata import read_made

    assert job.target is not None
    try:
        made = read_made(job.target)
    except InputError:
        return False
    parts = [(Edit.read_info(path), scale) for path, scale in chosen]
    parts += [(Instruction(phrase).info, scale) for phrase, scale in told]
    wanted = [{"name": info.name, "scale": scale} for info, scale in parts]
    acting = acting_words(parts).items() if words else []
    said = [{"phrase": phrase, "scale": scale} for phrase, scale in acting]
    return made is not None and (made.get("edits"), made.get("words", [])) != (wanted, said)


def _is_there(job: Job) -> bool:
    return job.target is not None and job.target.exists()


def _many(
    run: Run, jobs: Sequence[Job], read: Mapping[Job, Photo], facts: Mapping[str, Any]
) -> None:
    """Edit pictures into a folder, with a progress bar over them.

    Args:
        run: what they have in common.
        jobs: the pictures.
        read: those of them that are read already.
        facts: what JSON says of each.

    Raises:
        typer.Exit: 1, if any failed; they are listed.
    """
    output, failed = run.output, []
    pictures = (job.source or read[job] for job in jobs)
    with output.meter("editing", len(jobs), unit="picture", together=True) as meter:
        for job, edited in zip(jobs, run.edited(pictures), strict=True):
            try:
                run.written(edited, job.target)
            except Exception as raised:  # of any kind: the others are still to be written
                error = explained(raised)
                failed.append((job, error))
                output.line({"input": job.name, "error": {"message": str(error)}})
            else:
                output.line({"input": job.name, "path": job.target, **facts})
            meter.advance()
    made = len(jobs) - len(failed)
    if made:
        output.say(f"Wrote {counted(made, 'picture')} to {jobs[0].target.parent}.")  # type: ignore[union-attr]
    for job, error in failed:
        said = str(error)
        typer.echo(f"Failed: {said if job.name in said else f'{job.name}: {said}'}", err=True)
    if failed:
        raise typer.Exit(1)
