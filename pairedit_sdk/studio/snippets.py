"""What was done on the page, as a command line and as Python, to be done again without it.

Only what differs from the defaults is said. A draft's settings are not: both make the whole
picture. Names of files are those that the caller gives, and are quoted as they need be.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from pairedit_sdk.errors import PairEditError, UsageError
from pairedit_sdk.models.folders import DEFAULT_MODEL
from pairedit_sdk.studio import spelling
from pairedit_sdk.studio.analogy import NEXT_STEP
from pairedit_sdk.studio.requests import SweepRequest
from pairedit_sdk.studio.spelling import differs, number, text

if TYPE_CHECKING:
    from pairedit_sdk.edits.library import EditLibrary
    from pairedit_sdk.studio.engine import Engine, LoadingOptions
    from pairedit_sdk.studio.requests import AnalogyRequest, ComposeRequest, EditRequest

#: Pictures a, a′ and b of an analogy.
Three = tuple[str, str, str]
#: Options of an analogy that only Python has.
_PYTHON_ONLY = (
    "mode", "n_max", "n_avg", "threshold", "limit_scale", "guidance", "cfg", "resolution",
)  # fmt: skip


def loading_of(engine: Engine) -> LoadingOptions:
    """How the engine's model is loaded, with the model's name."""
    return replace(engine.loading, base=engine.model_name)


def edit_command(
    request: EditRequest,
    library: EditLibrary,
    picture: str,
    out: str,
    *,
    mask: str | None = None,
    loading: LoadingOptions | None = None,
) -> str:
    """``pairedit edit``, or ``pairedit sweep`` for a request of several scales.

    Args:
        request: what was done.
        library: that has the edits.
        picture: the name of the picture's file.
        out: the name of the file that the command is to write.
        mask: the name of the mask's file, if there was one.
        loading: see :func:`loading_of`; ``None`` says nothing of the model.
    """
    sweeps = isinstance(request, SweepRequest)
    words = ["sweep" if sweeps else "edit", spelling.file(picture), *spelling.parts(request)]
    if isinstance(request, SweepRequest) and differs(request, "scales"):
        words += ["--scales", ",".join(map(number, request.scales))]
    words += spelling.options(request, mask)
    if not (request.metadata or sweeps):
        words.append("--no-metadata")
    names = [part.name for part in request.edits]
    words += spelling.place(library, loading, names, told=bool(request.instructions))
    return spelling.line([*words, "-o", spelling.file(out)])


def edit_python(
    request: EditRequest,
    library: EditLibrary,
    picture: str,
    out: str,
    *,
    mask: str | None = None,
    loading: LoadingOptions | None = None,
) -> str:
    """The same in Python. Of several scales each is written to a file of its own.

    Args:
        request: what was done.
        library: that has the edits.
        picture: the name of the picture's file.
        out: the name of the file that is to be written.
        mask: the name of the mask's file, if there was one.
        loading: see :func:`loading_of`; ``None`` is the SDK's own model.
    """
    terms = spelling.terms(request.edits, request.instructions)
    given = [f"library = pe.EditLibrary({text(str(library))})"] if request.edits else []
    lines = [*given, spelling.model(loading), f"edits = {spelling.total(terms)}"]
    settings = spelling.settings(request, mask)
    asked = ["model", text(picture), "edits"]
    if not isinstance(request, SweepRequest):
        call = spelling.call("pe.edit_image", *asked, *settings)
        return spelling.script([*lines, f"picture = {call}", f"picture.save({text(out)})"])
    path = PurePath(out)
    stem, suffix = str(path.with_suffix("")), path.suffix or ".png"
    name = f'{text(stem)} + f"-{{scale:g}}{suffix}"'
    return spelling.script(
        [
            *lines,
            f"scales = [{', '.join(map(number, request.scales))}]",
            f"pictures = {spelling.call('pe.sweep', *asked, 'scales', *settings)}",
            "for scale, picture in zip(scales, pictures):",
            f"    picture.save({name})",
        ]
    )


def analogy_command(
    request: AnalogyRequest,
    library: EditLibrary,
    pictures: Three,
    out: str,
    *,
    mask: str | None = None,
    loading: LoadingOptions | None = None,
) -> str:
    """``pairedit analogy``.

    Args:
        request: what was asked.
        library: that has the basis.
        pictures: the names of the files of a, a′ and b.
        out: the name of the file that the command is to write.
        mask: the name of the mask's file, if there was one.
        loading: see :func:`loading_of`; ``None`` says nothing of the model.

    Raises:
        UsageError: the command has no option for something that was asked.
    """
    left = [name for name in _PYTHON_ONLY if differs(request, name)]
    if request.find_words != request.words:  # of which the command has one option
        left.append("find_words")
    if left:
        raise UsageError(
            f"`pairedit analogy` has no option for {' and '.join(left)}",
            next_step="Take the Python instead",
        )
    words = ["analogy", *map(spelling.file, pictures)]
    words += spelling.given(request, "scale", "count", "force")
    words += [] if request.vocabulary is None else ["--words", _phrases(request.vocabulary)]
    words += spelling.options(request, mask)
    words += [] if request.metadata else ["--no-metadata"]
    words += spelling.place(library, loading, _placed(library), told=False)
    return spelling.line([*words, "-o", spelling.file(out)])


def analogy_python(
    request: AnalogyRequest,
    library: EditLibrary,
    pictures: Three,
    out: str,
    *,
    mask: str | None = None,
    loading: LoadingOptions | None = None,
) -> str:
    """The same in Python.

    Args:
        request: what was asked.
        library: that has the basis.
        pictures: the names of the files of a, a′ and b.
        out: the name of the file that is to be written.
        mask: the name of the mask's file, if there was one.
        loading: see :func:`loading_of`; ``None`` is the SDK's own model.
    """
    from pairedit_sdk.editing.told import SHOWN_BY
    from pairedit_sdk.lorweb.shown import default_lorweb

    a, a_prime, b = map(text, pictures)
    learned = request.method in SHOWN_BY and default_lorweb(_model_of(loading)) is not None
    own = bool(_placed(library)) or not learned
    counted = [f"count={request.count}"] if differs(request, "count") else []
    mix = spelling.call("basis.route", "a", "a_prime", "b.seen()", *counted)
    given = [f"basis = pe.EditBasis({text(str(library))})"] if own else []
    route = [f"mix = {mix}"] if own else []
    asked = ["model", "mix" if own else "None", "(a, a_prime, b.seen())", *_asked(request)]
    settings = spelling.settings(request, mask)
    call = spelling.call("pe.edit_image", "model", "b", "edits", *settings)
    return spelling.script(
        [
            spelling.model(loading),
            *given,
            f"a, a_prime, b = pe.read_image({a}), pe.read_image({a_prime}), pe.Photo.read({b})",
            *route,
            f"answer = {spelling.call('pe.answer_analogy', *asked)}",
            "print(answer.sentence)",
            f"edits = answer.require({text(NEXT_STEP)})",
            f"picture = {call}",
            f"picture.save({text(out)})",
        ]
    )


def compose_command(request: ComposeRequest, library: EditLibrary) -> str:
    """``pairedit compose``."""
    words = ["compose", *spelling.scaled(request.edits), "--name", request.name]
    words += spelling.given(request, "rank")
    words += [] if request.words else ["--no-words"]
    words += ["--force"] if request.replace else []
    return spelling.line([*words, *spelling.place(library)])


def compose_python(request: ComposeRequest, library: EditLibrary) -> str:
    """The same in Python."""
    silent = "" if request.words else ".without_words()"
    lines = [
        f"library = pe.EditLibrary({text(str(library))})",
        f"edits = {spelling.total(spelling.terms(request.edits))}",
        f"edit = edits{silent}.merged({text(request.name)})",
    ]
    if request.rank is not None:
        lines += [
            f"edit, error = edit.with_rank({request.rank})",
            'print(f"Relative error of the update: {error:.2%}")',
        ]
    lines.append("library.save(edit, replace=True)" if request.replace else "library.save(edit)")
    return spelling.script(lines)


def _phrases(phrases: list[str]) -> str:
    """As the command takes them: with semicolons, or as a JSON list where one has its own."""
    plain = not any(";" in phrase or phrase.lstrip().startswith("[") for phrase in phrases)
    return "; ".join(phrases) if plain else json.dumps(phrases)


def _asked(request: AnalogyRequest) -> list[str]:
    """Settings of an analogy, as Python takes them."""
    asked = [f"scale={number(request.scale)}"] if differs(request, "scale") else []
    asked += ["force=True"] if request.force else []
    if not (request.find_words and request.words and request.method == "flowedit"):
        return [*asked, "words=False"]
    if request.vocabulary is not None:
        asked.append(f"vocabulary=[{', '.join(map(text, request.vocabulary))}]")
    return [*asked, f"seed={request.seed}"] if request.seed else asked


def _model_of(loading: LoadingOptions | None) -> str:
    """The name of the model in use."""
    return (loading.base if loading else None) or DEFAULT_MODEL


def _placed(library: EditLibrary) -> list[str]:
    """The edits of the basis, all of which are of one model."""
    from pairedit_sdk.basis.edit_basis import EditBasis

    try:
        return list(EditBasis.open(library).index.names)
    except PairEditError:  # said where it is asked
        return []
