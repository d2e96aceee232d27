"""Many edits in one process: the model is loaded once, a failed edit does not stop the others."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import (
    DamagedRunError,
    EditError,
    OtherRunError,
    PairEditError,
    UsageError,
    explained,
)
from pairedit_sdk.jobs.make_edit import LESS_MEMORY, EarlierRun, advice_on, make_edit
from pairedit_sdk.jobs.outcomes import EditOutcome, write_down
from pairedit_sdk.training.processes import require_one

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import EditInfo
    from pairedit_sdk.jobs.manifest import ManifestEntry
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.training.trainer import StepInfo

BUG = "The library's log has the traceback; report it with that."


def train_many(
    model: FlowModel,
    entries: Iterable[ManifestEntry],
    library: str | Path,
    *,
    force: bool = False,
    skip_check: bool = False,
    on_step: Callable[[ManifestEntry, StepInfo], None] | None = None,
    on_outcome: Callable[[EditOutcome], None] | None = None,
) -> list[EditOutcome]:
    """Train edits one after the other, and put them into a library.

    Called again, it leaves out what is finished, and goes on where a run was interrupted. An edit
    is finished when its file is in the library, and was learned on this model with these settings
    from these pictures. What was made or failed is also written to LIBRARY/train-many.jsonl.

    Args:
        model: the frozen model; it is left exactly as it was.
        entries: the edits, of different names; see :func:`pairedit_sdk.read_manifest`.
        library: the folder of edits.
        force: replace edits and runs of these names that are of other settings or pairs.
        skip_check: train whatever :func:`pairedit_sdk.check_pairs` says.
        on_step: called after every step of an edit.
        on_outcome: called after every edit.

    Returns:
        What became of each, in their order. One that failed has the reason and stops no other.

    Raises:
        UsageError: two entries have one name, or this is one of several processes.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step under way and its checkpoint.
    """
    require_one("Training many edits")
    entries = list(entries)
    require_different(entries)
    outcomes = []
    for entry in entries:
        outcome = train_entry(
            model, entry, library, force=force, skip_check=skip_check, on_step=on_step
        )
        write_down(outcome, library)
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)
    return outcomes


def require_different(entries: Iterable[ManifestEntry]) -> None:
    """Refuse two entries of one name: the second would be taken for another edit's remains.

    Raises:
        UsageError: naming them.
    """
    counts = Counter(entry.name for entry in entries)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UsageError(f"Several entries are called {', '.join(twice)}", expected="one of a name")


def train_entry(
    model: FlowModel,
    entry: ManifestEntry,
    library: str | Path,
    *,
    force: bool = False,
    skip_check: bool = False,
    on_step: Callable[[ManifestEntry, StepInfo], None] | None = None,
    wait: float = 0,
) -> EditOutcome:
    """Train one edit, or find it finished; whatever goes wrong becomes the outcome's reason.

    Args:
        model: as for :func:`train_many`, and so are the others.
        wait: for another process that trains this edit to end, at most so many seconds.
    """
    from pairedit_sdk.training.run_lock import run_lock

    started = time.perf_counter()
    first = 0

    def told(info: StepInfo) -> None:
        nonlocal first
        first = first or info.step
        if on_step is not None:
            on_step(entry, info)

    def outcome(state: str, **values: object) -> EditOutcome:
        seconds = time.perf_counter() - started
        return EditOutcome(entry.name, state, seconds=seconds, **values)  # type: ignore[arg-type]

    try:
        if wait:
            with run_lock(EditLibrary(library).run_folder(entry.name), wait):
                pass
        made = _make(model, entry, library, force=force, skip_check=skip_check, on_step=told)
    except PairEditError as error:
        return outcome("failed", reason=str(error))
    except Exception as error:  # a full disk or memory, or a bug: no reason to leave the rest
        reason = str(explained(error, memory=LESS_MEMORY, bug=BUG))
        trace = "".join(traceback.format_exception(error)) if reason.endswith(BUG) else ""
        return outcome("failed", reason=reason, traceback=trace)
    path = EditLibrary(library).target(entry.name)
    return outcome(
        "made" if made else "skipped", path=path, resumed_at=max(first - 1, 0) if made else 0
    )


def _make(
    model: FlowModel,
    entry: ManifestEntry,
    library: str | Path,
    *,
    force: bool,
    skip_check: bool,
    on_step: Callable[[StepInfo], None],
) -> bool:
    """Whether there was anything to do; then it is done."""
    from pairedit_sdk.pairs.pair_set import PairSet

    pairs = PairSet.from_folder(entry.pairs)
    if _is_finished(model, entry, pairs, library, force=force):
        return False
    if not skip_check:
        advice_on(pairs, entry.pairs)

    def make(earlier_run: EarlierRun) -> None:
        make_edit(
            model,
            pairs,
            entry.config,
            name=entry.name,
            library=library,
            licence=entry.licence or "",
            earlier_run=earlier_run,
            on_step=on_step,
        )

    try:
        make("resume")
    except (OtherRunError, DamagedRunError):
        if not force:
            raise
        make("replace")
    return True


def _is_finished(
    model: FlowModel, entry: ManifestEntry, pairs: PairSet, library: str | Path, *, force: bool
) -> bool:
    """Whether the edit is in the library as it would be made now.

    Raises:
        UsageError: another edit is there under its name, and is not to be replaced.
        EditError: what is there cannot be read, and is not to be replaced.
    """
    from pairedit_sdk.edits.edit import Edit

    path = EditLibrary(library).target(entry.name)
    if not path.is_file():
        return False
    try:
        info = Edit.read_info(path)
    except EditError as error:
        if force:
            return False
        raise EditError(
            f"What is in {path} cannot be read ({error.what})",
            next_step="Move it away, or replace it with --force",
        ) from error
    other = _differences(model, entry, pairs, info)
    if other and not force:
        raise UsageError(
            f"There is another edit {entry.name} already ({path}): {'; '.join(other)}",
            next_step="Choose another name, or replace it with --force",
        )
    if not other and entry.licence is not None and entry.licence != info.licence:
        Edit.load(path).with_info(licence=entry.licence).save(path)
    return not other


def _differences(
    model: FlowModel, entry: ManifestEntry, pairs: PairSet, info: EditInfo
) -> list[str]:
    """How an edit differs from the one that would be made now, a phrase for each."""
    from pairedit_sdk.training.run_folder import FREE_ON_RESUME, changes

    if not info.settings:
        return ["it was not trained here, but composed or imported"]
    # The precision asked for may be "auto"; the one that it became is compared below.
    free = FREE_ON_RESUME | {"precision"} | (set() if model.takes_guidance else {"guidance"})
    other = changes(info.settings, entry.config, free)
    for what, was, now in (
        ("the model's hash", info.base_fingerprint, model.fingerprint),
        ("precision", info.precision, model.precision),
        ("the pictures' hash", info.pairs_fingerprint, pairs.fingerprint),
    ):
        if was != now:
            other.append(f"{what} was {was or 'not known'}, now {now}")
    return other
