"""The tab on which pairs are chosen and checked, and an edit is learned from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from pairedit_sdk.studio.page import pairs_part, plan_part, progress_part

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared


def build(shared: Shared, run: gr.State) -> None:
    """Lay the tab out.

    Args:
        shared: what all tabs have.
        run: state with the name of the training that is shown, or "".
    """
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            pairs = pairs_part.build(shared)
            plan = plan_part.build(shared, pairs, run)
        with gr.Column(scale=6, min_width=300):
            progress_part.build(shared, run, plan.started)
