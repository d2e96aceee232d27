"""The page within the application: what of the machine's files it keeps and hands out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pairedit_sdk.edits.library import preview_path
from pairedit_sdk.studio.app import build_app
from pairedit_sdk.studio.guard import Access
from pairedit_sdk.studio.page import layout
from pairedit_sdk.studio.page.shared import shown
from pairedit_sdk.studio.service import Service

HERE = "http://127.0.0.1"
UPLOAD = "/gradio_api/upload"
FORM = {"content-type": "multipart/form-data; boundary=b"}
BOUND = 100_000


def form(size: int, count: int = 1) -> Iterator[bytes]:
    """Files in a form, sent bit by bit."""
    for number in range(count):
        name = f'filename="{number}.bin"'
        yield f'--b\r\nContent-Disposition: form-data; name="files"; {name}\r\n\r\n'.encode()
        for _ in range(size // 1000):
            yield b"x" * 1000
        yield b"\r\n"
    yield b"--b--\r\n"


def built(service: Service, access: Access | None = None) -> FastAPI:
    """The application. Gradio leaves event loops open where it finds none that runs."""

    async def build() -> FastAPI:
        return build_app(service, access)

    return asyncio.run(build())


@pytest.fixture
def page(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(layout, "CACHED", (1, 1))
    app = built(service, Access(max_bytes=BOUND))
    with TestClient(app, base_url=HERE) as client:
        yield client


def kept(service: Service) -> list[Path]:
    """Files in Gradio's folder."""
    found = (service.folder / "cache").rglob("*")
    return [path for path in found if path.is_file() and path.suffix != ".lock"]


def test_uploads_lie_with_the_library_and_go_by_themselves(
    page: TestClient, service: Service
) -> None:
    (path,) = page.post(UPLOAD, content=form(5000), headers=FORM).json()
    assert kept(service) == [Path(path)]
    until = time.monotonic() + 10
    while kept(service):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_nothing_is_left_when_the_page_ends(service: Service) -> None:
    with TestClient(built(service), base_url=HERE) as client:
        client.post(UPLOAD, content=form(5000), headers=FORM)
        assert len(kept(service)) == 1
    assert not (service.folder / "cache").exists()


@pytest.mark.parametrize(("size", "count"), [(200_000, 1), (40_000, 4)])
def test_an_upload_above_the_bound_leaves_nothing(
    page: TestClient, service: Service, size: int, count: int
) -> None:
    found = page.post(UPLOAD, content=form(size, count), headers=FORM)
    assert found.status_code == 413
    assert "More was sent than the studio takes" in found.json()["error"]["message"]
    assert page.post("/api/edit", content=form(size, count), headers=FORM).status_code == 413
    assert kept(service) == []


def test_files_of_the_library_are_not_handed_out(
    page: TestClient, service: Service, faces: Callable[..., bytes]
) -> None:
    preview = preview_path(service.library.file("hat"))
    preview.write_bytes(faces(1))
    picture = service.folder / "pictures" / service.pictures.keep(faces(2))
    for path in (service.library.file("hat"), preview, picture):
        assert page.get(f"/gradio_api/file={path}").status_code == 403
    made = service.results.save("a.png", faces(3))
    assert page.get(f"/gradio_api/file={made}").content == faces(3)
    copy = shown(preview)
    assert page.get(f"/gradio_api/file={copy}").content == faces(1)
    preview.unlink()
    assert shown(preview) is None
