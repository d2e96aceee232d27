"""Errors as HTTP has them: a status, and the SDK's own sentences as JSON."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from pairedit_sdk.errors import PairEditError, explained
from pairedit_sdk.studio.guard import TooLargeError
from pairedit_sdk.studio.requests import unreadable
from pairedit_sdk.studio.work_queue import BusyError, LeftError, TooLateError

_DESCRIBED = "See /api/openapi.json for what can be said"
#: Of errors that are not about what was sent. 499: nobody is there to read it.
_STATUS = {BusyError: 503, TooLateError: 504, LeftError: 499, TooLargeError: 413}


def add_handlers(app: FastAPI) -> None:
    """Let every error be answered as one of the SDK's."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return answer(unreadable(error.errors(), _DESCRIBED))

    @app.exception_handler(Exception)
    async def other(_: Request, error: Exception) -> JSONResponse:
        return answer(error)

    app.exception_handler(PairEditError)(other)


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
    described = {
        "kind": type(known).__name__,
        "message": str(known),
        "what": known.what,
        "expected": known.expected,
        "got": known.got,
        "next_step": known.next_step,
    }
    headers = {"Retry-After": "2"} if status == 503 else None
    return JSONResponse({"error": described}, status, headers)
