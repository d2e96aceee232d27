"""``pairedit analogy``: a : a′ :: b, answered by the user's own edits, a LoRWeB basis or words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairedit_sdk.cli import options, values
from pairedit_sdk.cli.analogy_answer import Asking, OneModel, answer_values, chosen_lorweb
from pairedit_sdk.cli.basis import Count, Router, check_router, next_step
from pairedit_sdk.cli.edit import Run
from pairedit_sdk.cli.lorweb import answer_command
from pairedit_sdk.cli.output import Output
from pairedit_sdk.cli.pictures import load_for, say_words
from pairedit_sdk.cli.renamed import note
from pairedit_sdk.cli.sources import new_picture
from pairedit_sdk.cli.words import phrases
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.files import write_image

if TYPE_CHECKING:
    from pairedit_sdk.words.finding import FoundWords

#: Edits in a mix, unless more are asked for.
COUNT = 3


def analogy(
    a: options.Before,
    a_prime: options.After,
    b: options.Edited,
    out: options.Out,
    scale: Annotated[float, typer.Option("--scale", help="Scale of the whole answer.")] = 1.0,
    count: Count = COUNT,
    router: Router = "encoder",
    strip: options.Strip = None,
    force: Annotated[
        bool, typer.Option("--force", help="Answer even if no edit is like this change.")
    ] = False,
    said: options.Words = None,
    vocabulary: options.VocabularyFile = None,
    lorweb: Annotated[
        str | None,
        typer.Option(
            "--lorweb",
            metavar="NAME",
            help="LoRWeB basis that answers a change that no edit makes: its name in the library, "
            "or a file. mini-kontext has one of its own, for what words do not explain.",
        ),
    ] = None,
    no_words: Annotated[
        bool,
        typer.Option(
            "--no-words",
            help="Ask no model for the words of an unknown change, and leave out the instructions "
            "that edits carry.",
        ),
    ] = False,
    method: options.Method = "flowedit",
    steps: options.EditorSteps = None,
    detail: options.Detail = "original",
    mask: options.Mask = None,
    region: options.RegionOf = None,
    seed: options.Seed = 0,
    no_metadata: options.NoMetadata = False,
    former: Annotated[str | None, typer.Option("--basis", hidden=True)] = None,
    prompt: Annotated[str, typer.Option("--prompt", hidden=True)] = "",
    layout: Annotated[options.Layout | None, typer.Option("--layout", hidden=True)] = None,
    base: options.Base = None,
    library: options.Library = options.DEFAULT_LIBRARY,
    device: options.Device = None,
    precision: options.Precision = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make the change from A to A_PRIME on picture B.

    The router finds the edits of the basis that make this change, and B is edited with their mix. A
    change that is like none of them is answered by a LoRWeB basis, if --lorweb says which. Else it
    is looked for in words, if the model is an edit model or --words says which. What words do not
    explain is answered by the LoRWeB basis of the model, if it comes with one, and else refused;
    --force mixes the nearest edits. Words act at 1.2 times --scale.
    """
    check_router(router)
    output = Output(as_json, quiet)
    target = new_picture(out, (a, a_prime, b), mask)
    shown = None if strip is None else new_picture(strip, (a, a_prime, b), mask)
    if former is not None:
        _refuse_own(
            {
                "--lorweb": lorweb is not None,
                "--scale": scale != 1,
                "--count": count != COUNT,
                "--router": router != "encoder",
                "--force": force,
                "--method": method != "flowedit",
                "--detail": detail != "original",
                "--mask": mask is not None,
                "--region": region is not None,
                "--no-metadata": no_metadata,
                "--words": said is not None,
                "--vocabulary": vocabulary is not None,
                "--no-words": no_words,
            }
        )
        note("pairedit analogy --basis", "pairedit lorweb answer", quiet=quiet)
        answer_command(
            former,
            a,
            a_prime,
            b,
            out,
            prompt=prompt,
            layout=layout,
            steps=steps,
            seed=seed,
            strip=strip,
            base=base,
            library=library,
            device=device,
            precision=precision,
            as_json=as_json,
            quiet=quiet,
        )
        return
    if prompt or layout:
        raise UsageError(
            "--prompt and --layout are for a LoRWeB basis",
            next_step="Use them with `pairedit lorweb answer`",
        )
    device = values.device(device)
    scale = values.finite(str(scale), "The scale")
    to_ask = _phrases(said, vocabulary, no_words, method)

    from pairedit_sdk.basis.answering import answered
    from pairedit_sdk.basis.edit_basis import EditBasis
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.images.plots import strip as draw_strip
    from pairedit_sdk.lorweb.analogy_answer import as_learned, require_change
    from pairedit_sdk.words.vocabulary import has_phrases

    photo = Photo.read(b)
    before, after, picture = read_image(a), read_image(a_prime), photo.seen()
    asked = EditOptions(
        method=method,
        steps=steps,
        seed=seed,
        detail=detail,
        mask=None if mask is None else Photo.read(mask),
        region=values.region(region),
        words=not no_words,
    )
    basis = EditBasis.open(library)
    own = basis.require_base() if basis.index.names else None
    web = chosen_lorweb(lorweb, library, (base, own), method)
    models = OneModel(device, precision)
    route = None
    if own is not None and router == "velocity":
        asked_of = models.named(base or own)
        route = basis.route_by_velocity(asked_of, before, after, count=count, seed=seed)
    elif own is not None or web is None:  # an empty basis says what to do
        route = basis.route(before, after, picture, count=count)
    asking = Asking(output, models, (before, after, picture), route)
    learned, named = None, _edit_model(base, own, to_ask)
    if web is not None:
        if route is None:
            require_change(web, asking.pictures)
        known, chosen = base or web.info.base, lorweb is not None
        learned = as_learned(web, lambda: models.named(known), asking.pictures, chosen=chosen)
        named = known if to_ask is not None or has_phrases(web.info.architecture) else None
    if not _asks(no_words, method):
        named = None

    def ask() -> FoundWords:
        assert named is not None  # or nobody would ask
        return asking.found(named, to_ask, seed)

    if named is not None or learned is not None:
        asking.say_route()
    ask_for = None if named is None else ask
    answer = answered(route, scale, force=force, learned=learned, ask=ask_for)
    stack = answer.require(f"{next_step(route, library)}, or mix what is nearest with --force")
    if named is None and learned is None:
        asking.say_route()
    asking.say_answer(answer)
    model = models.loaded or load_for(base, device, precision, stack)
    words = say_words(output, stack, asked)
    result = Run(output, model, stack, asked, not no_metadata).one(photo, target)
    if shown is not None:
        labels = ["a", "a'", "b", "b'"]
        write_image(draw_strip([before, after, picture, result.seen()], labels), shown)
    output.say(f"Wrote {target}.")
    output.result(
        {
            "path": target,
            "strip": shown,
            "seed": seed,
            "words": words,
            **answer_values(answer, count),
        }
    )


def _asks(no_words: bool, method: str) -> bool:
    """Whether words are looked for: only FlowEdit can follow them."""
    return not no_words and method == "flowedit"


def _phrases(
    said: str | None, vocabulary: Path | None, no_words: bool, method: str
) -> str | Path | None:
    """What is asked where no edit makes the change.

    Raises:
        UsageError: options that contradict each other.
        InputError: the vocabulary cannot be read.
    """
    asked = phrases(said, vocabulary)
    if asked is not None and no_words:
        raise UsageError(
            f"--no-words and {'--vocabulary' if said is None else '--words'} contradict each other",
            next_step="Leave one of them out",
        )
    if asked is not None and not _asks(no_words, method):
        raise UsageError(
            f"--method {method} cannot follow {'--vocabulary' if said is None else '--words'}",
            expected="the method flowedit",
            next_step="Leave one of them out",
        )
    return asked


def _edit_model(base: str | None, own: str | None, asked: str | Path | None) -> str | None:
    """The model that can be asked for words, if there is one.

    Args:
        base: the one that was asked for.
        own: that of the basis, if it has edits.
        asked: the phrases, if some were given. Then a basis of another model has mini-kontext.
    """
    from pairedit_sdk.models.kinds import is_edit_model

    for name in (base or own, options.DEFAULT_EDIT_MODEL if asked and base is None else None):
        if name and is_edit_model(name):
            return name
    return None


def _refuse_own(given: Mapping[str, bool]) -> None:
    """Refuse options that a LoRWeB basis has no use for.

    Raises:
        UsageError: naming those that are given.
    """
    dropped = [option for option, is_given in given.items() if is_given]
    if dropped:
        raise UsageError(
            f"{' and '.join(dropped)} cannot be used with a LoRWeB basis",
            next_step="Leave it out, or leave out --basis",
        )
