from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from pairedit_sdk.cli import studio_on_ray
from pairedit_sdk.studio.engine import LoadingOptions
from pairedit_sdk.studio.guard import Access
from pairedit_sdk.studio.on_ray import Serving

Pairedit = Callable[..., Result]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Serving, dict[str, Any]]]:
    """What Ray would have served; Ctrl-C comes at once."""
    found: list[tuple[Serving, dict[str, Any]]] = []

    @contextmanager
    def serve(serving: Serving, **where: Any) -> Iterator[str]:
        found.append((serving, where))
        yield "http://127.0.0.1:7000/"

    class Waiting:
        def wait(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(studio_on_ray, "serve_on_ray", serve)
    monkeypatch.setattr(studio_on_ray.threading, "Event", Waiting)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return found


def test_replicas_serve_the_api_on_this_machine(
    pairedit: Pairedit, library: Path, asked: list[tuple[Serving, dict[str, Any]]]
) -> None:
    result = pairedit("studio", "--replicas", "3", "--base", "mini", "--waiting", "5", "--port", 0)
    assert result.exit_code == 0
    assert "The HTTP API is at http://127.0.0.1:7000/api\n" in result.stdout
    ((serving, where),) = asked
    assert (serving.library, serving.replicas, serving.waiting) == (library, 3, 5)
    assert serving.loading == LoadingOptions("mini")
    assert serving.access == Access()
    assert where == {"host": "127.0.0.1", "port": 0, "address": "local"}


def test_a_cluster_is_named_and_others_need_a_token(
    pairedit: Pairedit, asked: list[tuple[Serving, dict[str, Any]]], library: Path
) -> None:
    result = pairedit(
        "studio", "--replicas", "1", "--host", "0.0.0.0", "--address", "auto", "--json"
    )
    ((serving, where),) = asked
    token = serving.access.token
    assert token
    assert json.loads(result.stdout) == {
        "url": f"http://127.0.0.1:7000/?token={token}", "library": str(library), "replicas": 1,
    }  # fmt: skip
    assert where == {"host": "0.0.0.0", "port": 7860, "address": "auto"}


def test_a_cluster_is_for_replicas(pairedit: Pairedit) -> None:
    result = pairedit("studio", "--address", "auto")
    assert result.exit_code == 2
    assert "--address needs --replicas" in result.output
