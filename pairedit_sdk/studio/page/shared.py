"""What all tabs share: the service, the library's list, errors as sentences, pictures by key."""

from __future__ import annotations

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from pydantic import ValidationError

from pairedit_sdk.edits.library import preview_path
from pairedit_sdk.errors import PairEditError, explained
from pairedit_sdk.studio.requests import unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.studio.service import Service

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("pairedit_sdk")

#: Seconds that an error stays on the page, unless it is closed.
SHOWN = 20.0
#: No event of the page is an endpoint: the HTTP API is another one, typed and documented.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
#: Of an event that somebody waits for with a finger on the mouse.
LIVE: dict[str, Any] = {**PRIVATE, "trigger_mode": "always_last", "show_progress": "hidden"}


@dataclass(frozen=True)
class Shared:
    """What a tab is given.

    Attributes:
        service: that does the work.
        names: state with the names of the library's edits; its change is to be watched.
        stamp: state that changes when an edit is replaced by another of its name.
        picture: state with the key of the picture that is edited, see
            :class:`pairedit_sdk.studio.pictures.Pictures`; "" is none.
        scales: state with the chosen edits and their scales, {name: scale}, in order.
        instructions: state with the chosen instructions and their scales, {phrase: scale}.
        tabs: the tabs, to go to another.
        tab: state with the tab that is shown, one of :data:`pairedit_sdk.studio.view.TABS`; who
            goes to another sets it too, as only a click is told of by the tabs themselves.
        local: whether only somebody on this machine can open the page.
    """

    service: Service
    names: gr.State
    stamp: gr.State
    picture: gr.State
    scales: gr.State
    instructions: gr.State
    tabs: gr.Tabs
    tab: gr.State
    local: bool = False

    def info(self, name: str) -> EditInfo | None:
        """What is known about an edit, or nothing where it cannot be read."""
        try:
            return self.service.engine.info(name)
        except PairEditError:
            return None

    def preview(self, name: str) -> str | None:
        """A copy of an edit's preview, if it has one."""
        return shown(preview_path(self.service.library.file(name)))


def shown(file: Path) -> str | None:
    """A copy of a file that a browser may have: the folders of the library are none of its
    business. ``None`` where there is no such file."""
    try:
        return str(save_file_to_cache(file, get_upload_folder()))
    except FileNotFoundError:
        return None


def said(work: Callable[P, R]) -> Callable[P, R]:
    """The function, or the generator, with every error as a sentence on the page."""
    if inspect.isgeneratorfunction(work):

        @functools.wraps(work)
        def steps(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _saying():
                yield from work(*args, **kwargs)

        return steps

    @functools.wraps(work)
    def once(*args: P.args, **kwargs: P.kwargs) -> R:
        with _saying():
            return work(*args, **kwargs)

    return once


@contextmanager
def _saying() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except ValidationError as error:
        raise _shown(unreadable(error.errors())) from error
    except Exception as error:
        known = explained(error, bug="The server's own output has more; report it with that.")
        if known is not error:
            _log.exception("The page could not do this")
        raise _shown(known) from error


def _shown(error: PairEditError) -> gr.Error:
    # Escaped, as Gradio takes the text for HTML.
    return gr.Error(html.escape(str(error), quote=False), duration=SHOWN, print_exception=False)
