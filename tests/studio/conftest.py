"""A library with the example edit, the model that it was learned on, and the studio's API."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event, Thread

import pytest
from fastapi.testclient import TestClient

from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.studio.app import bound_socket, build_app
from pairedit_sdk.studio.engine import Engine, LoadingOptions
from pairedit_sdk.studio.service import Service

HERE = "http://127.0.0.1"


@pytest.fixture
def faces() -> Callable[..., bytes]:
    """The file of a drawn face, by its number."""

    def file(number: int = 0, size: int = 64, kind: str = "PNG") -> bytes:
        held = BytesIO()
        face_at(number).draw(size).save(held, kind)
        return held.getvalue()

    return file


@pytest.fixture(scope="session")
def _hats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hats")
    hat = Edit.load(examples_dir() / "edits" / "hat.safetensors")
    for edit in (hat, (hat @ 0.7).merged("cap")):
        edit.save(folder / f"{edit.name}.safetensors")
    return folder


@pytest.fixture
def hats(tmp_path: Path, _hats: Path) -> Path:
    """A library that holds the example edit ``hat``, and a weaker one, ``cap``."""
    return Path(shutil.copytree(_hats, tmp_path / "hats"))


@pytest.fixture(scope="session")
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = Engine(tmp_path_factory.mktemp("none"), LoadingOptions("mini", "cpu"))
    _ = engine.model
    return engine


@pytest.fixture
def service(hats: Path, _loaded: Engine) -> Iterator[Service]:
    """All that the studio serves from; its model is loaded already."""
    made = Service(hats, LoadingOptions("mini", "cpu"), bound=8, timeout=120)
    made.engine._model = _loaded.model
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> TestClient:
    """Asks the HTTP API."""
    app = build_app(service, page=False)
    # Not entered: the application's end would close the service before the test's own.
    return TestClient(app, base_url=HERE, raise_server_exceptions=False)


@contextmanager
def served(service: Service) -> Iterator[str]:
    """The API on a real port, for clients that can be killed; its address."""
    import uvicorn

    listening = bound_socket("127.0.0.1", 0)
    ready = Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list | None = None) -> None:
            await super().startup(sockets=sockets)
            ready.set()

    app = build_app(service, page=False)
    server = Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    assert ready.wait(30)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """The API's address on a real port."""
    with served(service) as where:
        yield where
