"""Several edits of the library, saved as one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.library import LONGEST_NAME
from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio.requests import ComposeRequest, ScaledEdit

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.studio.engine import Engine

#: What a scale can be on the page and in a request.
MOST = 10.0


@dataclass(frozen=True)
class Composed:
    """A sum of edits that was saved.

    Attributes:
        info: of the new edit.
        error: of its update, relative, 0 … 1; ``None`` where its rank was not limited.
    """

    info: EditInfo
    error: float | None = None

    @property
    def sentence(self) -> str:
        """The same in words."""
        lost = "" if self.error is None else f" Relative error of the update: {self.error:.2%}."
        return f"Saved {self.info.name}, rank {self.info.rank}.{lost}"


def compose(engine: Engine, request: ComposeRequest) -> Composed:
    """Save the sum of edits, as ``pairedit compose`` does.

    Raises:
        UsageError: a name is taken or unknown.
        EditError: the edits do not go together.
    """
    engine.library.target(request.name, replace=request.replace)
    stack = engine.sum_of(request.edits)
    edit = (stack if request.words else stack.without_words()).merged(request.name)
    error = None
    if request.rank is not None:
        edit, error = edit.with_rank(request.rank)
    engine.library.save(edit, replace=request.replace)
    return Composed(edit.info, error)


def request_of(
    name: str | None, scales: Mapping[str, float], rank: float | None, words: bool, replace: bool
) -> ComposeRequest:
    """The request that the page's fields make.

    Args:
        name: of the new edit; an empty one is what :func:`suggested_name` says.
        scales: of the edits; those that are 0 are left out.
        rank: the limit; 0 is none.
        words: whether instructions that act go along.
        replace: take the place of an edit of that name.

    Raises:
        UsageError: no edit is left.
    """
    edits = [ScaledEdit(name=edit, scale=scale) for edit, scale in scales.items() if scale]
    if not edits:
        raise UsageError(
            "There is no mix to be saved", next_step="Choose edits and their scales on the tab Edit"
        )
    return ComposeRequest(
        name=(name or "").strip() or suggested_name(scales),
        edits=edits,
        rank=int(rank) if rank else None,
        words=words,
        replace=replace,
    )


def suggested_name(scales: Mapping[str, float]) -> str:
    """What a mix could be called: its edits' names, one after the other."""
    return "-".join(name for name, scale in scales.items() if scale)[:LONGEST_NAME] or "both"


def changed_scales(scales: Mapping[str, float], rows: Sequence[Sequence[Any]]) -> dict[str, float]:
    """The scales as a table [name, scale] has them now. What is no number leaves a scale as it was.

    Args:
        scales: of the edits, by name.
        rows: of the table; those of other names are no part of it.
    """
    now = dict(scales)
    for name, said, *_ in rows:
        try:
            value = float(said)
        except (TypeError, ValueError):
            continue
        if name in now and math.isfinite(value):
            now[name] = max(-MOST, min(MOST, value))
    return now
