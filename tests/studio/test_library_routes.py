"""The library by HTTP: edits, sums, and trainings as jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from fastapi.testclient import TestClient

import pairedit_sdk as pe
from pairedit_sdk.studio.service import Service


def file(image: Any) -> bytes:
    held = BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


@pytest.fixture
def pair(face_pairs: Callable[..., pe.PairSet]) -> list[tuple[str, tuple[str, bytes]]]:
    (one,) = face_pairs({"hat": "beanie"}, 1)
    return [("before", ("x.png", file(one.before))), ("after", ("../y.png", file(one.after)))]


def asked(name: str, **more: Any) -> dict[str, str]:
    settings = ["steps=6", "batch=1", "checkpointing.every=2"]
    return {
        "request": json.dumps({"name": name, "settings": settings, "find_words": False, **more})
    }


def test_edits_are_listed(client: TestClient) -> None:
    found = client.get("/api/edits").json()
    assert [(edit["name"], edit["base"]) for edit in found] == [("cap", "mini"), ("hat", "mini")]


def test_a_sum_is_saved_as_an_edit(client: TestClient, service: Service) -> None:
    body = {"name": "both", "edits": [{"name": "hat"}, {"name": "cap", "scale": -0.5}]}
    found = client.post("/api/compose", json=body)
    assert found.status_code == 200, found.text
    saved = service.library.load("both")
    assert [(part[0], part[1]) for part in saved.info.parts] == [("hat", 1.0), ("cap", -0.5)]
    again = client.post("/api/compose", json=body)
    assert again.status_code == 422
    assert "There is an edit both already" in again.json()["error"]["message"]
    assert client.post("/api/compose", json={**body, "replace": True}).status_code == 200


@pytest.mark.parametrize("name", ["../x", "CON", "", "a b", "x" * 65])
def test_no_name_leads_out_of_the_library(client: TestClient, pair: Any, name: str) -> None:
    body = {"name": name, "edits": [{"name": "hat"}]}
    assert client.post("/api/compose", json=body).status_code == 422
    assert client.post("/api/train", files=pair, data=asked(name)).status_code == 422


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"settings": ["words.vocabulary=/etc/passwd"]}, "The setting words.vocabulary is not"),
        ({"settings": ["words={vocabulary: /etc/passwd}"]}, "The setting words is not taken"),
        ({"words": "/etc/passwd"}, "words: Input should be a valid list"),
        ({"settings": ["track=wandb"]}, "The setting track is not taken from a request"),
        ({"settings": ["base=/tmp"]}, "The setting base is not taken"),
        ({"settings": ["stpes=3"]}, "Did you mean steps"),
        ({"recipe": "../../x"}, "recipe: String should match pattern"),
        ({"recipe": "none-such"}, "There is no recipe 'none-such'"),
        ({"name": "hat"}, "There is an edit hat already"),
    ],
)
def test_a_training_that_cannot_be_is_refused_at_once(
    client: TestClient, service: Service, pair: Any, more: dict[str, Any], said: str
) -> None:
    found = client.post("/api/train", files=pair, data=asked(**{"name": "x", **more}))
    assert found.status_code == 422
    assert said in found.json()["error"]["message"]
    assert service.trainings.current is None


def test_pictures_that_are_no_pairs_are_refused(client: TestClient, pair: Any) -> None:
    found = client.post("/api/train", files=[*pair, pair[0]], data=asked("x"))
    assert "Got 2 before and 1 after" in found.json()["error"]["message"]
    junk = [pair[0], ("after", ("y.png", b"junk"))]
    found = client.post("/api/train", files=junk, data=asked("x"))
    assert found.status_code == 422
    assert "not a picture that can be read" in found.json()["error"]["message"]


def test_a_training_is_a_job_that_can_be_watched(
    client: TestClient, service: Service, pair: Any
) -> None:
    found = client.post("/api/train", files=pair, data=asked("warm"))
    assert found.status_code == 202, found.text
    other = client.post("/api/train", files=pair, data=asked("other"))
    assert "The training warm is under way" in other.json()["error"]["message"]
    end = time.monotonic() + 120
    while (status := client.get("/api/train/warm").json())["state"] in ("starting", "running"):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert (status["state"], status["step"], status["steps"]) == ("done", 6, 6), status
    assert "warm" in service.library
    assert [one["name"] for one in client.get("/api/train").json()] == ["warm"]
    stopped = client.post("/api/train/warm/stop").json()
    assert stopped["state"] == "done"
    again = client.post("/api/train/warm/resume")
    assert "The training warm is done" in again.json()["error"]["message"]


def test_a_refused_training_leaves_the_kept_pairs(
    client: TestClient, service: Service, pair: Any, faces: Callable[..., bytes]
) -> None:
    kept = service.trainings.keep_pairs("hat", [(faces(1), faces(2))])
    before = {path: path.read_bytes() for path in kept.rglob("*.png")}
    for more in ({}, {"replace": True, "settings": ["stpes=3"]}):
        assert client.post("/api/train", files=pair, data=asked("hat", **more)).status_code == 422
    assert {path: path.read_bytes() for path in kept.rglob("*.png")} == before


def test_a_training_that_is_not_there_is_named(client: TestClient) -> None:
    found = client.get("/api/train/nothing")
    assert found.status_code == 422
    assert "nothing" in found.json()["error"]["message"]
