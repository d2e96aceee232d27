"""What is written on a command line, read into values: NAME=SCALE, 0,.5,1 and WIDTHxHEIGHT."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.files import is_lora_folder

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.edits.library import EditLibrary


def finite(text: str, what: str) -> float:
    """A finite number.

    Raises:
        UsageError: ``text`` is no number, or NaN or infinite.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{what} cannot be used", expected="finite numbers", got=repr(text))
    return value


def edit_and_scale(text: str) -> tuple[str, float]:
    """``NAME``, ``NAME=SCALE``, ``PATH`` or ``PATH=SCALE``; the scale is 1 if it is not said."""
    name, equals, scale = text.rpartition("=")
    # A path may hold a "=" itself.
    if not equals or Path(text).is_file() or is_lora_folder(Path(text)):
        return text, 1.0
    if not name:
        raise UsageError(
            f"--edit {text} names no edit",
            expected="NAME or NAME=SCALE",
            next_step="For example --edit glasses=0.8",
        )
    return name, finite(scale, f"The scale in --edit {text}")


def edits_and_scales(texts: Sequence[str], library: EditLibrary) -> list[tuple[Path, float]]:
    """The files and scales of all ``--edit`` options, in their order; one may come twice.

    Raises:
        UsageError: an edit is unknown, or a scale is not a finite number.
        LibraryError: the library is on a URL, and cannot be read.
    """
    chosen = [edit_and_scale(text) for text in texts]
    return [(library.path(name), scale) for name, scale in chosen]


def instruction_and_scale(text: str) -> tuple[str, float]:
    """``TEXT`` or ``TEXT=SCALE``; the scale is 1 if it is not said. What follows a ``=`` and is no
    number belongs to the text.

    Raises:
        UsageError: there is no text, or the scale is not finite.
    """
    phrase, equals, scale = text.rpartition("=")
    try:
        float(scale)
    except ValueError:
        phrase, equals = text, ""
    if not phrase.strip():
        raise UsageError(
            f"--instruction {text!r} says nothing",
            expected="TEXT or TEXT=SCALE",
            next_step="For example --instruction 'add round glasses=1.2'",
        )
    return phrase, finite(scale, f"The scale in --instruction {text!r}") if equals else 1.0


def require_edits(edits: Sequence[str] | None, instructions: Sequence[str] | None) -> None:
    """Refuse a command line that does not say what is to be changed.

    Raises:
        UsageError: there is neither an edit nor an instruction.
    """
    if not edits and not instructions:
        raise UsageError(
            "Nothing says what to change",
            expected="--edit or --instruction",
            next_step="For example --edit glasses=0.8, or --instruction 'add round glasses'",
        )


def load_stack(
    chosen: Sequence[tuple[Path, float]], instructions: Sequence[tuple[str, float]] = ()
) -> EditStack:
    """The sum of the edits in ``chosen`` and of instructions at their scales.

    Raises:
        EditError: the file of an edit is damaged.
        UsageError: an instruction is too long, or there is nothing at all.
    """
    from pairedit_sdk.edits.edit import Edit, EditStack
    from pairedit_sdk.edits.instruction import Instruction

    loaded = {path: Edit.load(path) for path in dict.fromkeys(path for path, _ in chosen)}
    edits = [(loaded[path], scale) for path, scale in chosen]
    return EditStack([*edits, *((Instruction(said), scale) for said, scale in instructions)])


def scales(text: str) -> list[float]:
    """``0,.25,.5`` as numbers."""
    parts = [part.strip() for part in text.split(",")]
    return [finite(part, f"The scales {text!r}") for part in parts]


def region(text: str | None) -> str | list[int] | None:
    """``auto``, or ``x,y,width,height`` in pixels."""
    if text is None or text.strip().lower() == "auto":
        return None if text is None else "auto"
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--region {text}",
            expected="auto, or four whole numbers: x, y, width and height in pixels",
            next_step="Say for example --region 820,140,900,900",
        ) from None


def size(text: str | None) -> tuple[int | None, int | None]:
    """``WIDTHxHEIGHT`` in pixels; nothing leaves both to the model."""
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip())
    width, height = (int(part) for part in match.groups()) if match else (0, 0)
    if not 16 <= width <= 4096 or not 16 <= height <= 4096:
        raise UsageError(
            f"{text!r} is no size",
            expected="WIDTHxHEIGHT, each 16 to 4096 pixels",
            next_step="For example --size 512x512",
        )
    return width, height


def device(text: str | None) -> str | None:
    """The device as torch names it."""
    if text is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", text):
        raise UsageError(f"{text!r} is no device", expected="cpu, cuda, cuda:NUMBER or mps")
    return text


def check_flowedit(
    method: str,
    steps: int | None,
    n_max: int | None,
    n_avg: int | None,
    threshold: float | None,
    limit_scale: bool | None,
    mode: str | None = None,
) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: naming the option.
    """
    own = {
        "--n-max": n_max,
        "--n-avg": n_avg,
        "--threshold": threshold,
        "--limit-scale" if limit_scale else "--no-limit-scale": limit_scale,
    }
    given = [option for option, value in own.items() if value is not None]
    if method != "flowedit" and given:
        raise UsageError(
            f"{' and '.join(given)} is for flowedit, and the method is {method}",
            next_step="Leave it out",
        )
    if method == "inversion-lora" and mode == "guided":
        raise UsageError(
            "The method inversion-lora has no --mode guided", expected="merged or sequential"
        )
    if steps is not None:
        check_steps(n_max, steps, "--n-max")


def check_steps(given: int | None, steps: int, option: str) -> None:
    """Refuse a number of steps that is more than all ``steps``.

    Raises:
        UsageError: naming the option.
    """
    if given is not None and given > steps:
        raise UsageError(
            f"{option} is more than --steps {steps} allow",
            expected=f"at most {steps}",
            got=str(given),
        )
