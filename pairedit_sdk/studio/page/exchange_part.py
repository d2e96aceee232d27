"""The part of the library tab for other tools' files and for the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.lora.export import DTYPES, FORMATS
from pairedit_sdk.studio.exchange import export_file, import_file
from pairedit_sdk.studio.page.shared import PRIVATE, said

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

_HUB = (
    '<p class="pe-note">This needs the network, and pushing needs a login of the studio\'s machine '
    "(<code>hf auth login</code> or HF_TOKEN). Nothing is sent before a button is pressed.</p>"
)


def build_export(shared: Shared, chosen: gr.State) -> None:
    """The chosen edit as a file for another tool."""
    service = shared.service
    with gr.Accordion("Export for another tool", open=False, elem_id="library-export-open"):
        with gr.Row():
            form = gr.Dropdown(
                list(FORMATS),
                value=FORMATS[0],
                label="Format",
                info="kohya is also for Forge, sd-scripts and musubi-tuner.",
                min_width=130,
                elem_id="library-format",
            )
            dtype = gr.Dropdown(
                list(DTYPES),
                value=DTYPES[0],
                label="Numbers",
                info="16 bits halve the file, and round the edit.",
                min_width=130,
                elem_id="library-dtype",
            )
        export = gr.Button("Make the file", elem_id="library-export")
        file = gr.File(
            label="Download", interactive=False, visible=False, elem_id="library-download"
        )
        note = gr.Markdown("", elem_id="library-export-note")

    def exported(name: str, wanted: str, numbers: str) -> list[Any]:
        made = export_file(service.library, name, wanted, numbers, service.folder / "exports")
        return [gr.update(value=str(made.path), visible=True), made.note]

    export.click(said(exported), [chosen, form, dtype], [file, note], **PRIVATE)
    chosen.change(
        lambda: [gr.update(value=None, visible=False), ""],
        None,
        [file, note],
        queue=False,
        show_progress="hidden",
        **PRIVATE,
    )


def build(shared: Shared, chosen: gr.State) -> None:
    """Other tools' files into the library, and the Hub."""
    with gr.Accordion("Import another tool's LoRA", open=False, elem_id="library-import-open"):
        _build_import(shared, chosen)
    if shared.local:  # it goes with this machine's own login
        with gr.Accordion("Hugging Face Hub", open=False, elem_id="library-hub-open"):
            _build_hub(shared, chosen)


def _build_import(shared: Shared, chosen: gr.State) -> None:
    service = shared.service
    file = gr.File(
        label="LoRA (safetensors, or PairEdit's .pt)",
        file_types=[".safetensors", ".pt"],
        height=165,
        elem_id="library-import-file",
    )
    with gr.Row():
        name = gr.Textbox(
            label="Name", placeholder="the file's", max_lines=1, elem_id="library-import-name"
        )
        rank = gr.Number(
            0,
            precision=0,
            minimum=0,
            label="Largest rank",
            info="0 leaves it.",
            min_width=90,
            elem_id="library-import-rank",
        )
    fits = gr.Checkbox(
        False,
        label=f"It was made for {service.engine.model_name}",
        info="Its layers are compared with the model's. A DoRA needs this.",
        elem_id="library-import-base",
    )
    partly = gr.Checkbox(False, label="Leave out what cannot be read", elem_id="library-partly")
    button = gr.Button("Import", elem_id="library-import")
    note = gr.Markdown("", elem_id="library-import-note")

    def imported(path: str | None, called: str, most: float, own: bool, part: bool) -> list[Any]:
        if not path:
            raise InputError("There is no file yet", next_step="Upload one first")
        target = called.strip() or Path(path).stem
        base = service.engine.model_name if own else None
        made = import_file(
            service.library, Path(path), target, base=base, rank=int(most or 0) or None, partly=part
        )
        return [made, target, service.library.names(), None]

    inputs, outputs = [file, name, rank, fits, partly], [note, chosen, shared.names, file]
    button.click(said(imported), inputs, outputs, **PRIVATE)


def _build_hub(shared: Shared, chosen: gr.State) -> None:
    service = shared.service
    gr.HTML(_HUB, padding=False)
    repo = gr.Textbox(
        label="Repository", placeholder="owner/name", max_lines=1, elem_id="library-repo"
    )
    private = gr.Checkbox(True, label="Push as private", elem_id="library-private")
    with gr.Row():
        push = gr.Button("Push the chosen edit", min_width=120, elem_id="library-push")
        pull = gr.Button("Pull from the repository", min_width=120, elem_id="library-pull")
    note = gr.Markdown("", elem_id="library-hub-note")

    def pushed(name: str, to: str, hidden: bool) -> str:
        from pairedit_sdk.sharing.hub import push as push_edit

        if not name:
            raise UsageError("No edit is chosen", next_step="Choose one in the grid")
        service.engine.info(name)  # raises where there is none
        done = push_edit(service.library.file(name), _repo(to), private=hidden)
        return f"Pushed {', '.join(done.files)} to {done.url}"

    def pulled(source: str) -> list[Any]:
        from pairedit_sdk.sharing.hub import pull as pull_edit

        done = pull_edit(_repo(source), service.library)
        told = f"Added {done.path.stem}, at commit {done.commit[:7]}."
        return [told, done.path.stem, service.library.names()]

    push.click(said(pushed), [chosen, repo, private], note, **PRIVATE)
    pull.click(said(pulled), repo, [note, chosen, shared.names], **PRIVATE)


def _repo(text: str) -> str:
    if not text.strip():
        raise UsageError("No repository is named", expected="owner/name")
    return text.strip()
