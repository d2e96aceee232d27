"""``pairedit words``: which instruction explains a pair, or that none does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import UsageError, printable

if TYPE_CHECKING:
    from rich.table import Table

    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.words.finding import FoundWords


def words(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="A picture before the change, or a folder of pairs by itself."
        ),
    ],
    a_prime: Annotated[
        Path | None, typer.Argument(metavar="[A_PRIME]", help="The same picture after it.")
    ] = None,
    said: options.Words = None,
    vocabulary: options.VocabularyFile = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="CLIP",
            help="A whole CLIP model, a folder or hub id, which first narrows more than 50 phrases "
            "down to 50. Without it all are asked.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Phrases to show.")] = 5,
    seed: options.Seed = 0,
    base: options.EditModel = None,
    device: options.Device = None,
    precision: options.AutoPrecision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say which instruction makes A_PRIME of A.

    An edit model is asked phrase by phrase. The ratio is its error with the phrase over its error
    without words; explained is the share of the change that the phrase accounts for. That none of
    the phrases explains the change is an answer too.
    """
    output = Output(as_json, quiet)
    asked = phrases(said, vocabulary)
    device = values.device(device)
    pairs = _pairs(a, a_prime)

    from pairedit_sdk.cli.services import find_words, load_model

    model = load_model(
        base or options.DEFAULT_EDIT_MODEL, device=device, precision=precision or "auto"
    )
    with output.meter("asking", unit="phrase") as meter:
        found = find_words(model, pairs, asked, seed=seed, encoder=encoder, on_phrase=meter.update)
    output.table(_table(found, count))
    output.say(printable(found.sentence))
    output.result(as_values(found, count) | {"seed": seed})


def phrases(said: str | None, vocabulary: Path | None) -> str | Path | None:
    """What is asked, of --words and --vocabulary; ``None`` is the model's own list.

    Raises:
        UsageError: both are given.
        InputError: the file cannot be read, or has no phrase in it.
    """
    from pairedit_sdk.words.vocabulary import Vocabulary

    if said is not None and vocabulary is not None:
        raise UsageError(
            "--words and --vocabulary both say what to ask", next_step="Leave one of them out"
        )
    if said is None:
        if vocabulary is not None:
            Vocabulary.read(vocabulary)
        return vocabulary
    return said if ";" in said else f"{said};"  # one phrase is no file


def as_values(found: FoundWords, count: int) -> dict[str, Any]:
    """What was found, as plain values."""
    return {
        "phrases": [asdict(phrase) for phrase in found.phrases[:count]],
        "none": found.none,
        "sureness": found.sureness,
        "asked": found.asked,
    }


def _pairs(a: Path, a_prime: Path | None) -> PairSet:
    from pairedit_sdk.pairs.pair_set import PairSet

    if a_prime is not None:
        return PairSet.from_images([(a, a_prime)])
    if a.is_file():
        raise UsageError(
            f"{a} is one picture, and a change takes two",
            expected="A and A_PRIME, or a folder of pairs",
            next_step="Name the picture after the change as well",
        )
    return PairSet.from_folder(a)


def _table(found: FoundWords, count: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("Phrase", "Ratio", "Explained"):
        table.add_column(heading, justify="left" if heading == "Phrase" else "right")
    for one in found.phrases[:count]:
        table.add_row(Text(printable(one.phrase)), f"{one.ratio:.2f}", f"{one.explained:.0%}")
    return table
