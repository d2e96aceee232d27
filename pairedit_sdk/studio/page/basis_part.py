"""The edits that analogies choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.studio import basis_work
from pairedit_sdk.studio.page.charts import basis_html
from pairedit_sdk.studio.page.shared import PRIVATE, said

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

_HINT = "Give the pairs that it was learned from: pictures before and after."


def build(shared: Shared) -> None:
    """Lay the part out."""
    gr.Markdown("### Basis")
    table = gr.HTML(basis_html(basis_work.basis_shown(shared.service)), elem_id="basis-table")
    placed = gr.Dropdown([], value=None, label="An edit of the basis", elem_id="basis-placed")
    with gr.Row():
        alike = gr.Button("Neighbours", size="sm", min_width=120, elem_id="basis-neighbours")
        remove = gr.Button("Remove", size="sm", min_width=120, elem_id="basis-remove")
    status = gr.Markdown(elem_id="basis-status")
    with gr.Accordion("Place an edit", open=True):
        name = gr.Dropdown(
            [], value=None, label="Edit that is not in the basis", elem_id="basis-place-name"
        )
        hint = gr.Markdown(_HINT, elem_id="basis-hint")
        before, after = _files()
        place = gr.Button("Place in the basis", variant="primary", elem_id="basis-place")
    shown = [table, placed, name]

    def look(chosen: str | None, wanted: str | None) -> Any:
        basis = basis_work.basis_shown(shared.service)
        # A value is sent only where it must change: somebody may be choosing another meanwhile.
        return (basis_html(basis), _choices(basis.names, chosen), _choices(basis.others, wanted))

    def put(edit: str | None, befores: list[str] | None, afters: list[str] | None) -> Any:
        done = basis_work.place(shared.service, edit, befores or [], afters or [])
        drawn, _, others = look(None, edit)
        names = basis_work.basis_shown(shared.service).names
        return done, None, None, drawn, gr.Dropdown(choices=names, value=edit), others

    def take_out(edit: str | None) -> Any:
        return basis_work.remove(shared.service, edit), *look(edit, None)

    def compare(edit: str | None) -> str:
        return basis_work.neighbours(shared.service, edit)

    def hinted(edit: str | None) -> str:
        kept = basis_work.kept_pairs(shared.service, edit)
        if kept is None:
            return _HINT
        return "The studio has the pairs that it was trained from; nothing need be uploaded."

    place.click(said(put), [name, before, after], [status, before, after, *shown], **PRIVATE)
    remove.click(said(take_out), placed, [status, *shown], **PRIVATE)
    alike.click(said(compare), placed, status, show_progress="hidden", **PRIVATE)
    name.change(said(hinted), name, hint, show_progress="hidden", **PRIVATE)
    # Trainings and shells place edits too.
    gr.on(
        [shared.names.change, shared.tabs.select],
        said(look),
        [placed, name],
        shown,
        show_progress="hidden",
        **PRIVATE,
    )


def _files() -> tuple[gr.File, gr.File]:
    """Pictures before and after."""
    with gr.Row():
        before, after = (
            gr.File(
                label=side,
                file_count="multiple",
                file_types=["image"],
                height=110,
                min_width=140,
                elem_id=f"basis-{side.lower()}",
            )
            for side in ("Before", "After")
        )
    return before, after


def _choices(names: Sequence[str], value: str | None) -> Any:
    """What can be chosen; a choice that is gone is taken back."""
    if value is None or value in names:
        return gr.Dropdown(choices=list(names))
    return gr.Dropdown(choices=list(names), value=None)
