"""The instructions that an edit carries: to act beside its LoRA, or to name the change."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import EditInfo

#: Characters of an edit's instruction.
LONGEST_PHRASE = 1000


@dataclass(frozen=True)
class EditWords:
    """An instruction that is part of an edit, or describes it.

    Attributes:
        phrase: the instruction to an edit model, such as "add round glasses".
        scale: how strongly the instruction itself acts at the edit's scale 1, beside the LoRA; at 0
            it only describes the edit.
        ratio: the flow loss of the pairs with the phrase over that without words, if it was found
            from them; the smaller the better it explains them.
        lora: while the instruction acts, so much of what the LoRA does to a picture is added to it.
    """

    phrase: str
    scale: float = 1.0
    ratio: float | None = None
    lora: float = 1.0


def acting(info: EditInfo) -> list[EditWords]:
    """The instructions of an edit that act, and do not only describe it."""
    return [words for words in info.words if words.scale]


def lora_beside_words(info: EditInfo) -> float:
    """The factor on an edit's LoRA while its instructions act."""
    return math.prod(words.lora for words in acting(info))


def checked_words(values: object) -> list[EditWords]:
    """The instructions in a file's description, of which nothing is taken for granted. What a later
    version says of them besides is left out.

    Raises:
        TypeError, ValueError: they are not as this package writes them.
    """
    if not isinstance(values, list):
        raise TypeError("the words are no list")
    return [_checked(each) for each in values]


def _checked(values: Any) -> EditWords:
    if not isinstance(values, dict) or "phrase" not in values:
        raise TypeError("some words have no phrase")
    known = {field.name for field in fields(EditWords)}
    found = EditWords(**{name: value for name, value in values.items() if name in known})
    numbers = [found.scale, found.lora, *([] if found.ratio is None else [found.ratio])]
    if not isinstance(found.phrase, str):
        raise TypeError("the words are not of their kind")
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise TypeError("the words' numbers are none")
    if not found.phrase.strip() or len(found.phrase) > LONGEST_PHRASE:
        raise ValueError("the words are empty, or too long")
    if not all(math.isfinite(n) for n in numbers):
        raise ValueError("a number of the words is not finite")
    return found
