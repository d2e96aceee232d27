"""The studio's page, made of Gradio's components. Nothing on it comes from another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pairedit_sdk.studio.service import Service


def mount_page(app: FastAPI, service: Service, *, max_bytes: int, local: bool = False) -> FastAPI:
    """The application with the page at ``/``.

    Args:
        app: that has its own routes already, which go first.
        service: that does the page's work.
        max_bytes: of an uploaded file.
        local: whether only somebody on this machine can open it, who may name its folders.
    """
    from pairedit_sdk.studio.page.layout import mounted

    return mounted(app, service, max_bytes, local)
