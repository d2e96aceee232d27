"""An analogy as the page asks it: three files, what they mean, the picture, and the code for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.studio.analogy import answer, parts
from pairedit_sdk.studio.snippets import analogy_command, analogy_python, loading_of

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.basis.answering import AnalogyAnswer
    from pairedit_sdk.studio.requests import AnalogyRequest
    from pairedit_sdk.studio.service import Service

#: What the three pictures are called.
CALLED = ("Picture a", "Picture a\N{PRIME}", "Picture b")
_NAMES = ("a.png", "a2.png", "b.png")


@dataclass(frozen=True)
class Asked:
    """An analogy, and what it means.

    Attributes:
        request: what was asked.
        answer: what it means.
        key: of picture b, see :class:`pairedit_sdk.studio.pictures.Pictures`.
        names: of the three files.
    """

    request: AnalogyRequest
    answer: AnalogyAnswer
    key: str
    names: tuple[str, str, str]

    def mix(self) -> tuple[dict[str, float], dict[str, float]]:
        """The scales of the edits and of the instructions that answer it, for sliders."""
        edits, instructions = parts(self.answer)
        return _rounded(edits), _rounded(instructions)


def ask(service: Service, files: Sequence[str | None], request: AnalogyRequest) -> Asked:
    """What an analogy means. Picture b is kept.

    Args:
        service: whose queue is waited for.
        files: of a, a′ and b.
        request: the rest of the question.

    Raises:
        UsageError: a picture is missing, or the basis is empty.
        InputError: a picture cannot be read.
    """
    read = []
    for file, called in zip(files, CALLED, strict=True):
        if not file:
            raise UsageError(f"{called} is missing", next_step="Choose it, or use an example")
        read.append(Path(file).read_bytes())
    key = service.pictures.keep(read[2], CALLED[2])
    a, a_prime, b = (
        Photo.read(BytesIO(data), called).seen() for data, called in zip(read, CALLED, strict=True)
    )
    found = service.do(lambda hook: answer(service.engine, (a, a_prime, b), request, hook))
    return Asked(request, found, key, _names(files))


def picture(service: Service, asked: Asked) -> Image.Image | None:
    """What becomes of picture b; nothing where nothing answers the analogy.

    Raises:
        InputError: picture b is not kept any more.
        PairEditError: why it cannot be made.
    """
    stack = asked.answer.stack
    if stack is None:
        return None
    photo = service.pictures.photo(asked.key)
    made = service.do(lambda hook: service.engine.edited(photo, stack, asked.request, None, hook))
    return made.seen()


def code(service: Service, asked: Asked) -> tuple[str, str]:
    """The same as a command and as Python."""
    given = (asked.request, service.library, asked.names, "out.png")
    loading = loading_of(service.engine)
    python = analogy_python(*given, loading=loading)
    try:
        return analogy_command(*given, loading=loading), python
    except UsageError as error:
        return f"# {error.what}", python


def _names(files: Sequence[str | None]) -> tuple[str, str, str]:
    """What the files are called, or a, a2 and b where two are called alike."""
    a, a_prime, b = (Path(file or "").name for file in files)
    return (a, a_prime, b) if len({a, a_prime, b}) == 3 else _NAMES


def _rounded(scales: dict[str, float]) -> dict[str, float]:
    return {name: round(scale, 2) for name, scale in scales.items()}
