"""The tab on which a picture is edited: sliders, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.studio.page.edit_form import EditForm, request_of
from pairedit_sdk.studio.page.edit_more import build_more
from pairedit_sdk.studio.page.edit_sliders import Moving, Sliders
from pairedit_sdk.studio.page.edit_work import EditWork, Shown
from pairedit_sdk.studio.page.mask_part import Painter, mask_file
from pairedit_sdk.studio.page.shared import LIVE, PRIVATE, said

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

#: The number of the drawn face that stands in for a picture: one with nothing on it.
EXAMPLE = 32


@dataclass(frozen=True)
class _Parts:
    """The parts of the tab."""

    upload: gr.Image
    example: gr.Button
    sliders: Sliders
    slot: gr.Column
    form: EditForm
    painter: Painter
    view: gr.ImageSlider
    note: gr.Markdown
    download: gr.DownloadButton
    mask: gr.State


def build(shared: Shared) -> EditForm:
    """Lay the tab out.

    Returns:
        The fields of how pictures are edited.
    """
    work = EditWork(shared.service)
    parts = _laid_out(shared, work)
    form, outputs = parts.form, [parts.view, parts.note]
    picture = [shared.picture, parts.mask]

    def whole(request: gr.Request, key: str, masked: str, *values: Any) -> Any:
        if not key:
            return None, "Choose a picture.", gr.DownloadButton(interactive=False)
        session = str(request.session_hash)
        return _outputs(work.full(session, key, masked, request_of(*values)))

    def draft(session: str, key: str, masked: str, *values: Any) -> Any:
        shown = work.draft(session, key, masked, request_of(*values))
        return (gr.skip(), gr.skip()) if shown is None else _outputs(shown)[:2]

    full = {
        "fn": said(whole),
        "inputs": [*picture, shared.scales, shared.instructions, *form.fields],
        "outputs": [*outputs, parts.download],
        "show_progress": "minimal",
        "show_progress_on": parts.note,
        "trigger_mode": "always_last",
        **PRIVATE,
    }
    with parts.slot:  # the sliders' own place; what they move is known by now
        parts.sliders.build_sliders(Moving(draft, picture, form.fields, outputs, full))
    gr.on([shared.picture.change, parts.mask.change, *(f.change for f in form.fields)], **full)
    _take_pictures(shared, work, parts)
    return form


def _laid_out(shared: Shared, work: EditWork) -> _Parts:
    mask = gr.State("")
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            upload = gr.Image(
                type="filepath",
                image_mode=None,  # the file as it is, and not what Gradio would make of it
                sources=["upload", "clipboard"],
                label="Picture",
                height=180,
                buttons=[],
                elem_id="edit-picture",
                placeholder="Drop a picture here, or click",
            )
            example = gr.Button("Use a drawn face", size="sm", elem_id="edit-example")
            sliders = Sliders(shared)
            sliders.build_choice()
            slot = gr.Column()
            with gr.Accordion("How it is edited", open=False):
                form = EditForm.build()
            with gr.Accordion("Mask", open=False):
                gr.Markdown("Paint where the edit may act. Nothing painted: everywhere.")
                painter = Painter()
        with gr.Column(scale=6, min_width=320):
            view = gr.ImageSlider(
                label="Before and after",
                interactive=False,
                height=560,
                format="jpeg",
                elem_id="edit-view",
                buttons=["fullscreen"],
            )
            with gr.Row(equal_height=True):
                note = gr.Markdown("Choose a picture and an edit.", elem_id="edit-note")
                download = gr.DownloadButton(
                    "Download",
                    interactive=False,
                    size="sm",
                    scale=0,
                    min_width=140,
                    elem_id="edit-download",
                )
            build_more(shared, work, form, mask)
    return _Parts(upload, example, sliders, slot, form, painter, view, note, download, mask)


def _outputs(shown: Shown) -> tuple[Any, str, Any]:
    file = gr.DownloadButton(
        value=None if shown.file is None else str(shown.file), interactive=shown.file is not None
    )
    return shown.pair, shown.note, file


def _take_pictures(shared: Shared, work: EditWork, parts: _Parts) -> None:
    """A picture is kept, and called by its key from then on; so is what is painted on it.

    Whatever sets the key, the rest follows: the picture is shown, and nothing is painted on it.
    """
    pictures = shared.service.pictures

    def take(path: str | None) -> str:
        return "" if path is None else pictures.keep(Path(path).read_bytes(), Path(path).name)

    def face() -> str:
        from pairedit_sdk.builtin.faces.numbered import face_at

        held = BytesIO()
        face_at(EXAMPLE).draw(512).save(held, "PNG")
        return pictures.keep(held.getvalue(), "face.png")

    def show(key: str) -> Any:
        if not key:
            return None, Painter.on(None), ""
        return str(pictures.folder / key), Painter.on(work.seen(key)), ""

    def paint(drawn: str | None) -> str:
        data = mask_file(drawn)
        return "" if data is None else pictures.keep(data, "mask.png")

    quietly: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
    parts.upload.upload(said(take), parts.upload, shared.picture, **quietly)
    parts.upload.clear(said(take), parts.upload, shared.picture, **quietly)
    parts.example.click(said(face), None, shared.picture, **quietly)
    shared.picture.change(
        said(show), shared.picture, [parts.upload, parts.painter.part, parts.mask], **quietly
    )
    parts.painter.part.input(said(paint), parts.painter.part, parts.mask, **LIVE)
