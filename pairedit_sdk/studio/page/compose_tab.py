"""The tab on which edits are combined and analogies are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from pairedit_sdk.studio.page import analogy_part, basis_part, compose_part

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared


def build(shared: Shared) -> None:
    """Lay the tab out."""
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            compose_part.build(shared)
        with gr.Column(scale=1, min_width=320):
            basis_part.build(shared)
    analogy_part.build(shared)
