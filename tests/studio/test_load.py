"""Many clients at once, and clients that go away."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest

from pairedit_sdk.studio.requests import EditRequest, SweepRequest
from pairedit_sdk.studio.service import Service
from pairedit_sdk.studio.work import Work

Faces = Callable[..., bytes]


def works(faces: Faces, count: int) -> list[Work]:
    """Different requests: edits, sums of them, strips and drafts of different faces."""
    made = []
    for k in range(count):
        edits: list[dict[str, Any]] = [{"name": "hat", "scale": round(0.2 + 0.07 * k, 2)}]
        edits += [{"name": "cap", "scale": -0.3}] if k % 5 == 1 else []
        body = {"edits": edits, "seed": k % 3, "steps": 4, "n_avg": 1, "limit_scale": False}
        request: Any = EditRequest(**body, draft=k % 4 == 2)
        if k % 4 == 3:
            request = SweepRequest(**body, scales=[0.5, 1])
        made.append(Work(request, {"image": faces(k % 6)}))
    return made


async def send(client: httpx.AsyncClient, work: Work) -> httpx.Response:
    place = "/api/sweep" if isinstance(work.request, SweepRequest) else "/api/edit"
    return await client.post(
        place, files=dict(work.pictures), data={"request": work.request.model_dump_json()}
    )


def test_four_clients_with_25_requests_each(address: str, service: Service, faces: Faces) -> None:
    asked = works(faces, 25)
    right = [work.do(service.engine, lambda done, total: None).data for work in asked]

    async def client(number: int, count: int) -> dict[int, bytes]:
        order = [(k * 7 + number * 5) % 25 for k in range(count)]
        found: dict[int, bytes] = {}
        async with httpx.AsyncClient(base_url=address, timeout=120) as session:
            for k in order:
                answer = await send(session, asked[k])
                assert answer.status_code == 200, answer.text
                found[k] = answer.content
        return found

    async def all_clients(count: int) -> list[dict[int, bytes]]:
        return await asyncio.gather(*(client(number, count) for number in range(4)))

    for answers in asyncio.run(all_clients(25)):
        assert [answers[k] for k in range(25)] == right
    gc.collect()
    before = psutil.Process().memory_info().rss
    asyncio.run(all_clients(8))
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    assert grown < 64 * 2**20
    assert len(service.queue) == 0


def test_requests_over_the_bound_are_refused_and_the_others_answered(
    address: str, service: Service, faces: Faces
) -> None:
    (one,) = works(faces, 1)
    asked = [
        Work(one.request.model_copy(update={"seed": seed}), one.pictures) for seed in range(200)
    ]

    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as session:
            return await asyncio.gather(*(send(session, work) for work in asked))

    found = asyncio.run(all_at_once())
    codes = {answer.status_code for answer in found}
    assert codes == {200, 503}
    answered = [k for k, answer in enumerate(found) if answer.status_code == 200]
    assert len(answered) >= service.queue.bound
    for k in answered[:3]:
        assert found[k].content == asked[k].do(service.engine, lambda done, total: None).data


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_client_frees_its_place(address: str, service: Service, faces: Faces) -> None:
    """One whose work is under way, and one that waits; both connections are cut."""
    (work,) = works(faces, 1)
    host, port = address.removeprefix("http://").split(":")
    sockets = []
    for seed in range(2):
        request = work.request.model_copy(update={"seed": seed, "steps": 200, "n_max": 200})
        body = httpx.Request(
            "POST", f"{address}/api/edit", files=dict(work.pictures),
            data={"request": request.model_dump_json()},
        )  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in body.headers.items())
        link = socket.create_connection((host, int(port)))
        link.sendall(f"POST /api/edit HTTP/1.1\r\n{head}\r\n".encode() + body.read())
        sockets.append(link)
    until(lambda: len(service.queue) == 2)
    for link in sockets:
        link.close()
    until(lambda: len(service.queue) == 0)
    assert httpx.get(f"{address}/api/health").json()["waiting"] == 0


def test_a_result_can_be_read_by_any_client(address: str, faces: Faces) -> None:
    answer = httpx.post(
        f"{address}/api/edit",
        files={"image": faces(1)},
        data={"request": json.dumps({"edits": [{"name": "hat"}]})},
        timeout=60,
    )
    assert answer.content.startswith(b"\x89PNG")
    assert json.loads(answer.headers["pairedit-result"])["edits"][0]["name"] == "hat"


@pytest.mark.parametrize("place", ["/", "/docs", "/redoc", "/gradio_api/info"])
def test_there_is_no_page_without_the_page(address: str, place: str) -> None:
    assert httpx.get(address + place).status_code == 404
