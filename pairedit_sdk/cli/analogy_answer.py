"""How ``pairedit analogy`` comes to its answer: own edits, else words or a LoRWeB basis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.cli import options
from pairedit_sdk.cli.basis import as_values, mix_table
from pairedit_sdk.cli.lorweb_values import coefficient_table, find_basis
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.words import as_values as found_values
from pairedit_sdk.errors import printable

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.basis.answering import AnalogyAnswer
    from pairedit_sdk.basis.mix import EditMix
    from pairedit_sdk.edits.library import EditLibrary
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.words.finding import FoundWords

#: What is said where words are part of the answer.
NO_WORDS = "--no-words does without."


class OneModel:
    """At most one model at a time: the one that was asked for last.

    Args:
        device: that it is loaded on.
        precision: in which it is loaded.
    """

    def __init__(self, device: str | None, precision: str | None) -> None:
        self._how: dict[str, Any] = {"device": device, "precision": precision or "auto"}
        self.loaded: FlowModel | None = None

    def named(self, name: str) -> FlowModel:
        """The model of this name or in this folder."""
        from pairedit_sdk.cli.services import load_model

        if self.loaded is None or self.loaded.name != name:
            self.loaded = load_model(name, **self._how)
        return self.loaded


@dataclass(frozen=True)
class Asking:
    """An analogy that no edit answers, or not yet.

    Attributes:
        output: of the command.
        models: that are loaded for it.
        pictures: a, a′ and b.
        route: what the basis has for it, if it has any edits.
    """

    output: Output
    models: OneModel
    pictures: tuple[Image.Image, Image.Image, Image.Image]
    route: EditMix | None

    def say_route(self) -> None:
        """Say what the basis has for it."""
        if self.route is not None:
            self.output.table(mix_table(self.route))
            self.output.say(self.route.sentence)

    def found(self, name: str, asked: str | Path | None, seed: int) -> FoundWords:
        """The words of the change on the model of this name."""
        from pairedit_sdk.cli.services import find_words

        model, pairs = self.models.named(name), [self.pictures[:2]]
        with self.output.meter("asking for words", unit="phrase") as meter:
            return find_words(model, pairs, asked, seed=seed, on_phrase=meter.update)

    def say_answer(self, answer: AnalogyAnswer) -> None:
        """Say what answers it, if no own edit does."""
        from pairedit_sdk.basis.answering import shown_sentence  # takes torch along

        if answer.shown is not None:
            if answer.found is not None and answer.found.none:
                self.output.say(printable(answer.found.sentence))
            if answer.shown.info.parts:
                self.output.table(coefficient_table(dict(answer.shown.info.parts)))
            said = printable(shown_sentence(answer.shown))
            self.output.say(f"{said} {NO_WORDS}" if answer.shown.prompt else said)
        elif answer.said is not None:
            said = printable(answer.said.sentence)
            self.output.say(f"Answered by words: {said} {NO_WORDS}")


def chosen_lorweb(
    name: str | None, library: EditLibrary, models: Sequence[str | None], method: str
) -> LoRWeBBasis | None:
    """The LoRWeB basis that was chosen, or the one that comes with the model, if one does and the
    method can follow it.

    Args:
        name: in the library, or a path.
        library: the user's.
        models: names of the model in use, the first that is known.
        method: of editing.

    Raises:
        UsageError: there is none of that name.
        EditError: its file is damaged.
    """
    from pairedit_sdk.editing.told import SHOWN_BY
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.shown import default_lorweb

    if name is not None:
        return LoRWeBBasis.load(find_basis(name, library))
    if method not in SHOWN_BY:
        return None
    return default_lorweb(next((own for own in models if own), options.DEFAULT_EDIT_MODEL))


def answer_values(answer: AnalogyAnswer, count: int) -> dict[str, object]:
    """The answer as plain values.

    Args:
        answer: to the analogy.
        count: of the phrases that are listed.
    """
    nothing = {
        "known": False, "coefficients": {}, "similarities": {}, "threshold": None,
        "thresholds": {}, "opposite": None,
    }  # fmt: skip
    shown, found = answer.shown, answer.found
    return {
        "found_words": None if found is None else found_values(found, count),
        "lorweb": None
        if shown is None
        else {"name": shown.name, "prompt": shown.prompt, "coefficients": dict(shown.info.parts)},
        **(nothing if answer.route is None else as_values(answer.route)),
        "sentence": answer.sentence,
    }
