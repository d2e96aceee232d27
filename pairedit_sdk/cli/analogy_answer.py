"""How ``pairedit analogy`` comes to its answer: own edits, else a LoRWeB basis, else words."""

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
    from pairedit_sdk.edits.shown import ShownChange
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.words.finding import FoundWords


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

    def shown(self, learned: LoRWeBBasis, base: str | None) -> ShownChange:
        """The change as a LoRWeB basis sees it, and say so."""
        from pairedit_sdk.lorweb.shown import shown_change

        self.say_route()
        model = self.models.named(base or learned.info.base)
        a, a_prime, b = self.pictures
        change = shown_change(model, learned, a, a_prime, b, name=learned.info.name)
        if change.info.parts:
            self.output.table(coefficient_table(dict(change.info.parts)))
        self.output.say(f"Answered by the LoRWeB basis {printable(change.name)}.")
        return change

    def found(self, name: str, asked: str | Path | None, seed: int) -> FoundWords:
        """The words of the change on the model of this name, and say them."""
        from pairedit_sdk.cli.services import find_words

        self.say_route()
        model, pairs = self.models.named(name), [self.pictures[:2]]
        with self.output.meter("asking for words", unit="phrase") as meter:
            found = find_words(model, pairs, asked, seed=seed, on_phrase=meter.update)
        if not found.none:
            said = printable(found.sentence)
            self.output.say(f"Answered by words: {said} --no-words does without.")
        return found


def chosen_lorweb(
    name: str | None, library: EditLibrary, models: Sequence[str | None]
) -> LoRWeBBasis | None:
    """The LoRWeB basis that was chosen, or the one that comes with the model, if one does.

    Args:
        name: in the library, or a path.
        library: the user's.
        models: names of the model in use, the first that is known.

    Raises:
        UsageError: there is none of that name.
        EditError: its file is damaged.
    """
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.lorweb.shown import default_lorweb

    if name is not None:
        return LoRWeBBasis.load(find_basis(name, library))
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
        else {"name": shown.name, "coefficients": dict(shown.info.parts)},
        **(nothing if answer.route is None else as_values(answer.route)),
        "sentence": answer.sentence,
    }
