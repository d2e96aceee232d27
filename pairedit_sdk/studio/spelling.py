"""How the parts of a request are spelled, on a command line and in Python."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.learned_on import own_model
from pairedit_sdk.errors import PairEditError
from pairedit_sdk.models.folders import DEFAULT_MODEL
from pairedit_sdk.studio.engine import LoadingOptions
from pairedit_sdk.studio.requests import OptionsRequest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pairedit_sdk.edits.library import EditLibrary
    from pairedit_sdk.studio.requests import EditRequest, ScaledEdit, ScaledInstruction

#: The library of commands that name none.
LIBRARY = "edits"


def number(value: float) -> str:
    """A number as short as it can be said."""
    if isinstance(value, int):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def text(value: str) -> str:
    """A text as Python has it."""
    plain = value.isprintable() and not set(value) & {'"', "\\"}
    return f'"{value}"' if plain else repr(value)


def file(name: str) -> str:
    """The name of a file that no command takes for an option or for standard input."""
    return f"./{name}" if name.startswith("-") else name


def line(words: Sequence[str]) -> str:
    """A command line of its words."""
    return shlex.join(["pairedit", *words])


def differs(request: BaseModel, field: str) -> bool:
    """Whether a field of a request is not what it is without being said."""
    default = type(request).model_fields[field].get_default(call_default_factory=True)
    return bool(getattr(request, field) != default)


def given(request: BaseModel, *fields: str) -> list[str]:
    """The options of fields that differ from their defaults; those that are true or false have a
    ``--no-`` form."""
    words = []
    for name in fields:
        value, option = getattr(request, name), name.replace("_", "-")
        if not differs(request, name):
            continue
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option}")
        else:
            words += [f"--{option}", value if isinstance(value, str) else number(value)]
    return words


def options(request: OptionsRequest, mask: str | None) -> list[str]:
    """The options that say how a picture is edited."""
    words = given(request, *(name for name in OptionsRequest.model_fields if name != "region"))
    words += [] if mask is None else ["--mask", file(mask)]
    if request.region is None:
        return words
    box = request.region if isinstance(request.region, str) else ",".join(map(str, request.region))
    return [*words, "--region", box]


def settings(request: OptionsRequest, mask: str | None) -> list[str]:
    """The same as arguments of a call in Python."""
    found = {n: getattr(request, n) for n in OptionsRequest.model_fields if differs(request, n)}
    found |= {} if mask is None else {"mask": mask}
    return [f"{name}={_python(value)}" for name, value in found.items()]


def parts(request: EditRequest) -> list[str]:
    """The edits and instructions of a request."""
    words = scaled(request.edits)
    for told in request.instructions:
        one = told.scale == 1 and not _ends_in_number(told.phrase)
        words += ["--instruction", told.phrase if one else f"{told.phrase}={number(told.scale)}"]
    return words


def scaled(edits: Sequence[ScaledEdit]) -> list[str]:
    """Edits as options."""
    words = []
    for part in edits:
        said = part.name if part.scale == 1 else f"{part.name}={number(part.scale)}"
        words += ["--edit", said]
    return words


def terms(edits: Sequence[ScaledEdit], instructions: Sequence[ScaledInstruction] = ()) -> list[str]:
    """Edits of ``library`` and instructions as the terms of a sum in Python."""
    said = [f"library.load({text(part.name)}) @ {number(part.scale)}" for part in edits]
    return said + [
        f"pe.Instruction({text(told.phrase)}) @ {number(told.scale)}" for told in instructions
    ]


def total(terms: Sequence[str]) -> str:
    """Their sum."""
    return terms[0] if len(terms) == 1 else "(\n    " + "\n    + ".join(terms) + "\n)"


def place(
    library: EditLibrary,
    loading: LoadingOptions | None = None,
    names: Sequence[str] = (),
    *,
    told: bool = False,
) -> list[str]:
    """The library, and the model where the command would load another one, or otherwise.

    Args:
        library: of the edits.
        loading: the model; ``None`` says nothing of it.
        names: of the edits that choose a command's model.
        told: whether instructions are among what it is to do.
    """
    words = [] if str(library) == LIBRARY else ["--library", str(library)]
    if loading is None:
        return words
    try:
        base, precision = own_model([library.info(name) for name in names], told=told)
    except PairEditError:  # an edit that is no more, whose model nobody knows
        base, precision = "", "auto"
    if loading.base not in (None, base):
        words += ["--base", loading.base]
    words += [] if loading.device is None else ["--device", loading.device]
    words += [] if loading.precision == precision else ["--precision", loading.precision]
    return [*words, "--offload"] if loading.offload else words


def model(loading: LoadingOptions | None) -> str:
    """The line of Python that loads the model."""
    loading = loading or LoadingOptions()
    more = {"device": loading.device, "precision": loading.precision, "offload": loading.offload}
    usual = LoadingOptions()
    said = [f"{name}={_python(v)}" for name, v in more.items() if v != getattr(usual, name)]
    return f"model = {call('pe.load_model', text(loading.base or DEFAULT_MODEL), *said)}"


def call(function: str, *arguments: str) -> str:
    """A call in Python."""
    return f"{function}({', '.join(arguments)})"


def script(lines: Sequence[str]) -> str:
    """A whole script of its lines."""
    return "\n".join(["import pairedit_sdk as pe", "", *lines, ""])


def _python(value: Any) -> str:
    return text(value) if isinstance(value, str) else repr(value)


def _ends_in_number(phrase: str) -> bool:
    """Whether a command would take the end of a phrase for its scale."""
    _, equals, end = phrase.rpartition("=")
    try:
        float(end)
    except ValueError:
        return False
    return bool(equals)
