"""A picture to be made, as it travels: through the queue here, or to another machine with Ray."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pairedit_sdk.images.photo import Photo
from pairedit_sdk.images.plots import strip
from pairedit_sdk.studio.analogy import NEXT_STEP, answer, facts
from pairedit_sdk.studio.requests import AnalogyRequest, EditRequest, SweepRequest

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.editing.hooks import StepHook
    from pairedit_sdk.studio.engine import Engine

#: What an error calls the pictures of a request.
CALLED = {"image": "The picture", "mask": "The mask", "a": "Picture a", "a_prime": "Picture a′"}


@dataclass(frozen=True)
class Made:
    """A picture that was made.

    Attributes:
        data: its file.
        media_type: of the file.
        facts: how it was made, as JSON.
    """

    data: bytes = field(repr=False)
    media_type: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A request with its pictures.

    Attributes:
        request: its kind says what is to be made.
        pictures: files by their role: "image", and "mask" or "a" and "a_prime".
    """

    request: EditRequest | SweepRequest | AnalogyRequest
    pictures: Mapping[str, bytes] = field(repr=False)

    @property
    def key(self) -> str:
        """The same for equal requests alone, whose answers are equal."""
        asked = f"{type(self.request).__name__} {self.request.model_dump_json()}"
        return f"{self.pictures_key} {asked}"

    @property
    def pictures_key(self) -> str:
        """The same for equal pictures alone."""
        digest = hashlib.sha256()
        for role, data in sorted(self.pictures.items()):
            digest.update(f"{role}:{len(data)}:".encode())
            digest.update(data)
        return digest.hexdigest()

    @property
    def weight(self) -> int:
        """Bytes of the pictures."""
        return sum(len(data) for data in self.pictures.values())

    def picture(self, role: str) -> Photo:
        """One of the pictures.

        Raises:
            InputError: it cannot be read, or is too large.
        """
        return Photo.read(BytesIO(self.pictures[role]), CALLED[role])

    def do(self, engine: Engine, hook: StepHook) -> Made:
        """Make the picture.

        Raises:
            PairEditError: why it cannot be made.
        """
        return _DOING[type(self.request)](self, engine, hook)


def encoded(photo: Photo, kind: str, *, metadata: bool = True) -> bytes:
    """A picture's file.

    Args:
        photo: the picture.
        kind: "png", "jpeg" or "webp".
        metadata: whether the file says how the picture was made.
    """
    file = BytesIO()
    photo.save(file, kind, metadata=metadata)
    return file.getvalue()


def _edit(work: Work, engine: Engine, hook: StepHook) -> Made:
    request: Any = work.request

    def read() -> tuple[Photo, Photo | None]:
        return work.picture("image"), work.picture("mask") if "mask" in work.pictures else None

    if request.draft:
        draft = engine.draft(work.pictures_key, read, request, hook)
        return _made(Photo.of(draft.after), request, {"draft": True})
    photo, mask = read()
    return _made(engine.edit(photo, request, mask, hook), request)


def _sweep(work: Work, engine: Engine, hook: StepHook) -> Made:
    request: Any = work.request
    mask = work.picture("mask") if "mask" in work.pictures else None
    picture = work.picture("image")
    made = engine.sweep(picture, request, mask, hook)
    drawn = strip_of(picture.seen(), made, request)
    return _made(Photo.of(drawn), request, {"scales": list(request.scales)})


def strip_of(original: Image.Image, made: list[Image.Image], request: SweepRequest) -> Image.Image:
    """A picture at several scales side by side, the original first, as ``pairedit sweep`` draws."""
    title = " + ".join(
        [part.name for part in request.edits] + [told.phrase for told in request.instructions]
    )
    return strip([original, *made], ["input", *(f"{s:g}" for s in request.scales)], title=title)


def _analogy(work: Work, engine: Engine, hook: StepHook) -> Made:
    request: Any = work.request
    photo = work.picture("image")
    pictures = (work.picture("a").seen(), work.picture("a_prime").seen(), photo.seen())
    found = answer(engine, pictures, request, hook)
    mask = work.picture("mask") if "mask" in work.pictures else None
    made = engine.edited(photo, found.require(NEXT_STEP), request, mask, hook)
    return _made(made, request, facts(found))


def _made(photo: Photo, request: Any, more: Mapping[str, Any] | None = None) -> Made:
    data = encoded(photo, request.format, metadata=request.metadata)
    # Through JSON, so that a mapping of another kind does not travel.
    facts = json.loads(json.dumps({**(photo.made or {}), **(more or {})}))
    return Made(
        data, f"image/{request.format}", {"width": photo.width, "height": photo.height, **facts}
    )


_DOING: dict[type, Callable[[Work, Engine, StepHook], Made]] = {
    EditRequest: _edit,
    SweepRequest: _sweep,
    AnalogyRequest: _analogy,
}
