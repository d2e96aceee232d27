"""The page as a whole: its tabs, its look, and what all tabs share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pairedit_sdk.studio.service import Service


def mounted(app: FastAPI, service: Service, max_bytes: int) -> FastAPI:
    """See :func:`pairedit_sdk.studio.page.mount_page`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read as gradio is imported
    import gradio as gr

    with gr.Blocks(title="PairEdit studio", analytics_enabled=False) as page:
        gr.Markdown("# PairEdit studio")
    page.queue(max_size=64, default_concurrency_limit=8)
    mount: FastAPI = gr.mount_gradio_app(
        app, page, path="/", max_file_size=max_bytes, footer_links=[], show_error=True
    )
    return mount
