"""What the HTTP API hands its work to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from pairedit_sdk.studio.backend import LocalBackend
from pairedit_sdk.studio.requests import EditRequest
from pairedit_sdk.studio.service import Service
from pairedit_sdk.studio.work import Work


def test_pictures_are_not_hashed_on_the_event_loop(
    service: Service, faces: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    key = Work.key.fget

    def noted(work: Work) -> str:
        threads.append(threading.current_thread())
        return key(work)

    monkeypatch.setattr(Work, "key", property(noted))
    request = EditRequest.model_validate({"edits": [{"name": "hat"}]})
    work = Work(request, {"image": faces(1)})

    async def gone() -> bool:
        return False

    made = asyncio.run(LocalBackend(service.engine, service.queue).make(work, gone))
    assert made.media_type == "image/png"
    assert threads
    assert threading.current_thread() not in threads  # which ran the loop
