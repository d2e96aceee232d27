"""A stand-in of the Hugging Face Hub on this machine, for the real huggingface_hub to talk to.

It keeps repositories of models in memory, and answers what ``create_repo``, ``create_commit`` (with
files in the commit and by LFS), ``model_info`` and ``hf_hub_download`` ask for, with the Hub's own
status codes and error headers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_me"
OWNER = "me"


@dataclass
class Repo:
    """A repository: its commits in order, the files of each, and what the server says to visitors.

    ``refuses`` is a status and an error code that is given in the place of everything.
    """

    private: bool = False
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    refuses: tuple[int, str] | None = None

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1] if self.commits else {}

    def commit(self, files: dict[str, bytes], message: str = "") -> str:
        every = self.files | files
        said = [message, len(self.commits), *sorted((n, sha(c)) for n, c in every.items())]
        oid = hashlib.sha1(repr(said).encode()).hexdigest()
        self.commits.append((oid, every))
        self.messages.append(message)
        return oid

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1] if self.commits else ("0" * 40, {})
        return next((found for found in self.commits if found[0] == revision), None)


class Hub:
    """The server's state, for a test to prepare and to look at."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.stored: dict[str, bytes] = {}  # by LFS, under their hashes
        self.asked: list[str] = []
        self.url = ""

    def add(self, repo_id: str) -> Repo:
        """A new repository, public and empty."""
        self.repos[repo_id] = Repo()
        return self.repos[repo_id]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    @property
    def known(self) -> bool:
        return self.headers.get("authorization") == f"Bearer {TOKEN}"

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        body = self._body()
        for method, pattern, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                action(self, body, *match.groups())
                return
        self.refuse(404, "", f"no route {path}")

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def reply(
        self, content: bytes | dict[str, Any], status: int = 200, **headers: str | None
    ) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str, message: str = "no") -> None:
        self.reply({"error": message}, status, X_Error_Code=code or None, X_Error_Message=message)

    def repo(self, repo_id: str) -> Repo | None:
        """The repository, or None after a refusal was sent."""
        token = self.headers.get("authorization")
        if token and not self.known:
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return None
        found = self.hub.repos.get(repo_id)
        if found is None or (found.private and not self.known):
            self.refuse(404 if self.known else 401, "RepoNotFound", "Repository not found")
            return None
        if found.refuses:
            self.refuse(*found.refuses)
            return None
        return found

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        if not self.known:
            self.refuse(401, "", "Invalid username or password.")
            return
        owner = asked.get("organization") or OWNER
        repo_id = f"{owner}/{asked['name']}"
        if owner != OWNER:
            self.refuse(403, "", "You don't have the rights to create a model under this namespace")
            return
        there = repo_id in self.hub.repos
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.repos.setdefault(repo_id, Repo(private))
        self.reply({"url": f"{self.hub.url}/{repo_id}"}, 409 if there else 200)

    def validate(self, body: bytes) -> None:
        import yaml

        _, front, _ = json.loads(body)["content"].split("---\n", 2)
        assert isinstance(yaml.safe_load(front), dict)
        self.reply({"errors": [], "warnings": []})

    def info(self, body: bytes, repo_id: str, revision: str | None = None) -> None:
        if (repo := self.repo(repo_id)) is None:
            return
        found = repo.at(revision or "main")
        if found is None:
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
            return
        oid, files = found
        siblings = [{"rfilename": name} for name in sorted(files)]
        self.reply(
            {"id": repo_id, "sha": oid, "private": repo.private, "siblings": siblings, "tags": []}
        )

    def preupload(self, body: bytes, repo_id: str) -> None:
        if self.repo(repo_id) is None:
            return
        self.reply(
            {"files": [
                {"path": file["path"], "shouldIgnore": False,
                 "uploadMode": "regular" if file["path"].endswith(".md") else "lfs"}
                for file in json.loads(body)["files"]
            ]}
        )  # fmt: skip

    def batch(self, body: bytes, repo_id: str) -> None:
        if self.repo(repo_id) is None:
            return
        objects = [
            {**wanted, "actions": {"upload": {"href": f"{self.hub.url}/store/{wanted['oid']}"}}}
            for wanted in json.loads(body)["objects"]
        ]
        self.reply({"transfer": "basic", "objects": objects})

    def store(self, body: bytes, oid: str) -> None:
        assert sha(body) == oid
        self.hub.stored[oid] = body
        self.reply({})

    def commit(self, body: bytes, repo_id: str) -> None:
        if (repo := self.repo(repo_id)) is None:
            return
        lines = [json.loads(line) for line in body.splitlines()]
        files, message = {}, ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.hub.stored[value["oid"]]
        oid = repo.commit(files, message)
        self.reply({"commitUrl": f"{self.hub.url}/{repo_id}/commit/{oid}", "commitOid": oid})

    def resolve(self, body: bytes, repo_id: str, revision: str, name: str) -> None:
        if (repo := self.repo(repo_id)) is None:
            return
        found = repo.at(revision)
        if found is None:
            self.refuse(404, "RevisionNotFound")
            return
        oid, files = found
        if name not in files:
            self.refuse(404, "EntryNotFound")
            return
        content, status = files[name], 200
        if ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range") or ""):
            content = content[int(ranged[1]) : int(ranged[2]) + 1 if ranged[2] else None]
            status = 206
        self.reply(content, status, ETag=f'"{sha(files[name])}"', X_Repo_Commit=oid)


_ID = r"([^/]+/[^/]+)"
_ROUTES = [
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", f"/api/models/{_ID}", _Handler.info),
    ("GET", f"/api/models/{_ID}/revision/(.+)", _Handler.info),
    ("POST", f"/api/models/{_ID}/preupload/main", _Handler.preupload),
    ("POST", f"/api/models/{_ID}/commit/main", _Handler.commit),
    ("POST", rf"/{_ID}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/store/([0-9a-f]{64})", _Handler.store),
    ("GET HEAD", f"/{_ID}/resolve/([^/]+)/(.+)", _Handler.resolve),
]


@contextmanager
def running() -> Iterator[Hub]:
    """A Hub that answers at ``hub.url`` while the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
