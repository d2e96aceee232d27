"""Errors as HTTP has them: a status, and the SDK's own sentences as JSON."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from pairedit_sdk.errors import PairEditError, UsageError, explained
from pairedit_sdk.studio.requests import unreadable
from pairedit_sdk.studio.work_queue import BusyError, LeftError, TooLateError

_DESCRIBED = "See /api/openapi.json for what can be said"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: Of errors that are not about what was sent. 499: nobody is there to read it.
_STATUS = {BusyError: 503, TooLateError: 504, LeftError: 499}


def add_handlers(app: FastAPI) -> None:
    """Let every error be answered as one of the SDK's."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return answer(unreadable(error.errors(), _DESCRIBED))

    @app.exception_handler(Exception)
    async def other(_: Request, error: Exception) -> JSONResponse:
        return answer(error)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        found = _refusal(request, error)
        return JSONResponse({"error": described(found)}, error.status_code, error.headers)

    app.exception_handler(PairEditError)(other)


def refuse_unknown(app: FastAPI, prefix: str) -> None:
    """Answer for paths under the prefix that are none of the application's routes so far.

    It is for an application that gets a page at its root, which would answer for them itself.

    Args:
        app: with all its routes under the prefix.
        prefix: such as "/api".
    """
    known = list(app.router.routes)

    async def unknown(request: Request) -> Response:
        scope = request.scope
        methods = [
            method
            for method in _METHODS
            if any(r.matches({**scope, "method": method})[0] is Match.FULL for r in known)
        ]
        if methods:
            raise HTTPException(405, headers={"Allow": ", ".join(methods)})
        raise HTTPException(404)

    app.router.add_route(f"{prefix}/{{rest:path}}", unknown, _METHODS, include_in_schema=False)


def _refusal(request: Request, error: HTTPException) -> PairEditError:
    """What the framework says, as a sentence."""
    path, allowed = request.url.path, (error.headers or {}).get("Allow", "")
    if error.status_code == 404:
        return UsageError(f"There is no {path}", next_step=_DESCRIBED)
    if error.status_code == 405:
        return UsageError(f"{path} is not for {request.method}", expected=allowed)
    return UsageError(str(error.detail), next_step=_DESCRIBED)


def status_of(error: PairEditError) -> int:
    """The HTTP status: 422 for what the request's sender can put right, else 500."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return status
    return 422 if error.exit_code == 2 else 500


def answer(error: Exception) -> JSONResponse:
    """The error as JSON."""
    known = explained(error, bug="Report it with the server's own output.")
    status = status_of(known)
    headers = {"Retry-After": "2"} if status == 503 else None
    return JSONResponse({"error": described(known)}, status, headers)


def described(error: PairEditError) -> dict[str, str]:
    """The error's parts, as JSON has them."""
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "what": error.what,
        "expected": error.expected,
        "got": error.got,
        "next_step": error.next_step,
    }
