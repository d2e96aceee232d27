"""How pictures are edited: what was asked for, and for the rest what suits the edits."""

from __future__ import annotations

from dataclasses import dataclass

from pairedit_sdk.editing.composition import check_mode, default_mode
from pairedit_sdk.edits.edit import Edit, EditorSettings, EditStack
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow import solvers

METHODS = ("flowedit", "rf-inversion", "inversion-lora")


@dataclass(frozen=True)
class Way:
    """How pictures are edited; see :func:`pairedit_sdk.editing.edit_image.edit_image`.

    Attributes:
        even: ``None`` leaves it to each edit.
    """

    method: str
    steps: int
    n_max: int | None
    n_avg: int
    threshold: float
    even: bool | None
    guidance: float | None
    seed: int
    mode: str

    def __post_init__(self) -> None:
        check_mode(self.mode, self.method)
        if self.method not in METHODS:
            raise UsageError(
                f"There is no method {self.method!r}", expected="one of " + ", ".join(METHODS)
            )
        fits = self.steps >= 1 and 1 <= self.last_steps <= self.steps and self.n_avg >= 1
        if not fits or not 0 <= self.threshold <= 1:
            raise UsageError(
                f"steps {self.steps}, n_max {self.last_steps}, n_avg {self.n_avg}, threshold "
                f"{self.threshold:g}",
                expected="steps and n_avg of at least 1, n_max from 1 to steps, and a threshold "
                "from 0 to 1",
            )

    @property
    def last_steps(self) -> int:
        """How many of the steps FlowEdit runs."""
        return solvers.last_steps(self.steps) if self.n_max is None else self.n_max


def way_for(
    edits: EditStack, method: str = "flowedit", *, steps: int | None = None,
    n_max: int | None = None, n_avg: int | None = None, threshold: float | None = None,
    even: bool | None = None, guidance: float | None = None, seed: int = 0,
    mode: str | None = None,
) -> Way:  # fmt: skip
    """What was asked for, and for the rest what suits the edits.

    Raises:
        UsageError: an unknown method or mode, numbers out of range, or what does not go together.
    """
    own = edits.editor if method == "flowedit" else EditorSettings()
    given = {"n_max": n_max, "n_avg": n_avg, "threshold": threshold, "even": even}
    known = [name for name, value in given.items() if value is not None]
    if method in METHODS and method != "flowedit" and known:
        raise UsageError(
            f"Only FlowEdit has {' and '.join(known)}, and the method is {method}",
            next_step="Leave that out",
        )
    mode = mode or default_mode(edits, method)
    heard = [edit for edit, scale in edits.parts if scale != 0]
    mixed = mode == "merged" and (len(heard) > 1 or edits.default_mode == "merged")
    if even:
        _check_even(heard, mixed)
    return Way(
        method, own.steps if steps is None else steps, n_max,
        own.n_avg if n_avg is None else n_avg,
        own.threshold if threshold is None else threshold,
        False if mixed or method != "flowedit" else even, guidance, seed, mode,
    )  # fmt: skip


def _check_even(heard: list[Edit], mixed: bool) -> None:
    """Refuse an even strength where nobody knows how much should be seen.

    Raises:
        UsageError: naming the edit.
    """
    if mixed:
        raise UsageError(
            "Edits that are merged into one LoRA have no even strength",
            next_step="Use --mode guided or sequential, or leave out --even",
        )
    blind = [edit.name for edit in heard if edit.info.shown is None]
    if blind:
        raise UsageError(
            f"Edit {blind[0]!r} does not know how much its pairs show",
            expected="an edit that was trained with editing.limit_scale=true",
            next_step="Train it again with --set editing.limit_scale=true, or leave out --even",
        )
