"""The tab with the library: what each edit is, and what can be done with it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.errors import PairEditError
from pairedit_sdk.sharing.edit_card import card
from pairedit_sdk.studio.page import exchange_part, shelf_part
from pairedit_sdk.studio.page.shared import PRIVATE, said
from pairedit_sdk.studio.placeholder import placeholder

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

#: Rows of an edit's card that say where its file lies, which a page does not.
_LEFT_OUT = ("name", "path", "preview")
_NONE = '<p class="pe-note">Choose an edit to see what it is.</p>'
_EMPTY = (
    '<p class="pe-note">There are no edits yet. Train one on the tab Pairs and training, or import '
    "one below.</p>"
)


def build(shared: Shared) -> None:
    """Lay the tab out."""
    chosen, order = gr.State(""), gr.State([])
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=300):
            grid = gr.Gallery(
                label="Edits",
                show_label=False,
                columns=4,
                object_fit="cover",
                height="auto",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="library-grid",
                elem_classes="pe-grid",
            )
            empty = gr.HTML("", elem_id="library-empty", padding=False)
            undo = shelf_part.build_undo(shared, chosen)
        with gr.Column(scale=5, min_width=300):
            title = gr.HTML(_NONE, elem_id="library-title", padding=False)
            with gr.Column(visible=False, elem_id="library-actions") as actions:
                picture = gr.Image(
                    label="What it does",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="library-preview",
                    elem_classes="pe-labelled",
                )
                use = gr.Button("Use in Edit", variant="primary", elem_id="library-use")
                shelf_part.build(shared, chosen, undo)
                exchange_part.build_export(shared, chosen)
            about = gr.HTML("", elem_id="library-about", elem_classes="pe-card", padding=False)
            exchange_part.build(shared, chosen)
    _keep_grid(shared, chosen, order, [grid, empty])
    chosen.change(
        said(lambda name: _about(shared, name)),
        chosen,
        [title, about, actions, picture],
        show_progress="hidden",
        **PRIVATE,
    )
    use.click(
        said(lambda name, scales: _used(shared, name, scales)),
        [chosen, shared.scales],
        [shared.scales, shared.tabs, shared.tab],
        show_progress="hidden",
        **PRIVATE,
    )


def _keep_grid(shared: Shared, chosen: gr.State, order: gr.State, shown: list[Any]) -> None:
    """Show the edits that there are. One is always chosen, the next in the place of one that is
    gone: the gallery marks it in any case, and tells nothing of a click on what is marked."""

    def drawn(names: list[str], name: str, before: list[str]) -> list[Any]:
        pictures = [(shared.preview(one) or placeholder(one), one) for one in names]
        kept = name if name in names else ""
        if names and not kept:
            kept = names[min(before.index(name), len(names) - 1) if name in before else 0]
        at = names.index(kept) if kept else None
        return [
            gr.update(value=pictures, selected_index=at, visible=bool(names)),
            "" if names else _EMPTY,
            names,
            kept,
        ]

    def select(names: list[str], event: gr.SelectData) -> str:
        at = event.index if isinstance(event.index, int) else -1
        return names[at] if 0 <= at < len(names) else ""

    gr.on(
        [shared.names.change, shared.stamp.change],
        drawn,
        [shared.names, chosen, order],
        [*shown, order, chosen],
        show_progress="hidden",
        **PRIVATE,
    )
    # The order that the grid was drawn in: the library may have changed since.
    shown[0].select(select, order, chosen, show_progress="hidden", **PRIVATE)


def _about(shared: Shared, name: str) -> list[Any]:
    """What is known about an edit, and its picture."""
    if not name:
        return [_NONE, "", gr.update(visible=False), None]
    path, title = shared.service.library.file(name), f"<h3>{html.escape(name)}</h3>"
    try:
        groups = card(path, shared.service.engine.info(name))
    except PairEditError as error:
        why = f'<p class="pe-bad">{html.escape(str(error))}</p>'
        return [title, why, gr.update(visible=path.is_file()), gr.update(visible=False)]
    text = ""
    for heading, rows in groups:
        cells = "".join(
            f"<tr><td>{html.escape(label)}</td><td>{html.escape(value)}</td></tr>"
            for label, value in rows
            if label not in _LEFT_OUT
        )
        text += f"<h4>{html.escape(heading)}</h4><table>{cells}</table>" if cells else ""
    preview = shared.preview(name)
    shown = gr.update(value=preview, visible=preview is not None)
    return [title, text, gr.update(visible=True), shown]


def _used(shared: Shared, name: str, scales: dict[str, float]) -> list[Any]:
    """Choose an edit on the tab Edit, at scale 1 unless it has one there already."""
    shared.service.engine.info(name)  # raises where it cannot be read
    return [{**scales, name: scales.get(name, 1.0)}, gr.Tabs(selected="edit"), "edit"]
