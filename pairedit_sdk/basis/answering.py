"""What answers an analogy: edits of the basis, else a learned basis, else words, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.errors import InputError
from pairedit_sdk.words.finding import WORDS_ALONE

if TYPE_CHECKING:
    from pairedit_sdk.basis.mix import EditMix
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.edits.shown import ShownChange
    from pairedit_sdk.words.finding import FoundWords


@dataclass(frozen=True)
class AnalogyAnswer:
    """What an analogy was found to mean.

    Attributes:
        route: the edits of the basis that make this change, or the nearest ones; ``None`` where
            there are none to choose from.
        found: what was found in words; ``None`` where none were asked for.
        stack: what answers it; ``None`` if nothing does.
        shown: the change as a learned basis sees it, if that is what answers.
    """

    route: EditMix | None
    found: FoundWords | None
    stack: EditStack | None
    shown: ShownChange | None = None

    @property
    def known(self) -> bool:
        """Whether edits of the basis make this change."""
        return self.route is not None and self.route.known

    @property
    def sentence(self) -> str:
        """The same in words."""
        route = "The basis has no edits." if self.route is None else self.route.sentence
        if self.shown is not None:
            return f"{route} The LoRWeB basis {self.shown.name} answers it."
        if self.found is None:
            return route
        if self.stack is not None:
            return f"{route} {self.found.sentence}"
        unknown = route.rstrip(".")
        return f"{unknown}, and words do not say it either: {self.found.sentence}"

    def require(self, next_step: str) -> EditStack:
        """What answers it.

        Args:
            next_step: what to do where nothing does.

        Raises:
            InputError: nothing does.
        """
        if self.stack is None:
            raise InputError(self.sentence.rstrip("."), next_step=next_step)
        return self.stack


def answered(
    route: EditMix | None,
    scale: float = 1.0,
    *,
    force: bool = False,
    show: Callable[[], ShownChange | None] | None = None,
    ask: Callable[[], FoundWords] | None = None,
) -> AnalogyAnswer:
    """The answer to an analogy.

    Args:
        route: what the basis has for it; ``None`` where it has no edits.
        scale: of the whole answer. Words act at :data:`WORDS_ALONE` times that.
        force: answer with the nearest edits even if none makes this change.
        show: gives the change as a learned basis sees it, if there is one, and is called only
            where no edit makes the change.
        ask: looks for words, and is called only where nothing else answers; ``None`` is for no
            words.
    """
    if route is not None and (route.known or force):
        return AnalogyAnswer(route, None, route @ scale)
    shown = None if show is None else show()
    if shown is not None:
        return AnalogyAnswer(route, None, shown @ scale, shown)
    found = None if ask is None else ask()
    if found is None or found.none:
        return AnalogyAnswer(route, found, None)
    return AnalogyAnswer(route, found, Instruction(found.best.phrase) @ (WORDS_ALONE * scale))
