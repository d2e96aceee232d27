"""The tab on which a picture is edited: sliders, before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.studio.page.edit_form import EditForm, request_of
from pairedit_sdk.studio.page.edit_more import build_more
from pairedit_sdk.studio.page.edit_sliders import Sliders
from pairedit_sdk.studio.page.edit_work import EditWork, Shown, mask_file
from pairedit_sdk.studio.page.shared import LIVE, PRIVATE, said

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

#: The number of the drawn face that stands in for a picture: one with nothing on it.
EXAMPLE = 17


@dataclass(frozen=True)
class EditTab:
    """What other parts of the page need of it.

    Attributes:
        seed: the field of the noise's seed.
        restore: shows what the states say.
        restoring: the inputs and outputs of ``restore``.
    """

    seed: gr.Number
    restore: Callable[..., Any]
    restoring: dict[str, Any]


@dataclass(frozen=True)
class _Parts:
    """The parts of the tab."""

    upload: gr.Image
    example: gr.Button
    sliders: Sliders
    slot: gr.Column
    form: EditForm
    painter: gr.ImageEditor
    view: gr.ImageSlider
    note: gr.Markdown
    download: gr.DownloadButton
    name: gr.State
    mask: gr.State


def build(shared: Shared) -> EditTab:
    """Lay the tab out."""
    work = EditWork(shared.service)
    parts = _laid_out(shared, work)
    form, outputs = parts.form, [parts.view, parts.note]
    picture = [shared.picture, parts.mask]

    def whole(key: str, masked: str, called: str, *values: Any) -> Any:
        if not key:
            return None, "Choose a picture.", gr.DownloadButton(interactive=False)
        return _outputs(work.full(key, masked, called, request_of(*values)))

    def draft(key: str, masked: str, *values: Any) -> Any:
        return _outputs(work.draft(key, masked, request_of(*values)))[:2]

    full = {
        "fn": said(whole),
        "inputs": [*picture, parts.name, shared.scales, shared.instructions, *form.fields],
        "outputs": [*outputs, parts.download],
        "show_progress": "minimal",
        "show_progress_on": parts.note,
        "trigger_mode": "always_last",
        **PRIVATE,
    }
    with parts.slot:  # the sliders' own place; what they move is known by now
        parts.sliders.build_sliders(
            draft, inputs=picture, fields=form.fields, outputs=outputs, full=full
        )
    gr.on([shared.picture.change, parts.mask.change, *(f.change for f in form.fields)], **full)
    _take_pictures(shared, parts)
    _take_masks(shared, work, parts)

    def restore(key: str) -> Any:
        return str(shared.service.pictures.folder / key) if key else gr.skip()

    restoring = {"inputs": shared.picture, "outputs": parts.upload, **PRIVATE}
    return EditTab(form.seed, restore, restoring)


def _laid_out(shared: Shared, work: EditWork) -> _Parts:
    name, mask = gr.State("picture.png"), gr.State("")
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            upload = gr.Image(
                type="filepath", sources=["upload", "clipboard"], label="Picture", height=180,
                buttons=[], elem_id="edit-picture", placeholder="Drop a picture here, or click",
            )  # fmt: skip
            example = gr.Button("Use a drawn face", size="sm", elem_id="edit-example")
            sliders = Sliders(shared)
            sliders.build_choice()
            slot = gr.Column()
            with gr.Accordion("How it is edited", open=False):
                form = EditForm.build()
            with gr.Accordion("Mask", open=False):
                gr.Markdown("Paint where the edit may act. Nothing painted: everywhere.")
                painter = gr.ImageEditor(
                    type="pil", sources=[], transforms=[], layers=False, show_label=False,
                    brush=gr.Brush(colors=["#ffffff"], default_size=24), height=380, buttons=[],
                    elem_id="edit-mask",
                )  # fmt: skip
        with gr.Column(scale=6, min_width=320):
            view = gr.ImageSlider(
                label="Before and after", interactive=False, height=560, format="jpeg",
                elem_id="edit-view", buttons=["fullscreen"],
            )  # fmt: skip
            with gr.Row(equal_height=True):
                note = gr.Markdown("Choose a picture and an edit.", elem_id="edit-note")
                download = gr.DownloadButton(
                    "Download", interactive=False, size="sm", scale=0, min_width=140,
                    elem_id="edit-download",
                )  # fmt: skip
            build_more(shared, work, form, mask, name)
    return _Parts(upload, example, sliders, slot, form, painter, view, note, download, name, mask)


def _outputs(shown: Shown) -> tuple[Any, str, Any]:
    file = gr.DownloadButton(
        value=None if shown.file is None else str(shown.file), interactive=shown.file is not None
    )
    return shown.pair, shown.note, file


def _take_pictures(shared: Shared, parts: _Parts) -> None:
    """A picture that is uploaded is kept, and called by its key from then on."""

    def take(path: str | None) -> tuple[str, str, str]:
        if path is None:
            return "", "picture.png", ""
        data = Path(path).read_bytes()
        return shared.service.pictures.keep(data, Path(path).name), Path(path).name, ""

    def face() -> Any:
        from pairedit_sdk.builtin.faces.numbered import face_at

        held = BytesIO()
        face_at(EXAMPLE).draw(512).save(held, "PNG")
        key = shared.service.pictures.keep(held.getvalue())
        return str(shared.service.pictures.folder / key), key, "face.png", ""

    kept = [shared.picture, parts.name, parts.mask]
    quietly: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
    parts.upload.upload(said(take), parts.upload, kept, **quietly)
    parts.upload.clear(said(take), parts.upload, kept, **quietly)
    parts.example.click(said(face), None, [parts.upload, *kept], **quietly)


def _take_masks(shared: Shared, work: EditWork, parts: _Parts) -> None:
    """What is painted is kept, too; another picture has nothing painted on it."""

    def take(drawn: Any) -> str:
        data = mask_file(drawn)
        return "" if data is None else shared.service.pictures.keep(data, "The mask")

    def canvas(key: str) -> Any:
        return {"background": work.seen(key), "layers": [], "composite": None} if key else None

    shared.picture.change(
        said(canvas), shared.picture, parts.painter, show_progress="hidden", **PRIVATE
    )
    parts.painter.change(said(take), parts.painter, parts.mask, **LIVE)
