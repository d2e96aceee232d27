"""The HTTP API: the same pictures and the same sentences as on the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

import pairedit_sdk as pe
from pairedit_sdk.cli.app import app as command
from pairedit_sdk.studio.service import Service
from tests.cli import test_bad_files as bad

Faces = Callable[..., bytes]


def asked(**request: Any) -> dict[str, str]:
    return {"request": json.dumps(request)}


def hat(scale: float = 1.0, **more: Any) -> dict[str, str]:
    return asked(edits=[{"name": "hat", "scale": scale}], **more)


def on_command_line(*words: str | Path) -> None:
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_an_edited_picture_is_the_command_lines_bit_for_bit(
    client: TestClient, hats: Path, faces: Faces, tmp_path: Path
) -> None:
    (tmp_path / "b.png").write_bytes(faces(2))
    found = client.post(
        "/api/edit",
        files={"image": faces(2)},
        data=asked(edits=[{"name": "hat", "scale": 0.8}, {"name": "cap", "scale": -0.5}], seed=3),
    )
    on_command_line(
        "edit", tmp_path / "b.png", "--edit", "hat=0.8", "--edit", "cap=-0.5", "--seed", 3,
        "--library", hats, "-o", tmp_path / "o.png", "--base", "mini",
    )  # fmt: skip
    assert found.status_code == 200
    assert found.headers["content-type"] == "image/png"
    assert found.content == (tmp_path / "o.png").read_bytes()
    facts = json.loads(found.headers["pairedit-result"])
    assert facts["edits"] == [{"name": "hat", "scale": 0.8}, {"name": "cap", "scale": -0.5}]
    assert facts["seed"] == 3
    with Image.open(BytesIO(found.content)) as image:
        assert image.size == (64, 64)
    assert pe.read_made(tmp_path / "o.png") == {
        k: v for k, v in facts.items() if k not in ("width", "height")
    }


def test_a_strip_is_the_command_lines_bit_for_bit(
    client: TestClient, hats: Path, faces: Faces, tmp_path: Path
) -> None:
    (tmp_path / "b.png").write_bytes(faces(2))
    found = client.post("/api/sweep", files={"image": faces(2)}, data=hat(scales=[0, 0.5]))
    on_command_line(
        "sweep", tmp_path / "b.png", "--edit", "hat", "--scales", "0,.5", "--library", hats,
        "-o", tmp_path / "s.png", "--base", "mini",
    )  # fmt: skip
    with Image.open(BytesIO(found.content)) as one, Image.open(tmp_path / "s.png") as other:
        assert one.tobytes() == other.tobytes()
    assert json.loads(found.headers["pairedit-result"])["scales"] == [0, 0.5]


def test_a_mask_says_where(client: TestClient, faces: Faces) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 64, 20))
    held = BytesIO()
    mask.save(held, "PNG")
    found = client.post("/api/edit", files={"image": faces(1), "mask": held.getvalue()}, data=hat())
    with Image.open(BytesIO(found.content)) as after, Image.open(BytesIO(faces(1))) as before:
        below = (0, 20, 64, 64)
        assert after.crop(below).tobytes() == before.convert("RGB").crop(below).tobytes()
        assert after.tobytes() != before.convert("RGB").tobytes()


def test_a_draft_is_small_and_says_so(client: TestClient, faces: Faces) -> None:
    found = client.post("/api/edit", files={"image": faces(1, 700)}, data=hat(draft=True))
    with Image.open(BytesIO(found.content)) as image:
        assert image.size == (512, 512)
    assert json.loads(found.headers["pairedit-result"])["draft"] is True


def test_the_second_picture_loads_nothing_again(
    client: TestClient, service: Service, faces: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/api/edit", files={"image": faces(1)}, data=hat())

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr("pairedit_sdk.models.loading.load_model", refuse)
    monkeypatch.setattr("pairedit_sdk.edits.edit.read_lora", refuse)
    found = client.post("/api/edit", files={"image": faces(2)}, data=hat(0.5))
    assert found.status_code == 200


def test_an_edit_that_is_replaced_is_read_anew(
    client: TestClient, service: Service, faces: Faces
) -> None:
    before = client.post("/api/edit", files={"image": faces(1)}, data=hat()).content
    edit = service.engine.edit_named("hat")
    service.library.save((edit @ 0.25).merged("hat"), replace=True)
    after = client.post("/api/edit", files={"image": faces(1)}, data=hat()).content
    assert after != before


def test_formats_and_metadata(client: TestClient, faces: Faces) -> None:
    found = client.post(
        "/api/edit", files={"image": faces(1)}, data=hat(format="jpeg", metadata=False)
    )
    assert found.headers["content-type"] == "image/jpeg"
    with Image.open(BytesIO(found.content)) as image:
        assert image.format == "JPEG"
        assert not image.info.get("xmp")


def test_health_says_what_answers(client: TestClient) -> None:
    assert client.get("/api/health").json() == {"model": "mini", "loaded": True, "waiting": 0}


def test_the_requests_are_described(client: TestClient) -> None:
    found = client.get("/api/openapi.json").json()
    assert {"/api/edit", "/api/sweep", "/api/analogy"} <= set(found["paths"])
    assert found["components"]["schemas"]["ScaledEdit"]["properties"]["scale"]["maximum"] == 10


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"edits": [{"name": "../hat"}]}, "'../hat' cannot be the name of an edit. Expected"),
        ({"edits": [{"name": "/etc/passwd"}]}, "'/etc/passwd' cannot be the name of an edit."),
        ({"edits": [{"name": "hta"}]}, "There is no edit 'hta' in the library"),
        ({}, "Nothing says what to change. Expected an edit or an instruction."),
        ({"edits": [{"name": "hat", "scale": 1e9}]}, "edits.0.scale: Input should be less than"),
        ({"edits": [{"name": "hat", "size": 1}]}, "edits.0.size: Extra inputs are not permitted"),
        ({"edits": [{"name": "hat"}] * 33}, "edits: List should have at most 32 items"),
        ({"edits": [{"name": "hat"}], "steps": 10**9}, "steps: Input should be less than"),
        ({"edits": [{"name": "hat"}], "steps": 4, "n_max": 5}, "n_max"),
        ({"edits": [{"name": "hat"}], "region": [0, 0, 999, 999]}, "region"),
        ({"instructions": [{"phrase": "add a hat"}]}, "instruction"),
        ({"edits": [{"name": "hat"}], "method": "from-noise"}, "from-noise"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    client: TestClient, service: Service, faces: Faces, request_: dict[str, Any], said: str
) -> None:
    found = client.post("/api/edit", files={"image": faces(0)}, data=asked(**request_))
    assert found.status_code == 422
    assert said in found.json()["error"]["message"]
    assert "Traceback" not in found.text
    assert client.post("/api/edit", files={"image": faces(0)}, data=hat()).status_code == 200


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"edits": NaN}'])
def test_a_request_that_is_no_json_is_said(client: TestClient, faces: Faces, text: str) -> None:
    found = client.post("/api/edit", files={"image": faces(0)}, data={"request": text})
    assert found.status_code == 422
    assert "The request cannot be used: request" in found.json()["error"]["message"]


def test_missing_parts_are_named(client: TestClient) -> None:
    found = client.post("/api/analogy", data=asked())
    message = found.json()["error"]["message"]
    assert all(f"{part}: Field required" in message for part in ("image", "a", "a_prime"))


def before_of(root: Path) -> Path:
    return next((root / "p" / "source").iterdir())


def other(path: str, build: Callable[[Path], object]) -> Callable[[Path], Path]:
    def built(root: Path) -> Path:
        build(root)
        return root / path

    return built


def picture(build: Callable[[Path], object]) -> Callable[[Path], Path]:
    def built(root: Path) -> Path:
        build(root)
        return before_of(root)

    return built


#: The pictures of tests/cli/test_bad_files.py that are bytes, and what is said of them.
BAD_PICTURES: list[tuple[Callable[[Path], Path], str]] = [
    (picture(bad.truncated), "The picture is damaged or cut short"),
    (picture(bad.bomb), "The picture is too large. Expected at most 100 megapixels. Got 400"),
    (picture(bad.animated), "The picture holds more than one picture"),
    (picture(lambda root: bad.before_is(root, "1.png", b"no picture")),
     "The picture is not a picture that can be read. Expected a PNG, JPEG"),
    (picture(lambda root: bad.before_is(root, "1.png")),
     "The picture is empty. Expected a picture. Got 0 bytes."),
    (other("a.png", bad.postscript), "The picture is not a picture that can be read."),
    (other("e.safetensors", bad.lying), "The picture is not a picture that can be read."),
    (other("e.pt", bad.pickled("e.pt")), "The picture is not a picture that can be read."),
]  # fmt: skip


@pytest.mark.parametrize(("build", "said"), BAD_PICTURES)
@pytest.mark.parametrize("role", ["image", "mask"])
def test_a_picture_that_cannot_be_used_is_refused(
    client: TestClient,
    service: Service,
    faces: Faces,
    tmp_path: Path,
    build: Callable[[Path], Path],
    said: str,
    role: str,
) -> None:
    data = build(tmp_path).read_bytes()
    there = sorted(path.name for path in service.library.folder.rglob("*"))
    found = client.post(
        "/api/edit", files={"image": faces(0)} | {role: ("../../x.png", data)}, data=hat()
    )
    assert found.status_code == 422
    called = "The mask" if role == "mask" else "The picture"
    assert said.replace("The picture", called, 1) in found.json()["error"]["message"]
    assert not (tmp_path / "executed").exists()
    assert sorted(path.name for path in service.library.folder.rglob("*")) == there


def test_an_analogy_of_an_empty_basis_is_refused(client: TestClient, faces: Faces) -> None:
    files = {"image": faces(0), "a": faces(1), "a_prime": faces(2)}
    found = client.post("/api/analogy", files=files, data=asked())
    assert found.status_code == 422
    assert "basis" in found.json()["error"]["message"]


def test_an_analogy_finds_the_placed_edit(
    client: TestClient, service: Service, faces: Faces, face_pairs: Callable[..., pe.PairSet]
) -> None:
    pairs = face_pairs({"hat": "beanie"}, 2)
    service.library.remove("cap")
    basis = pe.EditBasis(service.library)
    basis.place(service.engine.edit_named("hat"), pairs, replacing=True)
    sides = {}
    for role, image in (("a", pairs[0].before), ("a_prime", pairs[0].after)):
        held = BytesIO()
        image.save(held, "PNG")
        sides[role] = held.getvalue()
    found = client.post("/api/analogy", files={"image": faces(1), **sides}, data=asked(scale=0.5))
    assert found.status_code == 200, found.text
    facts = json.loads(found.headers["pairedit-result"])
    assert facts["known"] is True
    assert facts["edits"] == [{"name": "hat", "scale": pytest.approx(0.5)}]
    backwards = {"image": faces(1), "a": sides["a_prime"], "a_prime": sides["a"]}
    nothing = client.post("/api/analogy", files=backwards, data=asked())
    assert nothing.status_code == 422
    assert "This analogy is hat backwards" in nothing.json()["error"]["message"]


def test_a_full_queue_is_unavailable_for_a_while(
    client: TestClient, service: Service, faces: Faces
) -> None:
    begun, opened = threading.Event(), threading.Event()
    service.queue.submit(lambda hook: (begun.set(), opened.wait(60)))
    assert begun.wait(10)
    waiting = [service.queue.submit(lambda hook: None) for _ in range(service.queue.bound)]
    found = client.post("/api/edit", files={"image": faces(0)}, data=hat())
    assert found.status_code == 503
    assert found.headers["retry-after"] == "2"
    assert "The queue is full" in found.json()["error"]["message"]
    opened.set()
    for ticket in waiting:
        ticket.result()
    assert client.post("/api/edit", files={"image": faces(0)}, data=hat()).status_code == 200


def test_an_error_that_nobody_foresaw_is_a_bug_and_the_model_stays_as_it_was(
    client: TestClient, service: Service, faces: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairedit_sdk.lora.adapters import is_bare

    right = client.post("/api/edit", files={"image": faces(0)}, data=hat()).content
    with monkeypatch.context() as patch:
        patch.setattr(type(service.engine.model), "decode", lambda *_: 1 / 0)
        found = client.post("/api/edit", files={"image": faces(0)}, data=hat())
    assert found.status_code == 500
    assert "This is a bug in pairedit" in found.json()["error"]["message"]
    assert is_bare(service.engine.model.transformer)
    assert client.post("/api/edit", files={"image": faces(0)}, data=hat()).content == right
