"""Who is let in: this machine's own pages and programs, and those who have the secret."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive, Scope, Send

from pairedit_sdk.studio.guard import COOKIE, Access, Guard

HERE = "http://127.0.0.1:7860"


def asking(access: Access) -> TestClient:
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def echo(request: Request) -> dict[str, int]:
        return {"taken": len(await request.body())}

    app.add_middleware(Guard, access=access)
    return TestClient(app, base_url=HERE, follow_redirects=False)


@pytest.fixture
def local() -> TestClient:
    return asking(Access(max_bytes=1000))


@pytest.fixture
def secret() -> TestClient:
    return asking(Access(hosts=(), token="s3cret"))


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LOCALHOST"])
def test_this_machine_is_let_in(local: TestClient, host: str) -> None:
    found = local.get("/", headers={"host": host, "origin": f"http://{host}"})
    assert found.status_code == 200
    assert found.headers["x-frame-options"] == "SAMEORIGIN"
    assert "default-src 'self'" in found.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7860", ""]
)
def test_another_name_of_this_server_is_refused(local: TestClient, host: str) -> None:
    """A name that somebody else points here: DNS rebinding."""
    found = local.get("/", headers={"host": host})
    assert found.status_code == 403
    assert "is not known as" in found.json()["error"]["message"]


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:7860", "http://["],
)
def test_a_page_of_another_origin_is_refused(local: TestClient, origin: str) -> None:
    found = local.post("/api/edit", headers={"origin": origin}, content=b"x")
    assert found.status_code == 403
    assert origin in found.json()["error"]["message"]


def test_a_program_without_an_origin_is_let_in(local: TestClient) -> None:
    assert local.post("/api/edit", content=b"abc").json() == {"taken": 3}


def test_what_says_that_it_is_too_large_is_refused_unread(local: TestClient) -> None:
    found = local.post("/", content=b"x" * 1001)
    assert found.status_code == 413
    assert "Expected at most 0 MiB" in found.json()["error"]["message"]


def test_what_does_not_say_how_large_it_is_ends_at_the_bound(local: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    assert local.post("/", content=parts()).status_code == 413
    assert local.post("/", content=b"x" * 1000).json() == {"taken": 1000}


@pytest.mark.parametrize("begins", [False, True])
def test_an_answer_is_begun_once(begins: bool) -> None:
    """What the application has begun to answer when the bound is passed is not answered again."""
    sent: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if begins:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 11, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
    asyncio.run(Guard(application, Access(max_bytes=10))(scope, receive, send))
    starts = [m["status"] for m in sent if m["type"] == "http.response.start"]
    assert starts == [200 if begins else 413]


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/json"])
def test_a_form_whose_sender_goes_away_ends_as_a_damaged_one(kind: str) -> None:
    """On which alone its parsers delete what they have begun to write."""
    messages = iter(
        [
            {"type": "http.request", "body": b"--b\r\n", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    raised: list[type[BaseException]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            assert (await receive())["type"] == "http.disconnect"
        except MultiPartException as error:
            raised.append(type(error))

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    headers = [(b"host", b"localhost"), (b"content-type", kind.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(Guard(application, Access())(scope, receive, send))
    assert raised == ([MultiPartException] if kind.startswith("multipart") else [])


def test_without_the_token_nothing_is_answered(secret: TestClient) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"{COOKIE}=wrong"},
                    {"cookie": f"{COOKIE}=s3cret"}, {"authorization": "Bearer \xe9".encode()},
                    {"authorization": "Basic !!"}, {"cookie": "a=\"\x01"}):  # fmt: skip
        found = secret.get("/", headers=headers)
        assert found.status_code == 401
        assert "token" in found.json()["error"]["message"]


def test_the_token_lets_in_by_header_cookie_and_address(secret: TestClient) -> None:
    assert secret.get("/", headers={"authorization": "Bearer s3cret"}).status_code == 200
    found = secret.get("/?token=s3cret&edits=hat%3A1")
    assert found.status_code == 303
    assert found.headers["location"] == "/?edits=hat%3A1"
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert secret.get("/", headers={"cookie": cookie.split(";")[0]}).status_code == 200
    assert "s3cret" not in cookie
    secret.cookies.clear()
    assert secret.get("/?token=wrong").status_code == 401


def test_the_token_does_not_lead_to_another_server(secret: TestClient) -> None:
    found = secret.get(f"{HERE}//evil.example/?token=s3cret")
    assert found.headers["location"] == "/evil.example/"


def test_a_secret_does_not_let_other_pages_in(secret: TestClient) -> None:
    headers = {"authorization": "Bearer s3cret", "origin": "http://evil.example"}
    assert secret.post("/", headers=headers).status_code == 403


@pytest.mark.parametrize("token", ["ab+cd/=", "a&b", "a b;c", "ключ", "%41", '"q"', "=?#,"])
def test_a_token_may_have_any_characters(token: str) -> None:
    client = asking(Access(hosts=(), token=token))
    found = client.get(f"/?token={quote(token, safe='')}&a=1")
    assert (found.status_code, found.headers["location"]) == (303, "/?a=1")
    assert client.get("/?a=1").status_code == 200  # with the cookie
    client.cookies.clear()
    bearer = {"authorization": f"Bearer {token}".encode()}
    assert client.get("/", headers=bearer).status_code == 200
    assert client.get("/").status_code == 401


def test_the_address_behind_the_token_may_have_any_characters(secret: TestClient) -> None:
    found = secret.get("/%D0%BA%20x?token=s3cret")
    assert found.headers["location"] == "/%D0%BA%20x"


LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("how", "method", "status"),
    [
        (LINK, "GET", 200),
        (LINK, "POST", 403),
        ({"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, "GET", 403),
        ({"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, "GET", 403),
        ({}, "GET", 403),
    ],
)
def test_another_page_may_lead_here_and_load_nothing(
    local: TestClient, site: str, how: dict[str, str], method: str, status: int
) -> None:
    """Browsers say where a GET comes from in a header that scripts cannot set."""
    found = local.request(method, "/", headers={**how, "sec-fetch-site": site})
    assert found.status_code == status
    assert found.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_this_page_may_load_everything(local: TestClient, site: str) -> None:
    assert local.get("/", headers={"sec-fetch-site": site}).status_code == 200


def test_a_password_is_asked_for_as_browsers_know_it() -> None:
    client = asking(Access(hosts=(), user="ada", password="a:b"))
    found = client.get("/", headers={"authorization": "Basic \xe9".encode()})
    assert found.status_code == 401
    assert found.headers["www-authenticate"].startswith("Basic")
    right = base64.b64encode(b"ada:a:b").decode()
    wrong = base64.b64encode(b"ada:a:c").decode()
    assert client.get("/", headers={"authorization": f"Basic {right}"}).status_code == 200
    assert client.get("/", headers={"authorization": f"Basic {wrong}"}).status_code == 401


@pytest.mark.parametrize(
    ("access", "local"),
    [
        (Access(), True),
        (Access(hosts=("127.0.0.1", "127.0.0.2", "::1", "[::1]")), True),
        (Access(token="secret"), False),
        (Access(user="me", password="secret"), False),
        (Access(hosts=()), False),
        (Access(hosts=("127.0.0.1", "studio.example")), False),
    ],
)
def test_who_may_name_folders(access: Access, local: bool) -> None:
    assert access.is_local is local
