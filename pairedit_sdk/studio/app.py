"""The studio as a web application, and the server that runs it."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from pairedit_sdk import __version__
from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio.backend import LocalBackend
from pairedit_sdk.studio.guard import Access, Guard
from pairedit_sdk.studio.http_errors import add_handlers, refuse_unknown
from pairedit_sdk.studio.library_routes import library_routes
from pairedit_sdk.studio.routes import picture_routes

if TYPE_CHECKING:
    from pairedit_sdk.studio.service import Service

#: Seconds that requests have to end when the server does.
ENDING = 5


def api(title: str = "PairEdit studio", lifespan: Any = None) -> FastAPI:
    """An application without routes: errors are the SDK's, and nothing is loaded from elsewhere."""
    # FastAPI's pages of documentation take their scripts from a network.
    app = FastAPI(
        title=title,
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    add_handlers(app)
    return app


def build_app(service: Service, access: Access | None = None, *, page: bool = True) -> FastAPI:
    """The studio's application.

    Args:
        service: that does the work; it is closed with the application.
        access: who may use it; ``None`` is this machine alone.
        page: whether there is the page, or the HTTP API alone.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = api(lifespan=lifespan)
    app.include_router(picture_routes(LocalBackend(service.engine, service.queue)))
    app.include_router(library_routes(service))
    access = access or Access()
    if page:
        from pairedit_sdk.studio.page import mount_page

        refuse_unknown(app, "/api")
        app = mount_page(app, service, max_bytes=access.max_bytes, local=access.is_local)
    app.add_middleware(Guard, access=access)
    return app


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket to listen on.

    Raises:
        UsageError: the port is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        said = getattr(error, "strerror", None) or error
        raise UsageError(
            f"The studio cannot listen on {host}, port {port}: {said}",
            next_step="Name another with --port; --port 0 takes a free one",
        ) from error
    return found


def serve(app: FastAPI, listening: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        app: the application.
        listening: where.
        on_ready: called when it can be asked.
    """
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            on_ready()

    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=ENDING
    )
    Server(config).run(sockets=[listening])
