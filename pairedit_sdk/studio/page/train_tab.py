"""To be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared


def build(shared: Shared, run: gr.State) -> None:
    gr.Markdown("…")
