"""One loaded model and a library of edits, for many requests one after the other.

Nothing here knows of HTTP, of a page or of Ray. A request names edits of the library, and never a
path. What a request leaves behind is bounded: the edits it read, and drafts of its picture.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.edits.edit import Edit, EditStack
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.edits.library import EditLibrary, check_name
from pairedit_sdk.errors import EditError, InputError, UsageError
from pairedit_sdk.models.folders import DEFAULT_MODEL
from pairedit_sdk.studio.recent import Recent
from pairedit_sdk.studio.requests import OPTIONS

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.editing.draft import DraftEditor
    from pairedit_sdk.editing.hooks import StepHook
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.images.photo import Photo
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.studio.requests import EditRequest, OptionsRequest, ScaledEdit, SweepRequest

#: Edits that are kept read, and pictures with what their drafts have in common.
KEPT_EDITS, KEPT_DRAFTS = 64, 4


@dataclass(frozen=True)
class LoadingOptions:
    """How the studio's model is loaded.

    Attributes:
        base: its name; ``None`` is the one that most edits of the library were learned on.
        device: "cpu", "cuda" …; ``None`` is a GPU if there is one.
        precision: as for :func:`pairedit_sdk.load_model`.
        offload: keep only one part of it on the device at a time.
    """

    base: str | None = None
    device: str | None = None
    precision: str = "auto"
    offload: bool = False


@dataclass(frozen=True)
class Draft:
    """A small picture before and after edits, of one size.

    Attributes:
        before: without the edits.
        after: with them.
    """

    before: Image.Image
    after: Image.Image


class Engine:
    """A model that is loaded once, and what is asked of it.

    All methods but :meth:`info` and :meth:`infos` are to be called by one thread at a time: the
    studio's queue, or a replica of Ray.

    Args:
        library: of edits, on this machine.
        loading: the model, and how it is loaded; when it is first needed.
    """

    def __init__(self, library: EditLibrary | str | Path, loading: LoadingOptions | None = None):
        self.library = EditLibrary.local(library)
        self.loading = loading or LoadingOptions()
        #: The name of the model, loaded or not; it stays when the library changes.
        self.model_name = self.loading.base or self._most_learned_on() or DEFAULT_MODEL
        self._model: FlowModel | None = None
        self._lock = threading.Lock()
        self._edits: Recent[Edit] = Recent(KEPT_EDITS)
        self._drafts: Recent[DraftEditor] = Recent(KEPT_DRAFTS)

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    @property
    def model(self) -> FlowModel:
        """The model; the first call loads it.

        Raises:
            BaseModelError: it cannot be loaded.
        """
        with self._lock:
            if self._model is None:
                from pairedit_sdk.models.loading import load_model

                how = self.loading
                self._model = load_model(
                    self.model_name, device=how.device, precision=how.precision, offload=how.offload
                )
                self._model.keep_autoencoder(True)
            return self._model

    def unload(self) -> None:
        """Give the model's memory back, for a training; the next request loads it again."""
        with self._lock:
            self._drafts.clear()
            self._model = None

    def make_room(self) -> None:
        """:meth:`unload`, where the model is on a GPU that a training wants as well."""
        if self._model is not None and self._model.device.type != "cpu":
            import torch

            self.unload()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def info(self, name: str) -> EditInfo:
        """What is known about an edit of the library.

        Raises:
            UsageError: there is none of that name.
            EditError: its file is damaged.
        """
        return Edit.read_info(self._file(name))

    def infos(self) -> dict[str, EditInfo]:
        """The same of all edits that can be read."""
        found = {}
        for path in self.library.paths():
            try:
                found[path.stem] = Edit.read_info(path)
            except EditError:  # said when it is asked for
                continue
        return found

    def edit_named(self, name: str) -> Edit:
        """An edit of the library; one that did not change since is not read again.

        Raises:
            UsageError, EditError: as :meth:`info`.
        """
        path = self._file(name)
        stat = path.stat()
        stamp = (name, stat.st_mtime_ns, stat.st_size)
        return self._edits.get(stamp, lambda: Edit.load(path))

    def stack(self, request: EditRequest) -> EditStack:
        """The edits and instructions of a request.

        Raises:
            UsageError: there are none, or one is unknown.
            EditError: an edit's file is damaged.
        """
        parts = [(self.edit_named(part.name), part.scale) for part in request.edits]
        parts += [(Instruction(told.phrase), told.scale) for told in request.instructions]
        if not parts:
            raise UsageError(
                "Nothing says what to change",
                expected="an edit or an instruction",
                next_step="Name an edit of the library, or an instruction",
            )
        return EditStack(parts)

    def edit(
        self,
        photo: Photo,
        request: EditRequest,
        mask: Photo | None = None,
        hook: StepHook | None = None,
    ) -> Photo:
        """The picture under the request's edits, as ``pairedit edit`` makes it.

        Raises:
            PairEditError: why it cannot be made.
        """
        return self.edited(photo, self.stack(request), request, mask, hook)

    def edited(
        self,
        photo: Photo,
        stack: EditStack,
        request: OptionsRequest,
        mask: Photo | None = None,
        hook: StepHook | None = None,
    ) -> Photo:
        """The picture under a stack of edits.

        Raises:
            PairEditError: why it cannot be made.
        """
        from pairedit_sdk.editing.edit_photos import edit_photo
        from pairedit_sdk.editing.guidance import check_cfg
        from pairedit_sdk.editing.hooks import no_hook

        asked = request.options(mask)
        check_cfg(stack, asked)
        resolved = asked.resolved(stack)
        return edit_photo(self.model, photo, stack, [1.0], resolved, hook or no_hook)[0]

    def draft(
        self,
        key: str,
        read: Callable[[], tuple[Photo, Photo | None]],
        request: EditRequest,
        hook: StepHook | None = None,
    ) -> Draft:
        """A small and quick picture under the request's edits, see
        :class:`pairedit_sdk.DraftEditor`.

        Args:
            key: of the picture and its mask; the same again is not read and encoded again.
            read: gives the picture and its mask.
            request: the edits; without any, the draft is the picture itself.
            hook: called with (done, total).

        Raises:
            PairEditError: why it cannot be made.
        """
        from pairedit_sdk.editing.draft import DraftEditor

        def begin() -> DraftEditor:
            photo, mask = read()
            asked = request.options(mask)
            if asked.n_avg is None and asked.method == "flowedit":
                # A browser may share the cores; the whole picture has all noises a moment later.
                asked = replace(asked, n_avg=1)
            return DraftEditor(self.model, photo, asked)

        settings = request.model_dump_json(include=set(OPTIONS))
        editor = self._drafts.get((key, settings), begin)
        if not (request.edits or request.instructions):
            return Draft(editor.original, editor.original)
        return Draft(editor.original, editor.edit(self.stack(request), on_step=hook))

    def sweep(
        self,
        photo: Photo,
        request: SweepRequest,
        mask: Photo | None = None,
        hook: StepHook | None = None,
    ) -> list[Image.Image]:
        """The picture at each of the request's scales.

        Raises:
            PairEditError: why it cannot be made.
        """
        from pairedit_sdk.editing.edit_image import sweep

        stack = self.stack(request)
        return sweep(self.model, photo, stack, request.scales, request.options(mask), on_step=hook)

    def sum_of(self, edits: Sequence[ScaledEdit]) -> EditStack:
        """Edits of the library at their scales.

        Raises:
            UsageError, EditError: as :meth:`stack`.
        """
        return EditStack([(self.edit_named(part.name), part.scale) for part in edits])

    def _most_learned_on(self) -> str | None:
        """The model that most edits of the library were learned on."""
        counted = Counter(info.base for info in self.infos().values() if info.base)
        return counted.most_common(1)[0][0] if counted else None

    def _file(self, name: str) -> Path:
        """The file of an edit by its name alone: a request cannot name a path."""
        check_name(name)
        path = self.library.file(name)
        if not path.is_file():
            self.library.path(name)  # raises, with the nearest names
            raise InputError(f"There is no edit {name!r} in the library")
        return path


def picture_of(data: bytes, name: str) -> Photo:
    """The picture that was sent.

    Args:
        data: of its file.
        name: what an error calls it.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    from pairedit_sdk.images.photo import Photo

    return Photo.read(BytesIO(data), name)
