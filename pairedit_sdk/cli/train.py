"""``pairedit train``: learn an edit from before/after pairs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.errors import StoppedError
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.rehearsal import rehearse
from pairedit_sdk.cli.words import phrases
from pairedit_sdk.errors import UsageError, counted, printable
from pairedit_sdk.io.files import require_writable, require_writable_folder
from pairedit_sdk.jobs.make_edit import advice_on, make_edit, resume_hint, settings_for
from pairedit_sdk.training.trackers import require_tracker

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.training.config import TrainConfig


def train(
    pairs: Annotated[
        Path, typer.Argument(metavar="PAIRS", help="The folder of pairs; see pairedit check.")
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the edit.")],
    base: options.TrainBase = None,
    recipe: options.Recipe = None,
    settings: options.Settings = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this name.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "--yes", help="Replace an edit or a run of this name.")
    ] = False,
    skip_check: Annotated[
        bool, typer.Option("--skip-check", help="Train even if pairedit check advises against it.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check pairs, model, memory and disk, try two steps, and keep nothing.",
        ),
    ] = False,
    place: Annotated[
        bool, typer.Option("--place", help="Put the edit into the library's basis as well.")
    ] = False,
    said: options.Words = None,
    vocabulary: options.VocabularyFile = None,
    find: Annotated[
        bool | None,
        typer.Option(
            "--find-words/--no-words",
            help="Whether an edit model is asked which instruction explains the pairs, to act "
            "beside what is learned from them. --words and --vocabulary ask for it too. Without "
            "any: the recipe's.",
        ),
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", help="Licence of the edit; kept in its file.")
    ] = "",
    track: options.Track = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.TrainPrecision = None,
    offload: options.Offload = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn an edit from before/after pairs.

    The pairs are checked first. The edit is saved as LIBRARY/NAME.safetensors; NAME.png beside it
    shows what it does to its own pairs. LIBRARY/runs/NAME holds the run's settings, metrics and
    checkpoints, and previews with --set checkpointing.preview_every=100.
    """
    output = Output(as_json, quiet)
    target, run_dir = library.target(name), library.run_folder(name)
    device = values.device(device)
    if not dry_run:
        _refuse_overwriting(name, target, run_dir, resume=resume, force=force)
        require_writable(target)
        require_writable_folder(run_dir)
    given = {"precision": precision, "track": track, "offload": "true" if offload else None}
    asked = _words(said, vocabulary, find)
    config = settings_for(base, recipe, overridden(settings, given), asked)
    require_tracker(config.track)
    base_name = config.base or options.DEFAULT_MODEL

    from pairedit_sdk.cli.services import load_model
    from pairedit_sdk.pairs.pair_set import PairSet

    pair_set = PairSet.from_folder(pairs)
    for note in [] if skip_check else advice_on(pair_set, pairs):
        output.say(note)

    basis = None
    if place:
        from pairedit_sdk.basis.edit_basis import EditBasis

        basis = EditBasis.open(library)
        basis.prepare(base_name)
    loaded = load_model(
        base_name, device=device, precision=config.precision, offload=config.offload
    )
    if dry_run:
        rehearse(output, loaded, pair_set, config, name, library.folder)
        return
    try:
        with output.meter(f"training {name}", config.steps) as meter:
            made = make_edit(
                loaded,
                pair_set,
                config,
                name=name,
                library=library,
                licence=licence,
                earlier_run="resume" if resume else "replace" if force else "refuse",
                on_step=meter.training,
            )
    except KeyboardInterrupt as error:
        repeated = {
            "--base": base,
            "--recipe": recipe,
            "--device": device,
            "--precision": precision,
            "--track": track,
        }
        if library != options.DEFAULT_LIBRARY:
            repeated["--library"] = str(library)
        changed = [*(settings or []), *(["offload=true"] if offload else [])]
        changed += [f"{key}={json.dumps(value)}" for key, value in asked.items()]
        again = _command(pairs, name, repeated, changed, skip_check=skip_check)
        raise StoppedError(
            f"Training {name} was stopped {resume_hint(run_dir)}",
            next_step=f"Go on with `{again} --resume`",
        ) from error
    if made is None:
        return
    if basis is not None:
        basis.place(made.edit, pair_set, replacing=True)
    shown = "" if library == options.DEFAULT_LIBRARY else f" --library {shlex.quote(str(library))}"
    seconds = made.train_seconds
    learned = f"{counted(len(pair_set), 'pair')}, {counted(config.steps, 'step')}"
    output.say(
        f"Saved {target} ({learned}, {seconds:.0f} s).\n{_words_line(config, made.edit.info)}"
        f"Look at it:  pairedit sweep PICTURE --edit {name}{shown} -o sweep.png\n"
        f"Use it:      pairedit edit PICTURE --edit {name}{shown} -o out.png"
    )
    output.result(
        {
            "name": name,
            "path": target,
            "preview": made.preview,
            "run_dir": run_dir,
            "base": base_name,
            "pairs": [pair.name for pair in pair_set],
            "steps": config.steps,
            "words": [asdict(words) for words in made.edit.info.words],
            "train_seconds": seconds,
            **meter.losses,
        }
    )


def _words(said: str | None, vocabulary: Path | None, find: bool | None) -> dict[str, Any]:
    """The settings that the options about words stand for.

    Raises:
        UsageError: options that contradict each other.
    """
    from pairedit_sdk.words.vocabulary import Vocabulary

    asked = phrases(said, vocabulary)
    if asked is not None and find is False:
        raise UsageError(
            f"--no-words and {'--vocabulary' if said is None else '--words'} contradict each other",
            next_step="Leave one of them out",
        )
    if asked is None:
        return {} if find is None else {"words.find": find}
    # As phrases: a path may have a semicolon in it.
    said = Vocabulary.read(asked).text if isinstance(asked, Path) else asked
    return {"words.find": True, "words.vocabulary": said}


def _words_line(config: TrainConfig, info: EditInfo) -> str:
    """Which words were found, or that none were, where they were asked for."""
    if not config.words.find:
        return ""
    if not info.words:
        return "Words:       none explains the pairs; the edit is what was learned from them.\n"
    said = []
    for one in info.words:
        acts = "describes the edit, which acts by what was learned alone"
        if one.scale:
            acts = f"acts at {one.scale:.2g}, and what was learned from the pairs at {one.lora:.2g}"
        ratio = "" if one.ratio is None else f" (ratio {one.ratio:.2f})"
        said.append(f"Words:       {printable(one.phrase)}{ratio}; {acts}.\n")
    return "".join(said)


def overridden(settings: Sequence[str] | None, options: Mapping[str, str | None]) -> list[str]:
    """The settings given with --set, and those that have an option of their own."""
    return [*(settings or []), *(f"{key}={value}" for key, value in options.items() if value)]


def _refuse_overwriting(
    name: str, target: Path, run_dir: Path, *, resume: bool, force: bool
) -> None:
    if resume and not run_dir.is_dir():
        raise UsageError(
            f"There is no run of {name} to resume in {run_dir}",
            next_step="Leave out --resume to begin it",
        )
    if resume or force:
        return
    if target.exists():
        raise UsageError(
            f"There is an edit {name} already ({target})",
            next_step="Choose another --name, or replace it with --force",
        )
    if any(run_dir.glob("checkpoints/*")):
        raise UsageError(
            f"There is a run of {name} already in {run_dir}",
            next_step="Go on with --resume, or begin anew with --force",
        )


def _command(
    pairs: Path,
    name: str,
    given: dict[str, str | None],
    settings: Sequence[str],
    *,
    skip_check: bool,
) -> str:
    words = ["pairedit", "train", str(pairs), "--name", name]
    for option, value in given.items():
        words += [option, value] if value else []
    for setting in settings:
        words += ["--set", setting]
    return shlex.join([*words, *(["--skip-check"] if skip_check else [])])
