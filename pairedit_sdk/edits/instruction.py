"""An edit by words alone: an instruction to an edit model, in the place of a learned LoRA."""

from __future__ import annotations

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.edit_words import LONGEST_PHRASE, EditWords
from pairedit_sdk.edits.guidance import GUIDANCE
from pairedit_sdk.edits.metadata import EditInfo, EditorSettings
from pairedit_sdk.errors import UsageError, counted

#: As edits are applied that the recipes mini-kontext and kontext-dev teach.
EDITOR = EditorSettings(steps=5, n_avg=2, threshold=0.15)


class Instruction(Edit):
    """An edit by words alone, without a LoRA: ``Instruction("add round glasses") @ 0.8``.

    It is scaled, added and applied like any other edit, but only on an edit model, such as
    mini-kontext or klein-base-4b; see :mod:`pairedit_sdk.editing.told`.

    Args:
        phrase: the instruction, at most 1000 characters; also the edit's name.
        editor: how FlowEdit applies it; ``None`` is 5 steps with 2 noises each and a threshold of
            0.15, as measured on mini-kontext.

    Raises:
        UsageError: the phrase is no text, empty or too long.
    """

    def __init__(self, phrase: str, editor: EditorSettings | None = None) -> None:
        said = " ".join(phrase.split()) if isinstance(phrase, str) else ""
        if not said or len(said) > LONGEST_PHRASE:
            raise UsageError(
                "This is no instruction",
                expected=f"a text of 1 to {LONGEST_PHRASE} characters",
                got=counted(len(said), "character") if isinstance(phrase, str) else repr(phrase),
                next_step="Say for example 'add round glasses'",
            )
        info = EditInfo(said, guidance=GUIDANCE, editor=editor or EDITOR, words=[EditWords(said)])
        super().__init__({}, info)

    def __repr__(self) -> str:
        return f"<Instruction {self.name!r}>"
