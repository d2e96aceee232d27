"""The whole way from a folder of pairs to an edit in the library: settings, pairs, file, picture.

One command makes one edit and another makes many, here or on other machines; all of them come
through here, so that an edit is the same however it was asked for.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pairedit_sdk.edits.library import EditLibrary, preview_path
from pairedit_sdk.errors import InputError, UsageError, printable
from pairedit_sdk.io.files import require_writable
from pairedit_sdk.models.folders import DEFAULT_MODEL
from pairedit_sdk.models.kinds import built_in_for, has_image_encoder, likely_recipe
from pairedit_sdk.training.processes import is_first

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.training.config import TrainConfig
    from pairedit_sdk.training.trainer import StepInfo

EarlierRun = Literal["refuse", "resume", "replace"]

LESS_MEMORY = (
    "Use --recipe lowmem, which holds the model in 4 bits, or smaller pictures (--set "
    "resolution=384) and a smaller batch (--set batch=1)."
)


@dataclass(frozen=True)
class TrainedEdit:
    """An edit that is in the library now.

    Attributes:
        edit: itself.
        path: its file.
        preview: a picture of what it makes of its own pairs.
        run_dir: the run's own files.
        train_seconds: that the training took, loading the model not counted.
    """

    edit: Edit
    path: Path
    preview: Path
    run_dir: Path
    train_seconds: float


def make_edit(
    model: FlowModel,
    pairs: PairSet,
    config: TrainConfig,
    *,
    name: str,
    library: EditLibrary | str | Path,
    licence: str = "",
    earlier_run: EarlierRun = "refuse",
    on_step: Callable[[StepInfo], None] | None = None,
) -> TrainedEdit | None:
    """Train an edit and put it into the library, with a picture of what it does.

    A file of the same name is replaced once the training is through. The edit's own file is written
    last: where it is, everything else is too.

    Args:
        model: the frozen model; it is left exactly as it was.
        pairs: before/after pictures.
        config: the settings.
        name: the edit's name.
        library: where the edit goes; not on a URL.
        licence: under which the edit may be used.
        earlier_run: what becomes of a run of this name: "resume" goes on from its newest
            checkpoint, if there is one; "replace" clears its folder; "refuse" raises.
        on_step: called after every step.

    Returns:
        What was made; ``None`` in all but the first of several processes.

    Raises:
        UsageError: settings that do not fit the model, or a run folder that is in use.
        OtherRunError: the run's folder holds a run of other settings, pairs or model.
        TrainingError: the training diverged, or memory ran out; then with what would fit.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step under way and its checkpoint.
    """
    from pairedit_sdk.edits.edit import EditInfo
    from pairedit_sdk.estimates.fitting import advised
    from pairedit_sdk.training.previews import preview
    from pairedit_sdk.training.trainer import train

    library = EditLibrary.local(library)
    target, run_dir = library.target(name), library.run_folder(name)
    if is_first():
        require_writable(target)
    if earlier_run == "replace":
        _clear(run_dir)
    started = time.perf_counter()
    with advised(model.name, config, model.device):
        resume = earlier_run == "resume"
        edit = train(
            model, pairs, config, name=name, run_dir=run_dir, resume=resume, on_step=on_step
        )
    seconds = time.perf_counter() - started
    if not is_first():
        return None
    edit = edit.with_info(created=EditInfo.now(), licence=licence)
    library.save(edit, preview=preview(model, edit, pairs), replace=True)
    return TrainedEdit(edit, target, preview_path(target), run_dir, seconds)


def _clear(run_dir: Path) -> None:
    """Empty an earlier run's folder, unless somebody trains there."""
    from pairedit_sdk.training.run_lock import clear, run_lock

    if is_first() and run_dir.is_dir():
        with run_lock(run_dir):
            clear(run_dir)


def settings_for(
    base: str | None,
    recipe: str | Path | None,
    overrides: Sequence[str],
    values: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """The settings of a run, its model filled in.

    Args:
        base: the model asked for; without it the recipe's, and without a recipe mini-kontext. A
            recipe that names no model is for mini, or mini-kontext if it gives a reference.
        recipe: a recipe's name or file; without it, :func:`recipe_for` the model, without a scale
            limit if the model has no image encoder of its own.
        overrides: ``key=value`` words, the last of which prevails.
        values: the same as plain values, which prevail over both.

    Raises:
        UsageError: an unknown recipe or setting, a value out of range, or the model among the
            overrides.
        InputError: the vocabulary's file cannot be read.
    """
    from pairedit_sdk.training.config import load_recipe
    from pairedit_sdk.words.vocabulary import settled_vocabulary

    if "base" in {*(text.partition("=")[0].strip() for text in overrides), *(values or ())}:
        raise UsageError("--set cannot change the model", next_step="Give it with --base")
    if recipe is None:
        wanted = base or DEFAULT_MODEL
        recipe = recipe_for(wanted)
        if not has_image_encoder(wanted):
            # Nobody asked for what would first have to be downloaded.
            overrides = ["editing.limit_scale=false", *overrides]
    config = load_recipe(recipe, overrides, values)
    config = config.with_values(vocabulary=settled_vocabulary(config.vocabulary))
    return replace(config, base=base or config.base or built_in_for(config.reference))


def recipe_for(base: str) -> str:
    """The recipe for a model where none is asked for, by the model's size and kind.

    Args:
        base: a built-in model, a folder or a hub id; nothing is downloaded.

    Returns:
        The family's, or that of its small models; "flux-dev" for a model that is not known.
    """
    return likely_recipe(base) or "flux-dev"


def advice_on(pairs: PairSet, folder: str | Path) -> list[str]:
    """What the user should know of the pairs, e.g. that one was brought to another size.

    Raises:
        InputError: no edit can be learned from them; with what is wrong with each.
    """
    from pairedit_sdk.pairs.pair_set import check_set

    found = check_set(pairs)
    if found.worth_training:
        return [printable(advice) for advice in found.all_advice()]
    bad = [f"{r.name}: {r.reason}" for r in found.pairs if r.verdict == "bad"]
    raise InputError(
        f"Training on {folder} would be a waste ({'; '.join(bad)})",
        next_step=f"See what to do with `pairedit check {shlex.quote(str(folder))}`, or "
        "train all the same with --skip-check",
    )


def resume_hint(run_dir: str | Path) -> str:
    """Where an interrupted run would go on, as the end of a sentence."""
    there = sorted(Path(run_dir).glob("checkpoints/step-*.safetensors"))
    if not there:
        return "before its first checkpoint"
    return f"and can go on from step {int(there[-1].stem.removeprefix('step-'))}"
