"""Who may speak to the studio, and how much may be sent: looked at before anything else.

A page of another site can make a browser send requests here. So a request has to name this server
as its host, and if it says where it comes from, that has to be this server too; a link alone may
lead here from elsewhere. On an address that others can reach, a token or a password is needed as
well.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.formparsers import MultiPartException

from pairedit_sdk.errors import InputError, PairEditError
from pairedit_sdk.studio.http_errors import described

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
COOKIE = "pairedit_token"
#: Bytes of one request at most.
MAX_BYTES = 128 * 2**20
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # Gradio's page has scripts and styles of its own inline; nothing comes from elsewhere.
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
}


@dataclass(frozen=True)
class Access:
    """Who may use the studio.

    Attributes:
        hosts: names and addresses under which it is asked; empty is any, for one with a secret.
        token: that a request has to bear, as ``Authorization: Bearer`` in UTF-8, or once as
            ``?token=`` in the page's address; its hash is a cookie then.
        user: with ``password``, for HTTP Basic authentication.
        password: see ``user``.
        max_bytes: of one request.
    """

    hosts: tuple[str, ...] = LOOPBACK
    token: str | None = None
    user: str | None = None
    password: str | None = None
    max_bytes: int = MAX_BYTES

    @property
    def is_local(self) -> bool:
        """Whether only somebody on this machine can use the studio, and anybody there may."""
        local = all(h in (*LOOPBACK, "::1") or h.startswith("127.") for h in self.hosts)
        return self.is_open and bool(self.hosts) and local

    @property
    def is_open(self) -> bool:
        """Whether neither a token nor a password is needed."""
        return self.token is None and self.password is None


class Guard:
    """ASGI middleware that refuses what :class:`Access` does not allow."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        problem = self._foreign(scope, headers)
        if problem:
            await _refuse(send, 403, problem)
            return
        if not self.access.is_open and not self._knows(headers):
            await self._ask(scope, send)
            return
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.access.max_bytes:
            await _refuse(send, 413, _too_large(self.access.max_bytes))
            return
        await self._bounded(scope, headers, receive, send)

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> PairEditError | None:
        """Why a request is not taken for one of this server's own pages."""
        host, origin = headers.get("host", ""), headers.get("origin")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.access.hosts and name.lower() not in self.access.hosts:
            return PairEditError(
                f"The studio is not known as {host or 'nothing'}",
                expected=", ".join(self.access.hosts),
                next_step="Open it at the address that it printed",
            )
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if (elsewhere and not _is_link(scope, headers)) or not _is_of(origin, host):
            return PairEditError(
                f"A page of {origin or 'another site'} may not use the studio",
                expected=f"a page of {host}",
                next_step="Send requests from a program, or open the studio's own page",
            )
        return None

    def _knows(self, headers: dict[str, str]) -> bool:
        """Whether the request bears the token or the password."""
        access, (kind, _, given) = self.access, headers.get("authorization", "").partition(" ")
        if access.token is not None:
            bearer = kind.lower() == "bearer"
            said = _hash(given.strip()) if bearer else _cookie(headers.get("cookie", ""))
            if _same(said, _token_hash(access.token)):
                return True
        if access.password is not None and kind.lower() == "basic":
            try:
                said = base64.b64decode(given, validate=True).decode()
            except ValueError:  # neither Base64 nor UTF-8
                return False
            return _same(said, f"{access.user}:{access.password}")
        return False

    async def _ask(self, scope: Scope, send: Send) -> None:
        """Take the token from the page's address, or say what is needed."""
        token = self.access.token
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if token is not None and _same(dict(query).get("token", ""), token):
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            place = quote(scope["path"]) + (f"?{rest}" if rest else "")
            cookie = f"{COOKIE}={_token_hash(token)}; Path=/; HttpOnly; SameSite=Strict"
            # Two slashes would name another server.
            place = "/" + place.lstrip("/\\")
            await _answer(send, 303, b"", {"location": place, "set-cookie": cookie})
            return
        problem = PairEditError(
            "The studio needs a token or a password",
            next_step="Open the address that it printed, or send the header "
            "'Authorization: Bearer TOKEN'",
        )
        basic = {} if self.access.password is None else {"www-authenticate": 'Basic realm="studio"'}
        await _refuse(send, 401, problem, basic)

    async def _bounded(
        self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send
    ) -> None:
        """Pass the request on. What is sent without saying how much it is ends at the bound, too:
        whatever the application makes of that is not sent.

        It ends with the error of a damaged form, on which Starlette and Gradio delete the files
        that they have begun. So does a form whose sender goes away, which ends otherwise with an
        error on which they leave them.
        """
        taken, more, begun = 0, True, False
        is_form = headers.get("content-type", "").startswith("multipart/form-data")

        async def receiving() -> Message:
            nonlocal taken, more
            message = await receive()
            if message["type"] == "http.disconnect" and more and is_form:
                raise MultiPartException("The sender is gone")
            more = more and message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > self.access.max_bytes:
                raise MultiPartException("More was sent than the maximum allowed size")
            return message

        async def sending(message: Message) -> None:
            nonlocal begun
            if taken <= self.access.max_bytes:
                begun = True
                await send(message)

        try:
            await self.app(scope, receiving, _with_headers(sending))
        except Exception:
            if taken <= self.access.max_bytes:
                raise
        if taken > self.access.max_bytes and not begun:
            await _refuse(send, 413, _too_large(self.access.max_bytes))


def _is_of(origin: str | None, host: str) -> bool:
    """Whether an origin, if there is one, is that of this host."""
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # no address at all
        return False


def _is_link(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether somebody follows a link to a page, as opposed to a page that loads something."""
    return (
        scope.get("method") == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _too_large(most: int) -> InputError:
    return InputError(
        "More was sent than the studio takes at once",
        expected=f"at most {most / 2**20:.0f} MiB",
        next_step="Send smaller pictures, or fewer",
    )


def _cookie(text: str) -> str:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(text)
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _hash(header: str) -> str:
    """The hash of a header's text, which is read as Latin-1 whatever it is."""
    return hashlib.sha256(header.encode("latin-1")).hexdigest()


def _token_hash(token: str) -> str:
    """What stands for the token: digits, whatever characters the token has."""
    return hashlib.sha256(token.encode()).hexdigest()


def _same(said: str, wanted: str) -> bool:
    return hmac.compare_digest(said.encode(), wanted.encode())


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {key.lower() for key, _ in message["headers"]}
            more = [
                (k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in there
            ]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


async def _refuse(
    send: Send, status: int, error: PairEditError, headers: dict[str, str] | None = None
) -> None:
    body = json.dumps({"error": described(error)}).encode()
    await _answer(send, status, body, {"content-type": "application/json", **(headers or {})})


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    named = {**_HEADERS, **headers, "content-length": str(len(body))}
    pairs = [(key.encode(), value.encode("latin-1")) for key, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
