"""Several edits of the library, saved as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.studio.engine import Engine
    from pairedit_sdk.studio.requests import ComposeRequest


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
