"""Beside the picture: a strip over scales, many pictures at once, and the same as code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.errors import UsageError, counted
from pairedit_sdk.studio.page.edit_form import request_of
from pairedit_sdk.studio.page.shared import PRIVATE, said
from pairedit_sdk.studio.requests import MOST_SCALES, EditRequest, SweepRequest
from pairedit_sdk.studio.snippets import edit_command, edit_python, loading_of

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.edit_form import EditForm
    from pairedit_sdk.studio.page.edit_work import EditWork
    from pairedit_sdk.studio.page.shared import Shared


def build_more(shared: Shared, work: EditWork, form: EditForm, mask: gr.State) -> None:
    """Lay the parts out.

    Args:
        shared: with the picture and the scales.
        work: that makes the pictures.
        form: how they are made.
        mask: the key of the mask.
    """
    asked = [shared.scales, shared.instructions, *form.fields]
    with gr.Accordion("Strip over scales", open=False, elem_id="edit-strip-part"):
        with gr.Row():
            scales = gr.Textbox("0, .25, .5, .75, 1", label="Scales of the whole", max_lines=1)
            draw = gr.Button("Draw", scale=0, min_width=90, elem_id="edit-strip-draw")
        strip = gr.Image(
            show_label=False,
            interactive=False,
            format="png",
            elem_id="edit-strip",
            buttons=["download", "fullscreen"],
        )

        def drawn(key: str, masked: str, said_scales: str, *values: Any) -> Any:
            _require(key)
            return work.strip(key, masked, sweep_of(request_of(*values), said_scales))

        draw.click(said(drawn), [shared.picture, mask, scales, *asked], strip, **PRIVATE)
    _build_many(work, asked)
    _build_code(shared, asked, mask, scales)


def _build_code(shared: Shared, asked: list[Any], mask: gr.State, scales: gr.Textbox) -> None:
    """Just what is set, as a command and as Python."""
    with gr.Accordion("Copy as command or Python", open=False, elem_id="edit-code") as part:
        command = gr.Code(label="Command", language="shell", interactive=False, lines=2)
        strip = gr.Code(label="Command of the strip", language="shell", interactive=False, lines=2)
        python = gr.Code(label="Python", language="python", interactive=False, lines=6)

    def told(key: str, masked: str, said_scales: str, *values: Any) -> Any:
        request, service = request_of(*values), shared.service
        called = service.pictures.name(key)
        if not (request.edits or request.instructions):
            return "", "", ""
        how: dict[str, Any] = {
            "mask": "mask.png" if masked else None,
            "loading": loading_of(service.engine),
        }
        strip_request = sweep_of(request, said_scales)
        return (
            edit_command(request, service.library, called, "edited.png", **how),
            edit_command(strip_request, service.library, called, "strip.png", **how),
            edit_python(request, service.library, called, "edited.png", **how),
        )

    inputs = [shared.picture, mask, scales, *asked]
    outputs = [command, strip, python]
    # While it is open; nobody pays for it before.
    opened = gr.State(False)
    part.expand(lambda: True, None, opened, **PRIVATE)
    part.collapse(lambda: False, None, opened, **PRIVATE)

    def if_open(is_open: bool, *values: Any) -> Any:
        return told(*values) if is_open else (gr.skip(),) * 3

    gr.on(
        [opened.change, *(one.change for one in inputs)],
        said(if_open),
        [opened, *inputs],
        outputs,
        show_progress="hidden",
        **PRIVATE,
    )


def sweep_of(request: EditRequest, scales: str) -> SweepRequest:
    """The request at the scales that somebody wrote.

    Raises:
        UsageError: that are no numbers, or too many.
    """
    try:
        numbers = [float(part) for part in scales.replace(";", ",").split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= MOST_SCALES or any(not -10 <= n <= 10 for n in numbers):
        raise UsageError(
            f"The scales {scales!r}",
            expected=f"1 to {MOST_SCALES} numbers from -10 to 10, with commas between them",
            next_step="For example 0, .5, 1",
        )
    return SweepRequest(**request.model_dump(), scales=numbers)


def _build_many(work: EditWork, asked: list[Any]) -> None:
    with gr.Accordion("Many pictures", open=False):
        files = gr.File(
            file_count="multiple", label="Pictures", height=120, elem_id="edit-many-files"
        )
        gr.Markdown("Each is edited as a whole; the mask is of the picture above alone.")
        start = gr.Button("Edit all", elem_id="edit-many")
        made = gr.Gallery(
            show_label=False, columns=4, height="auto", interactive=False, format="jpeg"
        )
        result = gr.Markdown()
        archive = gr.DownloadButton("Download all as zip", interactive=False)

        def run(paths: list[str] | None, *values: Any) -> Any:
            from io import BytesIO

            from PIL import Image

            if not paths:
                raise UsageError("There are no pictures", next_step="Choose some files first")
            request = request_of(*values)
            done: list[tuple[str, bytes]] = []
            failed: list[str] = []
            shown: list[Any] = []
            for number, (name, outcome) in enumerate(work.many(paths, request)):
                if isinstance(outcome, str):
                    failed.append(f"- {name}: {outcome}")
                else:
                    done.append((name, outcome))
                    with Image.open(BytesIO(outcome)) as image:
                        image.thumbnail((512, 512))
                        shown.append((image.convert("RGB"), name))
                note = f"{len(done)} of {counted(len(paths), 'picture')}"
                # All of the gallery is sent each time: ten times will do.
                grown = shown if number % (1 + len(paths) // 10) == 0 else gr.skip()
                yield grown, "\n".join([note, *failed]), gr.skip()
            path = work.service.results.archive("edited.zip", done) if done else None
            note = "\n".join([f"{counted(len(done), 'picture')} edited", *failed])
            yield (
                shown,
                note,
                gr.DownloadButton(
                    value=None if path is None else str(path), interactive=path is not None
                ),
            )

        start.click(said(run), [files, *asked], [made, result, archive], **PRIVATE)


def _require(key: str) -> None:
    if not key:
        raise UsageError("There is no picture yet", next_step="Choose one first")
