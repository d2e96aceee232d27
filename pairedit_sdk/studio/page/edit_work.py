"""What the tab for editing does; here without its layout."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from pairedit_sdk.errors import InputError, PairEditError, counted
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.studio.recent import Recent
from pairedit_sdk.studio.requests import EditRequest, SweepRequest
from pairedit_sdk.studio.work import Work, encoded, strip_of

if TYPE_CHECKING:
    from pairedit_sdk.editing.hooks import StepHook
    from pairedit_sdk.studio.service import Service

#: Pixels of the longer side at which a picture is shown.
SHOWN = 1280
#: Files of one batch.
MOST_FILES = 200
#: Pages whose last picture is known.
SESSIONS = 256

Pair = tuple[Image.Image, Image.Image]


@dataclass(frozen=True)
class Shown:
    """What is on the page after an edit.

    Attributes:
        pair: before and after, to be compared.
        note: what was done, and how long it took.
        file: the result for downloading; ``None`` of a draft.
    """

    pair: Pair
    note: str
    file: Path | None = None


class EditWork:
    """Pictures under edits, for a page.

    Args:
        service: that does the work.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self._settled: Recent[list[str]] = Recent(SESSIONS)
        #: A picture by its key, as it is shown.
        self.seen = lru_cache(maxsize=8)(self._look)

    def draft(self, session: str, key: str, mask: str, request: EditRequest) -> Shown | None:
        """A draft, which goes before what others have waiting.

        Args:
            session: of the page.
            key: of the picture.
            mask: the key of the mask, or "".
            request: the edits.

        Returns:
            ``None`` where the whole picture of the same was asked for already: a draft that is late
            would take its place.

        Raises:
            PairEditError: why it cannot be made.
        """
        whole = self._whole(session)
        if whole == [_asked(key, mask, request)]:
            return None
        whole.clear()  # the slider is on its way again
        started = time.perf_counter()
        draft = self.service.do(
            lambda hook: self.service.engine.draft(
                f"{key} {mask}", lambda: self._photos(key, mask), request, hook
            ),
            urgent=True,
        )
        return Shown((draft.before, draft.after), f"Draft, {_seconds(started)}")

    def full(self, session: str, key: str, mask: str, request: EditRequest) -> Shown:
        """The picture as ``pairedit edit`` makes it, with a file for downloading.

        Args:
            session: of the page.
            key: of the picture.
            mask: the key of the mask, or "".
            request: the edits.

        Raises:
            PairEditError: why it cannot be made.
        """
        asked, name = _asked(key, mask, request), self.service.pictures.name(key)
        self._whole(session)[:] = [asked]
        if not (request.edits or request.instructions):
            return Shown((self.seen(key), self.seen(key)), "The picture as it is")
        started = time.perf_counter()
        photo = self.service.do(lambda hook: self._edited(key, mask, request, hook), key=asked)
        note = f"{photo.width} × {photo.height}, {_seconds(started)}"
        kind = "jpeg" if Path(name).suffix.lower() in (".jpg", ".jpeg") else "png"
        suffix = {"png": ".png", "jpeg": ".jpg"}[kind]
        stem = "-".join([Path(name).stem or "picture", *(part.name for part in request.edits)])
        file = self.service.results.save(stem[:120] + suffix, encoded(photo, kind))
        return Shown((self.seen(key), _at_most(photo)), note, file)

    def strip(self, key: str, mask: str, request: SweepRequest) -> Image.Image:
        """The picture at several scales.

        Raises:
            PairEditError: why it cannot be made.
        """
        photo, masked = self._photos(key, mask)
        made = self.service.do(lambda hook: self.service.engine.sweep(photo, request, masked, hook))
        return strip_of(photo.seen(), made, request)

    def many(self, files: Sequence[str], request: EditRequest) -> Iterator[tuple[str, bytes | str]]:
        """Each picture's name with its edited file, or with why it failed.

        Args:
            files: that were uploaded.
            request: the edits.

        Raises:
            InputError: there are too many.
        """
        if len(files) > MOST_FILES:
            raise InputError(
                "Too many pictures at once",
                expected=f"at most {MOST_FILES}",
                got=counted(len(files), "picture"),
                next_step="Use `pairedit edit` on a folder, or take them in parts",
            )
        for file in files:
            name = Path(file).name
            try:
                work = Work(request, {"image": Path(file).read_bytes()})
                made = self.service.do(partial(work.do, self.service.engine), key=work.key)
                yield f"{Path(name).stem}.{request.format}", made.data
            except PairEditError as error:
                yield name, str(error)

    def _edited(self, key: str, mask: str, request: EditRequest, hook: StepHook) -> Photo:
        photo, masked = self._photos(key, mask)
        return self.service.engine.edit(photo, request, masked, hook)

    def _whole(self, session: str) -> list[str]:
        """The last whole picture that a page has asked for."""
        return self._settled.get(session, list)

    def _photos(self, key: str, mask: str) -> tuple[Photo, Photo | None]:
        pictures = self.service.pictures
        return pictures.photo(key), pictures.photo(mask) if mask else None

    def _look(self, key: str) -> Image.Image:
        return _at_most(self.service.pictures.photo(key))


def _asked(key: str, mask: str, request: EditRequest) -> str:
    """The same for equal pictures alone."""
    return f"{key} {mask} {request.model_dump_json()}"


def _at_most(photo: Photo) -> Image.Image:
    shrink = min(1.0, SHOWN / max(photo.size))
    return photo.seen((max(1, round(photo.width * shrink)), max(1, round(photo.height * shrink))))


def _seconds(started: float) -> str:
    return f"{time.perf_counter() - started:.2f} s"
