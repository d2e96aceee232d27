"""Edits on a Ray: every edit is there at the end, none twice, whatever becomes of the workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch

import pairedit_sdk
from pairedit_sdk.errors import BaseModelError, TrainingError, UsageError
from pairedit_sdk.jobs import on_ray
from pairedit_sdk.jobs.manifest import ManifestEntry, read_manifest
from pairedit_sdk.jobs.on_ray import TRIES, train_many_on_ray
from pairedit_sdk.jobs.outcomes import EditOutcome, log_path
from pairedit_sdk.jobs.ray_cluster import RayWorkers, room_for
from pairedit_sdk.jobs.train_many import train_many

if TYPE_CHECKING:
    from pairedit_sdk.models.pipeline_model import PipelineModel

Entry = Callable[..., ManifestEntry]
#: Seconds after which something hangs, however slow the machine and whatever else runs on it.
HANGS = 1800
#: Of an edit during which something is to happen: some seconds, also on a fast machine.
STEPS = 300
ROOT = Path(pairedit_sdk.__file__).parents[1]

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


# What is handed out to whom, with a Ray that is none: a call is made when it is waited for.


class LostError(Exception):
    """A worker is gone; ``cause`` is what it raised itself."""

    def __init__(self, text: str, cause: Exception | None = None) -> None:
        super().__init__(text)
        self.cause = cause


class Call:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def options(self, **given: Any) -> Call:
        assert given == {"max_task_retries": 0}
        return self

    def remote(self, *arguments: Any) -> Call:
        return Call(lambda: self.function(*arguments))


class Worker:
    """An actor that does what ``does`` says for each edit, or raises it."""

    def __init__(self, does: Callable[[str, bool], object], ready: Exception | None = None) -> None:
        self._does, self._ready = does, ready
        self.ready, self.make = Call(self._be_ready), Call(self._make)

    def _be_ready(self) -> None:
        if self._ready is not None:
            raise self._ready

    def _make(self, entry: ManifestEntry, again: bool) -> EditOutcome:
        found = self._does(entry.name, again)
        if isinstance(found, Exception):
            raise found
        return EditOutcome(entry.name, "made")


FAKE = SimpleNamespace(
    exceptions=SimpleNamespace(RayError=LostError),
    wait=lambda calls, num_returns: (calls[:1], calls[1:]),
    get=lambda call: call.function(),
)


def handed_out(
    crew: Sequence[Worker], entries: Sequence[ManifestEntry], library: Path
) -> dict[str, EditOutcome]:
    return on_ray._hand_out(FAKE, crew, entries, library, None)


@pytest.fixture
def entries(entry: Entry) -> list[ManifestEntry]:
    return [entry("hat"), entry("glasses"), entry("beard")]


def test_the_edit_of_a_lost_worker_goes_to_another_that_waits_for_its_lock(
    entries: list[ManifestEntry], library: Path
) -> None:
    done: list[tuple[str, str, bool]] = []

    def lose_glasses(name: str, again: bool) -> object:
        done.append(("first", name, again))
        return LostError("gone") if name == "glasses" and not again else None

    def stay(name: str, again: bool) -> None:
        done.append(("second", name, again))

    outcomes = handed_out([Worker(lose_glasses), Worker(stay)], entries, library)
    assert {name: o.state for name, o in outcomes.items()} == dict.fromkeys(
        ("hat", "glasses", "beard"), "made"
    )
    tried = Counter(name for _, name, _ in done)
    assert tried["hat"] == tried["beard"] == 1
    assert [again for _, name, again in done if name == "glasses"] == [False, True][
        : tried["glasses"]
    ]
    names = [json.loads(line)["name"] for line in log_path(library).read_text().splitlines()]
    assert sorted(names) == ["beard", "glasses", "hat"]


def test_an_edit_that_takes_its_workers_down_is_given_up(
    entries: list[ManifestEntry], library: Path
) -> None:
    tried: Counter[str] = Counter()

    def does(name: str, again: bool) -> object:
        tried[name] += 1
        return LostError("out of memory") if name == "hat" else None

    outcomes = handed_out([Worker(does)], entries, library)
    assert tried == {"hat": TRIES, "glasses": 1, "beard": 1}
    assert outcomes["hat"].state == "failed"
    assert outcomes["hat"].reason.startswith(f"Its worker was lost {TRIES} times (out of memory).")
    assert outcomes["beard"].state == "made"


def test_a_worker_that_cannot_begin_is_done_without(
    entries: list[ManifestEntry], library: Path
) -> None:
    missing = LostError("no base", cause=BaseModelError("There is no model 'x'"))
    crew = [Worker(lambda *_: None, ready=missing), Worker(lambda *_: None)]
    assert len(handed_out(crew, entries, library)) == 3
    with pytest.raises(BaseModelError, match="There is no model 'x'"):
        handed_out(crew[:1], entries, library)
    with pytest.raises(TrainingError, match=r"No Ray worker could begin \(no such module\)"):
        handed_out([Worker(lambda *_: None, ready=LostError("no such module"))], entries, library)


@pytest.mark.parametrize(
    ("workers", "there", "device", "wanted", "count", "needs"),
    [
        (RayWorkers(), {"CPU": 4.0}, None, 9, 4, (1, 0)),
        (RayWorkers(), {"CPU": 4.0}, None, 3, 3, (1, 0)),
        (RayWorkers(cpus=2), {"CPU": 4.0}, None, 9, 2, (2, 0)),
        (RayWorkers(), {"CPU": 16.0, "GPU": 2.0}, None, 9, 2, (1, 1)),
        (RayWorkers(gpus=0.5), {"CPU": 16.0, "GPU": 2.0}, None, 9, 4, (1, 0.5)),
        (RayWorkers(), {"CPU": 16.0, "GPU": 2.0}, "cpu", 99, 16, (1, 0)),
        (RayWorkers(2), {"CPU": 4.0}, None, 9, 2, (1, 0)),
        (RayWorkers(8, "auto"), {"CPU": 4.0}, None, 9, 8, (1, 0)),  # a cluster may grow
    ],
)
def test_there_are_as_many_workers_as_there_is_room_or_work_for(
    workers: RayWorkers, there: dict[str, float], device: str | None, wanted: int, count: int,
    needs: tuple[float, float],
) -> None:  # fmt: skip
    ray = SimpleNamespace(cluster_resources=lambda: there)
    given = {"num_cpus": needs[0], "num_gpus": needs[1]}
    assert room_for(ray, workers, device, wanted) == (count, given)


@pytest.mark.parametrize("workers", [RayWorkers(5), RayWorkers(gpus=1), RayWorkers(cpus=8)])
def test_more_workers_than_this_machine_has_room_for_are_refused(workers: RayWorkers) -> None:
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 4.0})
    with pytest.raises(UsageError, match=r"no room on this machine.*Expected at most \d"):
        room_for(ray, workers, None, 9)


def test_which_gpu_is_for_ray_to_say(entries: list[ManifestEntry], library: Path) -> None:
    with pytest.raises(UsageError, match="cuda:1 cannot be chosen with Ray"):
        train_many_on_ray("mini", entries, library, device="cuda:1")


@pytest.mark.parametrize("canceled", [False, True])
def test_a_worker_trains_until_it_is_told_to_stop_and_then_leaves_a_checkpoint(
    entry: Entry, tiny_folder: Path, library: Path, monkeypatch: pytest.MonkeyPatch,
    canceled: bool,
) -> None:  # fmt: skip
    context = SimpleNamespace(is_canceled=lambda: canceled)
    ray = SimpleNamespace(get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)
    options = {"library": library, "force": False, "skip_check": False}
    worker = on_ray._Worker(str(tiny_folder), {"device": "cpu"}, options)
    # Started again by Ray, it may be given an edit before it has been asked for its model.
    outcome = worker.make(entry("hat", checkpoint_every=0), again=True)
    saved = [path.stem for path in (library / "runs" / "hat" / "checkpoints").iterdir()]
    if canceled:
        assert (outcome, saved) == (None, ["step-000001"])
        assert not (library / "hat.safetensors").exists()
    else:
        assert (outcome.state if outcome else "", saved) == ("made", ["step-000004"])


# The real one.


@pytest.fixture
def manifest(entry: Entry, tmp_path: Path, tiny_folder: Path) -> Path:
    """Three edits that take long enough for something to happen on the way."""
    path = tmp_path / "list.jsonl"
    lines = []
    for name in ("hat", "glasses", "beard"):
        one = entry(name, steps=STEPS, checkpoint_every=5)
        settings = {
            key: value for key, value in one.config.as_dict().items() if key not in ("base",)
        }
        lines.append(json.dumps({"name": name, "pairs": str(one.pairs), "set": settings}))
    path.write_text("\n".join(lines))
    return path


@contextmanager
def on_two_workers(manifest: Path, base: Path, library: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, in a process of its own: Ray's warnings are not this one's."""
    command = [
        sys.executable, "-m", "pairedit_sdk.cli", "train-many", manifest, "--base", base,
        "--library", library, "--engine", "ray", "--workers", "2", "--device", "cpu", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that ``process`` does; fail where it ends without that."""
    end = time.monotonic() + HANGS
    while not holds():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)


def training_workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    return [one for one in found if any("_Worker.make" in word for word in one.cmdline())]


@needs_ray
@pytest.mark.slow
def test_with_a_worker_killed_on_the_way_every_edit_is_there_and_none_twice(
    manifest: Path, tiny_folder: Path, tiny_model: PipelineModel, library: Path, tmp_path: Path
) -> None:
    runs = library / "runs"
    begun = [runs / name / "checkpoints" for name in ("hat", "glasses")]
    with on_two_workers(manifest, tiny_folder, library) as process:
        # Any: the first ones are deleted again, perhaps before the other edit has one.
        wait_until(lambda: all(any(path.glob("step-*.safetensors")) for path in begun), process)
        first, _second = training_workers(process)
        first.send_signal(signal.SIGKILL)
        output, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    said = json.loads(output)  # nothing of Ray's is on standard output
    assert (said["made"], said["skipped"], said["failed"]) == (3, 0, 0)

    names = ["beard", "glasses", "hat"]
    lines = [json.loads(line) for line in log_path(library).read_text().splitlines()]
    assert sorted((line["name"], line["state"]) for line in lines) == [(n, "made") for n in names]
    # The killed one's edit went on from a checkpoint, and no step was written down twice.
    assert sorted(line["resumed_at"] >= 5 for line in lines) == [False, False, True]
    for name in names:
        metrics = (runs / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in metrics] == list(range(1, STEPS + 1))

    entries = read_manifest(manifest, base=str(tiny_folder))
    train_many(tiny_model, entries, tmp_path / "here")
    from pairedit_sdk.edits.edit import Edit

    for name in names:
        there = Edit.load(library / f"{name}.safetensors")
        here = Edit.load(tmp_path / "here" / f"{name}.safetensors")
        assert there.layers.keys() == here.layers.keys()
        for layer, own in here.layers.items():
            assert torch.equal(there.layers[layer].up, own.up)
            assert torch.equal(there.layers[layer].down, own.down)
    # To the engine of this process they are finished too.
    assert {o.state for o in train_many(tiny_model, entries, library)} == {"skipped"}


@needs_ray
@pytest.mark.slow
def test_ctrl_c_lets_the_workers_write_checkpoints_and_the_same_command_goes_on(
    manifest: Path, tiny_folder: Path, library: Path
) -> None:
    runs = library / "runs"
    begun = [runs / name / "metrics.jsonl" for name in ("hat", "glasses")]
    with on_two_workers(manifest, tiny_folder, library) as process:
        wait_until(lambda: all(path.exists() for path in begun), process)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 130
    assert json.loads(output)["error"]["type"] == "StoppedError"  # and nothing of Ray's
    assert errors.rstrip().endswith("Go on with the same command.")
    reached = {}
    for path in begun:
        name = path.parent.name
        last = max((path.parent / "checkpoints").iterdir())
        reached[name] = int(last.stem.removeprefix("step-"))
        # The last step that was done is in the checkpoint.
        assert reached[name] == len(path.read_text().splitlines()) < STEPS
    with on_two_workers(manifest, tiny_folder, library) as process:
        output, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    resumed = {edit["name"]: edit["resumed_at"] for edit in json.loads(output)["edits"]}
    assert resumed == {**reached, "beard": 0}
