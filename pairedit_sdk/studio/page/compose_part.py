"""Saving the mix of the Edit tab as one edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.studio.composing import changed_scales, compose, request_of, suggested_name
from pairedit_sdk.studio.page import code_part
from pairedit_sdk.studio.page.shared import PRIVATE, said
from pairedit_sdk.studio.snippets import compose_command, compose_python

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

_NOTHING = "Choose edits and their scales on the tab Edit; here they are saved as one."


def build(shared: Shared) -> None:
    """Lay the part out."""
    gr.Markdown("### Compose")
    note = gr.Markdown(_NOTHING, elem_id="compose-note")
    table = gr.Dataframe(
        headers=["edit", "scale"],
        datatype=["str", "number"],
        type="array",
        static_columns=[0],
        column_count=2,
        row_count=0,
        interactive=True,
        buttons=[],
        visible=False,
        column_widths=["70%", "30%"],
        elem_id="compose-table",
    )
    name, rank, words, replace = _fields()
    save = gr.Button("Save as an edit", variant="primary", elem_id="compose-save")
    status = gr.Markdown(elem_id="compose-status")
    command, python = code_part.build("compose")
    asked = [name, shared.scales, rank, words, replace]
    _show_mix(shared, note, table, name)

    def saved(*values: Any) -> str:
        request = request_of(*values)
        return shared.service.do(lambda _: compose(shared.service.engine, request)).sentence

    def code(called: str, scales: Mapping[str, float], *more: Any) -> tuple[str, str]:
        if not any(scales.values()):
            return "", ""
        request = request_of(called, scales, *more)
        library = shared.service.library
        return compose_command(request, library), compose_python(request, library)

    save.click(said(saved), asked, status, **PRIVATE)
    gr.on(
        [one.change for one in asked],
        said(code),
        asked,
        [command, python],
        show_progress="hidden",
        **PRIVATE,
    )


def _fields() -> tuple[gr.Textbox, gr.Number, gr.Checkbox, gr.Checkbox]:
    """Name, rank limit, whether the words stay, and whether an edit is replaced."""
    with gr.Row():
        name = gr.Textbox(
            label="Name",
            info="of the new edit",
            placeholder="both",
            max_lines=1,
            scale=2,
            min_width=140,
            elem_id="compose-name",
        )
        rank = gr.Number(
            0,
            label="Rank limit",
            info="0: none, exact",
            precision=0,
            minimum=0,
            scale=1,
            min_width=110,
            elem_id="compose-rank",
        )
    with gr.Row():
        words = gr.Checkbox(
            True, label="Keep the words", container=False, elem_id="compose-words", min_width=140
        )
        replace = gr.Checkbox(
            False,
            label="Replace an edit of that name",
            container=False,
            elem_id="compose-replace",
            min_width=140,
        )
    return name, rank, words, replace


def _show_mix(shared: Shared, note: gr.Markdown, table: gr.Dataframe, name: gr.Textbox) -> None:
    """The table follows the sliders, and the sliders the table."""

    def shown(scales: Mapping[str, float], instructions: Mapping[str, float]) -> Any:
        said_too = ", ".join(f"“{phrase}”" for phrase in instructions)
        left = f" Instructions are no part of it: {said_too}." if said_too else ""
        rows = [[edit, scale] for edit, scale in scales.items()]
        return (
            f"The mix of the tab Edit; the scales can be changed here.{left}" if rows else _NOTHING,
            gr.Dataframe(value=rows, visible=bool(rows)),
            gr.Textbox(placeholder=suggested_name(scales)),
        )

    def typed(rows: Sequence[Sequence[Any]], scales: Mapping[str, float]) -> Any:
        now = changed_scales(scales, rows)
        return gr.skip() if now == scales else now

    gr.on(
        [shared.scales.change, shared.instructions.change],
        shown,
        [shared.scales, shared.instructions],
        [note, table, name],
        show_progress="hidden",
        **PRIVATE,
    )
    table.input(typed, [table, shared.scales], shared.scales, show_progress="hidden", **PRIVATE)
