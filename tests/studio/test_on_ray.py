"""The HTTP API on Ray Serve: every request is answered once, whatever becomes of the replicas."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pytest

import pairedit_sdk
from pairedit_sdk.builtin.faces.face import sample_face
from pairedit_sdk.errors import PairEditError, UsageError
from pairedit_sdk.studio.requests import EditRequest, ScaledEdit, ScaledInstruction, SweepRequest
from pairedit_sdk.studio.work import Made, Work
from pairedit_sdk.studio.work_queue import BusyError, LeftError, TooLateError

if find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

httpx = pytest.importorskip("httpx")
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on `Field`:DeprecationWarning"  # in Ray Serve's own code
)
ROOT = Path(pairedit_sdk.__file__).parents[1]
#: Seconds after which something hangs, however slow the machine.
HANGS = 900
MADE = Made(b"picture", "image/png", {})
HAT = EditRequest(edits=[ScaledEdit(name="hat")])


# What is asked of whom, with replicas that are none.


class Replicas:
    """Ray's handle; each call does the next of ``does``: raises it, returns it, or waits."""

    def __init__(self, *does: Any) -> None:
        self.does, self.ids, self.cancelled = list(does), [""], 0
        self.make = self

    def options(self, *, multiplexed_model_id: str) -> Replicas:
        self.ids[-1] = multiplexed_model_id
        return self

    def remote(self, work: Work) -> Response:
        self.ids.append("")
        return Response(self, self.does.pop(0))


class Response:
    def __init__(self, replicas: Replicas, does: Any) -> None:
        self.replicas, self.does = replicas, does

    def __await__(self) -> Any:
        return self._answer().__await__()

    async def _answer(self) -> Made:
        if self.does == "wait":
            await asyncio.sleep(HANGS)
        if isinstance(self.does, Exception):
            raise self.does
        return MADE

    def cancel(self) -> None:
        self.replicas.cancelled += 1


async def stays() -> bool:
    return False


async def leaves() -> bool:
    return True


def made_by(
    replicas: Replicas, work: Work | None = None, *, gone: Any = stays, **settings: Any
) -> Made:
    from pairedit_sdk.studio.ray_backend import RayBackend

    backend = RayBackend(replicas, "mini", **{"timeout": 60.0, **settings})
    return asyncio.run(backend.make(work or Work(HAT, {"image": b"x"}), gone))


def lost() -> Exception:
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


def test_a_request_whose_replica_is_lost_is_asked_again() -> None:
    replicas = Replicas(lost(), lost(), MADE)
    assert made_by(replicas) is MADE
    assert replicas.does == []


def test_a_request_that_takes_its_replicas_down_is_given_up() -> None:
    replicas = Replicas(*(lost() for _ in range(3)), MADE)
    with pytest.raises(PairEditError, match=r"lost its replica 3 times"):
        made_by(replicas)
    assert len(replicas.does) == 1


def test_what_a_replica_raises_is_raised_as_it_was() -> None:
    from ray.exceptions import RayTaskError

    cause = UsageError("There is no edit 'hut'", next_step="Did you mean hat?")
    wrapped = RayTaskError("make", "Traceback …", cause).as_instanceof_cause()
    with pytest.raises(UsageError) as raised:
        made_by(Replicas(wrapped))
    assert type(raised.value) is UsageError
    assert raised.value.next_step == "Did you mean hat?"


def test_a_full_cluster_is_busy() -> None:
    from ray.serve.exceptions import BackPressureError

    with pytest.raises(BusyError, match="The queue is full: 7 requests waiting"):
        made_by(Replicas(BackPressureError(7, 7)))


def test_pictures_that_take_too_much_memory_are_refused_unless_they_are_alone() -> None:
    from pairedit_sdk.studio.ray_backend import RayBackend

    async def two() -> list[Any]:
        backend = RayBackend(Replicas("wait", MADE), "mini", 0.5, bound_bytes=3)
        works = [Work(HAT, {"image": data}) for data in (b"large", b"x")]
        both = [backend.make(work, stays) for work in works]
        found = list(await asyncio.gather(*both, return_exceptions=True))
        return [*found, await backend.make(works[0], stays)]

    first, second, later = asyncio.run(two())
    assert isinstance(first, TooLateError)
    assert isinstance(second, BusyError)
    assert later is MADE


@pytest.mark.parametrize(
    ("how", "error"), [({"gone": leaves}, LeftError), ({"timeout": 0.1}, TooLateError)]
)
def test_work_that_nobody_waits_for_is_cancelled(
    how: dict[str, Any], error: type[PairEditError]
) -> None:
    replicas = Replicas("wait")
    with pytest.raises(error):
        made_by(replicas, **how)
    assert replicas.cancelled == 1


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (EditRequest(edits=[ScaledEdit(name="hat"), ScaledEdit(name="age", scale=2)]), "age,hat"),
        (EditRequest(edits=[ScaledEdit(name="hat"), ScaledEdit(name="hat")]), "hat"),
        (EditRequest(instructions=[ScaledInstruction(phrase="add a hat")]), ""),
    ],
)
def test_requests_for_the_same_edits_bear_the_same_id(request_: EditRequest, expected: str) -> None:
    replicas = Replicas(MADE)
    made_by(replicas, Work(request_, {"image": b"x"}))
    assert replicas.ids[0] == expected


def test_what_is_served_is_resolved_once_for_all_replicas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairedit_sdk.studio.engine import LoadingOptions
    from pairedit_sdk.studio.on_ray import Serving

    (tmp_path / "edits").mkdir()
    shutil.copy(ROOT / "examples/edits/hat.safetensors", tmp_path / "edits")
    monkeypatch.chdir(tmp_path)
    found = Serving(library=Path("edits")).resolved()
    assert (found.library, found.loading.base) == (tmp_path / "edits", "mini")
    (tmp_path / "own").mkdir()
    own = Serving.model_validate({"library": "edits", "loading": {"base": "own"}, "replicas": 5})
    assert own.resolved().loading == LoadingOptions(str(tmp_path / "own"))


@pytest.mark.parametrize("wrong", [{"replicas": 0}, {"waiting": 0}, {"timeout": 0}, {"replica": 2}])
def test_what_cannot_be_served_is_refused(wrong: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from pairedit_sdk.studio.on_ray import Serving

    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Serving.model_validate({"library": "edits", **wrong})


# The real one.


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A library of two edits that were learned on the model ``mini``."""
    folder = tmp_path / "shared"
    folder.mkdir()
    hat = folder / "hat.safetensors"
    shutil.copy(ROOT / "examples/edits/hat.safetensors", hat)
    shutil.copy(hat, folder / "cap.safetensors")
    return folder


@contextmanager
def served(library: Path, *more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, in a process of its own: its address, and itself."""
    command = [
        sys.executable, "-m", "pairedit_sdk.cli", "studio", "--replicas", "2", "--port", "0",
        "--library", str(library), "--device", "cpu", "--json", *more,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        helpers: list[psutil.Process] = []
        try:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            helpers = psutil.Process(process.pid).children(recursive=True)
            yield json.loads(line)["url"], process
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            assert "graceful_shutdown" not in output
        finally:
            process.kill()
    _, alive = psutil.wait_procs(helpers, timeout=60)
    assert alive == []


def replicas_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    return [one for one in found if any(":Replica" in word for word in one.cmdline())]


def a_face(seed: int) -> bytes:
    file = BytesIO()
    sample_face(random.Random(seed), style="photo").draw(128).save(file, "png")
    return file.getvalue()


def mixed(count: int) -> list[Work]:
    """Different requests: edits alone and together, several scales, and wrong ones."""
    works = []
    for i in range(count):
        names = (["hat"], ["cap"], ["hat", "cap"])[i % 3]
        edits = [ScaledEdit(name=name, scale=0.5 + i / 100) for name in names]
        if i % 10 == 9:
            edits = [ScaledEdit(name=f"unknown-{i}")]
        how: dict[str, Any] = {"edits": edits, "steps": 4 + i % 3, "seed": i}
        request = SweepRequest(scales=[0.5, 1], **how) if i % 7 == 6 else EditRequest(**how)
        works.append(Work(request, {"image": a_face(i)}))
    return works


def sent(url: str, work: Work) -> tuple[int, bytes | str]:
    """The status, and the picture or the error's own sentence."""
    kind = "sweep" if isinstance(work.request, SweepRequest) else "edit"
    answer = httpx.post(
        f"{url}api/{kind}",
        files={"image": work.pictures["image"]},
        data={"request": work.request.model_dump_json()},
        timeout=HANGS,
    )
    if answer.status_code == 200:
        return 200, answer.content
    return answer.status_code, answer.json()["error"]["message"]


def here(works: list[Work], library: Path) -> list[tuple[int, bytes | str]]:
    """The same by an engine of this process."""
    from pairedit_sdk.editing.hooks import no_hook
    from pairedit_sdk.studio.engine import Engine, LoadingOptions

    engine, found = Engine(library, LoadingOptions(device="cpu")), []
    for work in works:
        try:
            found.append((200, work.do(engine, no_hook).data))
        except PairEditError as error:
            found.append((422, str(error)))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + HANGS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_with_a_replica_killed_on_the_way_every_request_has_the_answer_of_one_process(
    shared: Path,
) -> None:
    works = mixed(50)
    with served(shared) as (url, process):
        first, second = replicas_of(process)
        with ThreadPoolExecutor(4) as clients:
            answers = [clients.submit(sent, url, work) for work in works]
            wait_until(lambda: sum(answer.done() for answer in answers) >= 12)
            first.send_signal(signal.SIGKILL)
            got = [answer.result(HANGS) for answer in answers]

        def is_back() -> bool:
            there = {one.pid for one in replicas_of(process)}
            asked = httpx.get(f"{url}api/health", timeout=60).json()
            return len(there) == 2 and first.pid not in there and asked["replicas"] == 2

        wait_until(is_back)
        assert second.is_running()
        health = httpx.get(f"{url}api/health", timeout=60).json()
        assert (health["model"], health["loaded"], health["waiting"]) == ("mini", True, 0)
        again = sent(url, works[0])
    expected = here(works, shared)
    assert [status for status, _ in got] == [status for status, _ in expected]
    assert sum(status == 422 for status, _ in got) == 5
    assert got == expected
    assert again == expected[0]


@pytest.mark.slow
def test_what_is_refused_says_so_and_holds_nothing_up(shared: Path) -> None:
    long = Work(EditRequest(edits=HAT.edits, steps=200), {"image": a_face(0)})
    more = ("--waiting", "1", "--timeout", "30", "--token", "secret")
    client = httpx.Client(headers={"Authorization": "Bearer secret"}, timeout=HANGS)
    with client, served(shared, *more) as (url, _):
        url = url.partition("?")[0]
        assert httpx.get(f"{url}api/health", timeout=60).status_code == 401
        for header in ({"Host": "example.org"}, {"Origin": "http://example.org"}):
            assert client.get(f"{url}api/health", headers=header).status_code == 403
        form = {
            "files": {"image": long.pictures["image"]},
            "data": {"request": long.request.model_dump_json()},
        }

        def ask(seed: int) -> int:
            seeded = long.request.model_copy(update={"seed": seed})
            data = {"request": seeded.model_dump_json()}
            return int(client.post(f"{url}api/edit", **{**form, "data": data}).status_code)

        # Two replicas have two each, and one waits.
        with ThreadPoolExecutor(8) as clients:
            statuses = list(clients.map(ask, range(8)))
        assert set(statuses) <= {200, 503, 504}
        assert statuses.count(503) >= 3
        # Clients that leave take their work with them.
        for _ in range(4):
            with pytest.raises(httpx.ReadTimeout):
                client.post(f"{url}api/edit", **form, timeout=1)
        wait_until(lambda: client.get(f"{url}api/health").json()["waiting"] == 0)
        started = time.monotonic()
        short = {"request": HAT.model_copy(update={"steps": 2}).model_dump_json()}
        quick = client.post(f"{url}api/edit", files=form["files"], data=short)
        assert quick.status_code == 200
        assert time.monotonic() - started < 20  # 200 steps of four pictures take longer
