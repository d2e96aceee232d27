"""``pairedit studio``: the address that it prints lets in whoever opens it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pairedit_sdk.studio import app as studio


@pytest.mark.parametrize("token", ["ab+cd/=", "a&b", "a b;c", "ключ"])
def test_the_printed_address_has_the_token(
    monkeypatch: pytest.MonkeyPatch, pairedit: Callable[..., Any], tmp_path: Path, token: str
) -> None:
    answers: list[int] = []
    result: Any = None

    def serve(app: Any, listening: Any, ready: Callable[[], None]) -> None:
        ready()
        listening.close()
        applications.append(app)

    applications: list[Any] = []
    monkeypatch.setattr(studio, "serve", serve)
    result = pairedit(
        "studio", "--port", "0", "--no-page", "--json", "--token", f" {token} ",
        "--library", tmp_path, "--base", "mini",
    )  # fmt: skip
    url = json.loads(result.output)["url"]
    client = TestClient(applications[0], base_url=url.split("?")[0], follow_redirects=False)
    answers = [client.get(url).status_code, client.get("/api/edits").status_code]
    assert answers == [303, 200]
