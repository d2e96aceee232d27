"""Edits on many pictures with one model. A picture that fails does not stop the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from pairedit_sdk.editing.edit_photos import edit_alike, edit_photo, rows_at_once, seen_size
from pairedit_sdk.editing.guidance import check_edit_guidance
from pairedit_sdk.editing.hooks import StepHook, no_hook
from pairedit_sdk.editing.options import EditOptions, EditSettings, ResolvedOptions, options_from
from pairedit_sdk.editing.told import check_told
from pairedit_sdk.edits.edit import EditStack
from pairedit_sdk.edits.inputs import Edits, as_stack
from pairedit_sdk.errors import PairEditError, UsageError, explained
from pairedit_sdk.images.inputs import ImageLike, as_photo, is_image
from pairedit_sdk.lora.holding import require_model

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.models.protocol import FlowModel

#: Pixels of the photographs that are held together at most, whatever room a forward pass has.
HELD = 100e6
#: What to do about an error of one picture that nobody foresaw.
BUG = "Edit this picture alone with --debug, or see EditedImage.traceback, and report it."


@dataclass(frozen=True, eq=False)
class EditedImage:
    """The result for one picture: the edited photo, or the error.

    Attributes:
        source: the picture as it was given.
        photo: the edited picture with everything that its file had; ``None`` if it failed.
        error: why it failed, or ``None``.
        traceback: of an error that is none of :mod:`pairedit_sdk.errors`, as text.
    """

    source: ImageLike
    photo: Photo | None = field(default=None, repr=False)
    error: PairEditError | None = None
    traceback: str = field(default="", repr=False)

    @property
    def image(self) -> Image.Image:
        """The edited picture, as :func:`pairedit_sdk.edit_image` gives it.

        Raises:
            PairEditError: why it failed.
        """
        return self._made().image

    def save(self, path: str | Path, *, metadata: bool = True) -> Path:
        """Write the edited picture with what the file's format can hold.

        Args:
            path: its extension says the format.
            metadata: whether to write into the file how the picture was made.

        Raises:
            PairEditError: why it failed, or why it could not be written.
        """
        written = self._made().save(Path(path), metadata=metadata)
        assert written is not None  # of a path
        return written

    def _made(self) -> Photo:
        if self.photo is None:
            raise self.error or PairEditError("The picture was not edited")
        return self.photo


def edit_images(
    model: FlowModel,
    images: Iterable[ImageLike],
    edits: Edits,
    options: EditOptions | None = None,
    *,
    on_step: StepHook | None = None,
    **settings: Unpack[EditSettings],
) -> Iterator[EditedImage]:
    """Apply edits to many pictures, in the order in which they are given.

    Pictures are read when their turn comes. Those in a row that the model sees at one size share
    forward passes, as many as there is room for; each comes out as by itself, within rounding.
    A picture that cannot be read or edited gives an :class:`EditedImage` with its error, and the
    next one follows.

    Args:
        model: the model the edits were learned on.
        images: each as for :func:`pairedit_sdk.edit_image`.
        edits: as for :func:`pairedit_sdk.edit_image`.
        options: how they are edited, a mask or region included.
        on_step: called with (done, total) of the pictures that are edited together. An exception
            that it raises ends the whole.
        settings: single fields of :class:`pairedit_sdk.editing.options.EditOptions`.

    Raises:
        UsageError: one picture in the place of many, no edits, options that do not go together, or
            an instruction or guidance that the model cannot be given; before the first picture.
        InputError: the mask cannot be read; before the first picture.
        EditError: an edit of another model; before the first picture.
    """
    if is_image(images):
        raise UsageError(
            "edit_images takes several pictures",
            expected="a list or another iterable of them",
            got=type(images).__name__,
            next_step="Give one picture to edit_image, or put it into a list",
        )
    require_model(model)
    stack = as_stack(edits)
    resolved = options_from(options, settings).resolved(stack)
    for edit, _ in stack.parts:
        edit.require_base(model)
    check_told(model, stack, resolved)
    check_edit_guidance(model, stack, resolved)
    return _Run(model, stack, resolved, _carrying(on_step or no_hook)).through(images)


class _HookError(BaseException):
    """Carries an exception of the caller's ``on_step`` past what handles pictures that fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _carrying(hook: StepHook) -> StepHook:
    def carrying(done: int, total: int) -> None:
        try:
            hook(done, total)
        except Exception as error:
            raise _HookError(error) from error

    return carrying


@dataclass
class _Run:
    model: FlowModel
    stack: EditStack
    options: ResolvedOptions
    hook: StepHook

    def through(self, images: Iterable[ImageLike]) -> Iterator[EditedImage]:
        held: list[tuple[ImageLike, Photo]] = []
        self.model.keep_autoencoder(True)
        try:
            for source in images:
                photo = _attempted(source, lambda source=source: as_photo(source))  # type: ignore[misc]
                if isinstance(photo, EditedImage):
                    yield from self._edited(held)
                    held = []
                    yield photo
                    continue
                if held and not self._fits(held, photo):
                    yield from self._edited(held)
                    held = []
                held.append((source, photo))
            yield from self._edited(held)
        except _HookError as carried:
            raise carried.error from None
        finally:
            self.model.keep_autoencoder(False)

    def _fits(self, held: Sequence[tuple[ImageLike, Photo]], photo: Photo) -> bool:
        """Whether the photograph can share forward passes with the ones in ``held``."""
        if self.options.region is not None or self.options.method != "flowedit":
            return False
        size = self._seen(photo)
        pixels = sum(other.width * other.height for _, other in [*held, (None, photo)])
        room = rows_at_once(self.model, size, self.stack, self.options)
        return len(held) < room and pixels <= HELD and size == self._seen(held[0][1])

    def _seen(self, photo: Photo) -> tuple[int, int]:
        return seen_size(self.model, photo.size, self.stack, self.options.resolution)

    def _edited(self, held: Sequence[tuple[ImageLike, Photo]]) -> Iterator[EditedImage]:
        """The photographs edited together, or one by one if that fails."""
        model, stack, options, hook = self.model, self.stack, self.options, self.hook
        if len(held) > 1:
            photos = [photo for _, photo in held]
            try:
                together = edit_alike(model, photos, stack, [1.0], options, hook)
            except Exception:  # one of them is at fault, or memory is too small for all
                together = []
            if together:
                for (source, _), (photo,) in zip(held, together, strict=True):
                    yield EditedImage(source, photo)
                return
        for source, photo in held:
            made = _attempted(
                source,
                lambda photo=photo: edit_photo(model, photo, stack, [1.0], options, hook)[0],  # type: ignore[misc]
            )
            yield made if isinstance(made, EditedImage) else EditedImage(source, made)


def _attempted(source: ImageLike, work: Callable[[], Photo]) -> Photo | EditedImage:
    """The result of ``work``, or the picture's failure."""
    try:
        return work()
    except Exception as error:  # of any kind: the other pictures are still to be edited
        failure = explained(error, bug=BUG)
        said = "" if failure is error else "".join(traceback.format_exception(error))
        _drop_tracebacks(error)
        return EditedImage(source, error=failure, traceback=said)


def _drop_tracebacks(error: BaseException | None) -> None:
    """Release what the frames of an error hold: pictures, and tensors on the device."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
