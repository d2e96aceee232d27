"""The HTTP API: pictures and typed requests in, pictures out.

A request is a form with the pictures as files and the rest as JSON in the field ``request``. The
answer is the picture's file; how it was made is JSON in the header ``PairEdit-Result``.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from pydantic import Json

from pairedit_sdk.images.opening import opened
from pairedit_sdk.studio.backend import Backend
from pairedit_sdk.studio.requests import AnalogyRequest, EditRequest, SweepRequest
from pairedit_sdk.studio.work import CALLED, Work

RESULT = "PairEdit-Result"
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}}
}

Picture = Annotated[UploadFile, File(description="A picture.")]
Mask = Annotated[UploadFile | None, File(description="White where the edit may act.")]


def picture_routes(backend: Backend) -> APIRouter:
    """The routes under ``/api`` that make pictures.

    Args:
        backend: that makes them.
    """
    router = APIRouter(prefix="/api")

    async def made(client: Request, work: Work) -> Response:
        # Before anything waits: a file that is none, or that is too large.
        for role, data in work.pictures.items():
            await run_in_threadpool(_look_at, data, CALLED[role])
        picture = await backend.make(work, client.is_disconnected)
        facts = json.dumps(picture.facts)  # ASCII, as a header has to be
        return Response(picture.data, media_type=picture.media_type, headers={RESULT: facts})

    @router.post("/edit", responses=_PICTURE, response_class=Response)
    async def edit(
        client: Request,
        image: Picture,
        request: Annotated[Json[EditRequest], Form()],
        mask: Mask = None,
    ) -> Response:
        """Apply edits and instructions to a picture."""
        return await made(client, Work(request, await _read(image=image, mask=mask)))

    @router.post("/sweep", responses=_PICTURE, response_class=Response)
    async def sweep(
        client: Request,
        image: Picture,
        request: Annotated[Json[SweepRequest], Form()],
        mask: Mask = None,
    ) -> Response:
        """Show edits at several scales, as a strip."""
        return await made(client, Work(request, await _read(image=image, mask=mask)))

    @router.post("/analogy", responses=_PICTURE, response_class=Response)
    async def analogy(
        client: Request,
        image: Picture,
        a: Picture,
        a_prime: Picture,
        request: Annotated[Json[AnalogyRequest], Form()],
        mask: Mask = None,
    ) -> Response:
        """Make the change from a to a′ on the picture."""
        pictures = await _read(image=image, mask=mask, a=a, a_prime=a_prime)
        return await made(client, Work(request, pictures))

    @router.get("/health")
    async def health() -> dict[str, Any]:
        """Say which model answers, and how much is waiting."""
        return await backend.health()

    return router


async def _read(**files: UploadFile | None) -> dict[str, bytes]:
    return {role: await file.read() for role, file in files.items() if file is not None}


def _look_at(data: bytes, name: str) -> None:
    """Read a picture's heading.

    Raises:
        InputError: it is no picture, or is too large.
    """
    with opened(BytesIO(data), name):
        pass
