"""What the framework itself refuses is said as the SDK says it."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from pairedit_sdk.studio.app import api
from pairedit_sdk.studio.http_errors import refuse_unknown


@pytest.fixture(params=["alone", "with a page"])
def asking(request: pytest.FixtureRequest) -> TestClient:
    app, router = api(), APIRouter(prefix="/api")

    @router.post("/edit/{name}")
    async def edit(name: str) -> str:
        return name

    app.include_router(router)
    if request.param == "with a page":
        refuse_unknown(app, "/api")
        app.mount("/", FastAPI(openapi_url=None))
    return TestClient(app)


def test_an_unknown_path(asking: TestClient) -> None:
    for method in ("GET", "POST", "DELETE"):
        found = asking.request(method, "/api/none")
        assert found.status_code == 404
        assert found.json()["error"] == {
            "kind": "UsageError",
            "message": "There is no /api/none. See /api/openapi.json for what can be said.",
            "what": "There is no /api/none",
            "expected": "",
            "got": "",
            "next_step": "See /api/openapi.json for what can be said",
        }


def test_another_method(asking: TestClient) -> None:
    found = asking.get("/api/edit/hat")
    assert found.status_code == 405
    assert found.headers["allow"] == "POST"
    assert found.json()["error"]["message"] == "/api/edit/hat is not for GET. Expected POST."


def test_what_is_there_is_answered(asking: TestClient) -> None:
    assert asking.post("/api/edit/hat").json() == "hat"
    assert asking.get("/api/openapi.json").status_code == 200
    assert list(asking.get("/api/openapi.json").json()["paths"]) == ["/api/edit/{name}"]
