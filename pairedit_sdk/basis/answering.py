"""What answers an analogy: own edits, else words that are found, a learned basis, or nothing.

Words that the model was taught are more exact than a learned basis, and keep more of the picture.
So the basis answers what no words explain. Words may also leave open what a′ shows: "add a cap"
says no colour. Then the basis answers, and the model is told the words beside it. In
docs/analogies.md are the figures that this was chosen by.
"""

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
class Learned:
    """A learned basis as one that may answer an analogy.

    Attributes:
        show: gives the change as the basis sees it, beside a prompt, which may be empty.
        before_words: whether it answers in the place of this phrase, and is told it.
    """

    show: Callable[[str], ShownChange]
    before_words: Callable[[str], bool]


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
    def said(self) -> FoundWords | None:
        """The words that answer it by themselves, if words do."""
        return None if self.stack is None or self.shown is not None else self.found

    @property
    def sentence(self) -> str:
        """The same in words."""
        route = "The basis has no edits." if self.route is None else self.route.sentence
        if self.shown is not None:
            none = self.found is not None and self.found.none
            before = f"{route} {self.found.sentence}" if self.found and none else route
            return f"{before} {shown_sentence(self.shown)}"
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


def shown_sentence(shown: ShownChange) -> str:
    """Which learned basis answers, and what the model is told beside it."""
    told = f", with the words {shown.prompt!r}" if shown.prompt else ""
    return f"The LoRWeB basis {shown.name} answers it{told}."


def answered(
    route: EditMix | None,
    scale: float = 1.0,
    *,
    force: bool = False,
    learned: Learned | None = None,
    ask: Callable[[], FoundWords] | None = None,
) -> AnalogyAnswer:
    """The answer to an analogy.

    Args:
        route: what the basis has for it; ``None`` where it has no edits.
        scale: of the whole answer. Words act at :data:`WORDS_ALONE` times that.
        force: answer with the nearest edits even if none makes this change.
        learned: a learned basis, if there is one.
        ask: looks for words, and is called only where no edit makes the change; ``None`` is for no
            words.
    """
    if route is not None and (route.known or force):
        return AnalogyAnswer(route, None, route @ scale)
    found = None if ask is None else ask()
    phrase = "" if found is None or found.none else found.best.phrase
    if learned is not None and (not phrase or learned.before_words(phrase)):
        shown = learned.show(phrase)
        return AnalogyAnswer(route, found, shown @ scale, shown)
    if not phrase:
        return AnalogyAnswer(route, found, None)
    return AnalogyAnswer(route, found, Instruction(phrase) @ (WORDS_ALONE * scale))
