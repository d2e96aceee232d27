"""The part of the library tab where edits are renamed, deleted and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.studio.page.shared import PRIVATE, said
from pairedit_sdk.studio.shelf import Shelf

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared


@dataclass(frozen=True)
class Undo:
    """The button that puts the edit back which was deleted last.

    Attributes:
        shelf: what it acts on.
        button: itself.
        key: state with what it would put back.
    """

    shelf: Shelf
    button: gr.Button
    key: gr.State

    def now(self) -> list[Any]:
        """The button and the state as the trash now is."""
        there = self.shelf.deleted()
        if not there:
            return [gr.update(visible=False), ""]
        said_name = f"Undo: put {there[0].name} back"
        return [gr.update(value=said_name, visible=True), there[0].key]


def build_undo(shared: Shared) -> Undo:
    """The button, for below the grid."""
    service = shared.service
    shelf = Shelf(service.library, service.folder / "trash")
    undo = Undo(
        shelf, gr.Button("Undo", visible=False, size="sm", elem_id="library-undo"), gr.State("")
    )

    def put_back(key: str) -> list[Any]:
        reason = shelf.put_back(key)
        if reason:
            gr.Warning(f"The edit is back, but not in the basis: {reason}")
        return [*undo.now(), service.library.names()]

    parts = [undo.button, undo.key]
    undo.button.click(said(put_back), undo.key, [*parts, shared.names], **PRIVATE)
    # Also after a deletion on another page, and when the page is loaded.
    shared.names.change(undo.now, None, parts, queue=False, show_progress="hidden", **PRIVATE)
    return undo


def build(shared: Shared, chosen: gr.State, undo: Undo) -> None:
    """New name and deletion of the chosen edit."""
    library = shared.service.library
    with gr.Row(elem_classes="pe-end"):
        name = gr.Textbox(
            label="New name", max_lines=1, scale=3, min_width=120, elem_id="library-name"
        )
        rename = gr.Button("Rename", scale=1, min_width=90, elem_id="library-rename")
        delete = gr.Button(
            "Delete", scale=1, min_width=90, variant="stop", elem_id="library-delete"
        )

    def renamed(old: str, new: str, scales: dict[str, float]) -> list[Any]:
        new = new.strip()
        undo.shelf.rename(old, new)
        kept = {new if one == old else one: scale for one, scale in scales.items()}
        return [new, "", kept, library.names()]

    def deleted(old: str, scales: dict[str, float]) -> list[Any]:
        undo.shelf.delete(old)
        kept = {one: scale for one, scale in scales.items() if one != old}
        return [*undo.now(), "", kept, library.names()]

    inputs, outputs = [chosen, name, shared.scales], [chosen, name, shared.scales, shared.names]
    gr.on([rename.click, name.submit], said(renamed), inputs, outputs, **PRIVATE)
    parts = [undo.button, undo.key, chosen, shared.scales, shared.names]
    delete.click(said(deleted), [chosen, shared.scales], parts, **PRIVATE)
