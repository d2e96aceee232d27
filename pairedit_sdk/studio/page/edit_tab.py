"""The tab on which a picture is edited: sliders, before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


def build(shared: Shared) -> EditTab:
    """Lay the tab out."""
    work = EditWork(shared.service)
    name, mask = gr.State("picture.png"), gr.State("")
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            upload = gr.Image(
                type="filepath",
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
                brush = gr.Brush(colors=["#ffffff"], default_size=24)
                painter = gr.ImageEditor(
                    type="pil", sources=[], transforms=[], layers=False, brush=brush,
                    show_label=False, height=380, buttons=[], elem_id="edit-mask",
                )  # fmt: skip
        with gr.Column(scale=6, min_width=320):
            view = gr.ImageSlider(
                label="Before and after", interactive=False, height=560, format="jpeg",
                elem_id="edit-view", buttons=["fullscreen"],
            )  # fmt: skip
            note = gr.Markdown("Choose a picture and an edit.", elem_id="edit-note")
            download = gr.DownloadButton("Download", interactive=False, elem_id="edit-download")
            build_more(shared, work, form, mask, name)

    def whole(key: str, masked: str, called: str, *values: Any) -> Any:
        if not key:
            return gr.skip(), "Choose a picture.", gr.skip()
        shown = work.full(key, masked, called, request_of(*values))
        return _outputs(shown)

    outputs = [view, note, download]
    inputs = [shared.picture, mask, name, shared.scales, shared.instructions, *form.fields]
    full = {"fn": said(whole), "inputs": inputs, "outputs": outputs, "show_progress": "minimal",
            "show_progress_on": note, "trigger_mode": "always_last", **PRIVATE}  # fmt: skip
    with slot:  # the sliders' own place, which knows by now what they move
        sliders.build_sliders(
            lambda key, masked, *values: _outputs(work.draft(key, masked, request_of(*values)))[:2],
            inputs=[shared.picture, mask],
            fields=form.fields,
            outputs=[view, note],
            full=full,
        )
    _take_pictures(shared, upload, example, name, mask)
    _take_masks(shared, painter, mask)
    gr.on([shared.picture.change, mask.change, *(f.change for f in form.fields)], **full)

    def canvas(key: str) -> Any:
        return {"background": work.seen(key), "layers": [], "composite": None} if key else None

    shared.picture.change(canvas, shared.picture, painter, show_progress="hidden", **PRIVATE)

    def restore(key: str) -> Any:
        return str(shared.service.pictures.folder / key) if key else None

    return EditTab(form.seed, restore, {"inputs": shared.picture, "outputs": upload, **PRIVATE})


def _outputs(shown: Shown) -> tuple[Any, str, Any]:
    file = gr.DownloadButton(
        value=None if shown.file is None else str(shown.file), interactive=shown.file is not None
    )
    return shown.pair, shown.note, file


def _take_pictures(
    shared: Shared, upload: gr.Image, example: gr.Button, name: gr.State, mask: gr.State
) -> None:
    """A picture that is uploaded is kept, and called by its key from then on."""

    def take(path: str | None) -> tuple[str, str, str]:
        if path is None:
            return "", "picture.png", ""
        data = Path(path).read_bytes()
        return shared.service.pictures.keep(data, Path(path).name), Path(path).name, ""

    def face() -> Any:
        from pairedit_sdk.builtin.faces.numbered import face_at

        path = shared.service.results.folder / "face.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        face_at(3).draw(512).save(path)
        return str(path)

    kept = [shared.picture, name, mask]
    upload.upload(said(take), upload, kept, show_progress="hidden", **PRIVATE)
    upload.clear(said(take), upload, kept, show_progress="hidden", **PRIVATE)
    example.click(said(face), None, upload, show_progress="hidden", **PRIVATE).then(
        said(take), upload, kept, show_progress="hidden", **PRIVATE
    )


def _take_masks(shared: Shared, painter: gr.ImageEditor, mask: gr.State) -> None:
    """What is painted is kept, too."""

    def take(drawn: Any) -> str:
        data = mask_file(drawn)
        return "" if data is None else shared.service.pictures.keep(data, "The mask")

    painter.change(said(take), painter, mask, **LIVE)
