"""Trainings from the studio: real ones in processes of their own, and what files alone tell.

The real ones are of one pair on the built-in model mini, at 64 pixels. Each costs the time in which
its process loads torch and the model, so there are few.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.studio.training_process import TrainingRecord
from pairedit_sdk.studio.training_request import TrainingRequest
from pairedit_sdk.studio.trainings import Trainings
from pairedit_sdk.training.checkpoints import Checkpoints, step_of
from pairedit_sdk.training.run_lock import run_lock

ROOT = Path(__file__).parents[2]
STEPS = 30
SETTINGS = (f"steps={STEPS}", "checkpointing.every=10", "batch=1", "lora.rank=2", "resolution=64")
#: A studio that starts a training, and goes on until it is killed.
SERVER = """
import sys, time
from pathlib import Path
from pairedit_sdk.studio.training_request import TrainingRequest
from pairedit_sdk.studio.trainings import Trainings
library, pairs, *settings = sys.argv[1:]
request = TrainingRequest("glasses", Path(pairs), base="mini", settings=tuple(settings))
Trainings(library, device="cpu").start(request)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    from pairedit_sdk.builtin.faces.example_pairs import example_faces

    (faces,) = example_faces("glasses", 1)
    drawn = tuple(Photo.of(face.draw(128)) for face in faces)
    return Trainings(tmp_path_factory.mktemp("pairs")).keep_pairs("glasses", [drawn])


@pytest.fixture
def trainings(tmp_path):
    made = Trainings(tmp_path / "edits", device="cpu")
    yield made
    made.close()


def _request(pairs, name="glasses", **changed):
    return TrainingRequest(name, pairs, **{"base": "mini", "settings": SETTINGS, **changed})


def _wait(trainings, until, name="glasses"):
    """Ask for the state until it is right, at most for two minutes; all different states."""
    seen, end = [], time.monotonic() + 120
    while time.monotonic() < end:
        try:
            status = trainings.status(name)
        except UsageError:  # the server that is to start it is loading still
            time.sleep(0.02)
            continue
        if not seen or status != seen[-1]:
            seen.append(status)
        if until(status):
            return seen
        time.sleep(0.02)
    raise AssertionError(seen[-3:])


def _ended(status):
    return status.state in ("done", "stopped", "failed")


def _under_way(status):
    return status.state == "running" and 2 <= status.step < STEPS


def _same(one, other):
    """Whether two edits have the same tensors, bit for bit."""
    one, other = Edit.load(one), Edit.load(other)
    assert one.layers.keys() == other.layers.keys()
    return all(
        one.layers[key].down.equal(other.layers[key].down)
        and one.layers[key].up.equal(other.layers[key].up)
        for key in one.layers
    )


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    """A training that nothing interrupts: the library, and all its states."""
    folder = tmp_path_factory.mktemp("whole")
    trainings = Trainings(folder, device="cpu")
    first = trainings.start(_request(pairs))
    assert trainings.current == "glasses"
    with pytest.raises(UsageError, match="The training glasses is under way, and one is done at a"):
        trainings.start(_request(pairs, "hat"))
    with pytest.raises(UsageError, match="The training glasses is under way"):
        trainings.keep_pairs("glasses", [])
    seen = [first, *_wait(trainings, _ended)]
    assert trainings.current is None
    trainings.close()
    return folder, seen


def test_a_training(whole, pairs):
    folder, seen = whole
    assert list(dict.fromkeys(status.state for status in seen)) == ["starting", "running", "done"]
    assert (seen[0].step, seen[0].steps, seen[0].losses, seen[0].resumable) == (0, STEPS, (), False)
    running = [status for status in seen if _under_way(status)]
    assert all(a.seconds_left == (STEPS - a.step) * a.seconds_per_step for a in running)
    assert [status.step for status in running] == sorted(status.step for status in running)
    done = seen[-1]
    assert done == Trainings(folder).status("glasses")  # a studio that is started later
    assert (done.step, done.steps, done.seconds_left, done.message) == (STEPS, STEPS, None, "")
    lines = (folder / "runs" / "glasses" / "metrics.jsonl").read_text().splitlines()
    assert done.losses == tuple((n, json.loads(line)["semantic_loss"]) for n, line in
                                enumerate(lines, 1))  # fmt: skip
    assert [path.name for path in done.previews] == [f"step-0000{n:02}.png" for n in
                                                     range(5, STEPS + 1, 5)]  # fmt: skip
    assert done.command == shlex.join([
        "pairedit", "train", str(pairs), "--name", "glasses", "--library", str(folder), "--base",
        "mini", "--device", "cpu", *(w for s in SETTINGS for w in ("--set", s)), "--set",
        "checkpointing.preview_every=5",
    ])  # fmt: skip
    assert Edit.load(folder / "glasses.safetensors").info.steps == STEPS
    with pytest.raises(UsageError, match="The training glasses is done"):
        Trainings(folder).resume("glasses")
    with pytest.raises(UsageError, match=r"There is an edit glasses already. Choose another name"):
        Trainings(folder).start(_request(pairs))


def test_one_that_is_stopped_goes_on_in_a_shell_bit_for_bit(whole, trainings, pairs, tmp_path):
    trainings.start(_request(pairs))
    reached = _wait(trainings, _under_way)[-1].step
    stopped = trainings.stop("glasses")
    assert (stopped.state, stopped.resumable, stopped.message) == ("stopped", True, "")
    assert reached <= stopped.step < STEPS
    run = tmp_path / "edits" / "runs" / "glasses"
    assert step_of(Checkpoints(run / "checkpoints").newest()) == stopped.step
    assert trainings.stop("glasses") == stopped
    assert trainings.current is None
    program, *words = shlex.split(stopped.command)
    assert (program, words[-1]) == ("pairedit", "--resume")
    subprocess.run([sys.executable, "-m", "pairedit_sdk", *words, "-q"], check=True, cwd=ROOT)
    done = trainings.status("glasses")
    assert (done.state, done.step, done.resumable) == ("done", STEPS, False)
    assert done.losses == whole[1][-1].losses
    assert _same(tmp_path / "edits" / "glasses.safetensors", whole[0] / "glasses.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_one_whose_server_is_killed_ends_and_goes_on_bit_for_bit(whole, trainings, pairs, tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "edits"), str(pairs), *SETTINGS], cwd=ROOT
    )
    try:
        reached = _wait(trainings, _under_way)[-1].step
        with pytest.raises(UsageError, match="glasses was started in another process"):
            trainings.stop("glasses")
        with pytest.raises(UsageError, match="glasses is going on in another process"):
            trainings.resume("glasses")
    finally:
        server.kill()
        server.wait()
    record = TrainingRecord.read(tmp_path / "edits" / ".studio" / "trainings" / "glasses.json")
    assert record.request.pairs == pairs
    # It was not killed itself: it has written the checkpoint of the step that was under way.
    stopped = _wait(trainings, _ended)[-1]
    assert (stopped.state, stopped.resumable) == ("stopped", True)
    assert reached <= stopped.step < STEPS
    run = tmp_path / "edits" / "runs" / "glasses"
    assert step_of(Checkpoints(run / "checkpoints").newest()) == stopped.step
    going = trainings.resume("glasses")
    assert (going.state, going.step, going.losses) == ("starting", stopped.step, stopped.losses)
    done = _wait(trainings, _ended)[-1]
    assert (done.state, done.losses) == ("done", whole[1][-1].losses)
    assert _same(tmp_path / "edits" / "glasses.safetensors", whole[0] / "glasses.safetensors")
    assert len(done.previews) == 6


def test_one_that_fails_says_why(trainings, pairs, tmp_path):
    lone = trainings.keep_pairs("hat", [(pairs / "source/1.png", pairs / "target/1.png")])
    (lone / "target" / "1.png").unlink()
    trainings.start(_request(lone, "hat"))
    failed = _wait(trainings, _ended, "hat")[-1]
    assert (failed.state, failed.step, failed.resumable) == ("failed", 0, True)
    assert failed.message.startswith(
        f"Pairs folder '{lone}' has a problem: 'source/1.png' has no after picture. Expected two"
    )
    log = (tmp_path / "edits" / ".studio" / "trainings" / "hat.log").read_text()
    assert log == f"Error: {failed.message}\n"
    assert "--resume" not in failed.command  # it never had a run's folder
    assert [status.name for status in trainings.all()] == ["hat"]


# From here on: nothing is trained.


def _run(library, name, step=3, steps=3, **settings):
    """A run's folder, as a training in a shell leaves it."""
    run = library / "runs" / name
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / f"step-{step:06d}.safetensors").touch()
    (run / "config.json").write_text(json.dumps({"settings": {"steps": steps, **settings}}))
    lines = [{"step": n, "content_loss": 0.0, "semantic_loss": 1 / n, "seconds": 0.5}
             for n in range(1, step + 1)]  # fmt: skip
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_runs_of_a_shell_are_seen(trainings, library, tmp_path):
    trainings = Trainings(library)
    assert trainings.all() == []
    done = _run(library, "hat")
    (done / "edit.safetensors").touch()
    os.utime(done / "config.json", (1000, 1000))
    half = _run(library, "glasses", step=2, steps=4)
    os.utime(half / "config.json", (2000, 2000))
    (library / "runs" / "empty").mkdir()
    (library / "runs" / "no name").mkdir()
    found = trainings.all()
    assert [(s.name, s.state, s.step, s.started) for s in found] == [
        ("glasses", "stopped", 2, 2000.0), ("hat", "done", 3, 1000.0),
    ]  # fmt: skip
    assert [(s.command, s.resumable, s.seconds_left) for s in found] == [("", False, None)] * 2
    assert found[0].losses == ((1, 1.0), (2, 0.5))
    with pytest.raises(UsageError, match="The training glasses was not started from the studio"):
        trainings.resume("glasses")
    with run_lock(half):
        running = trainings.status("glasses")
        assert (running.state, running.seconds_left) == ("running", 1.0)
        with pytest.raises(UsageError, match="The training glasses was started in another process"):
            trainings.stop("glasses")


def _record(library, name="glasses", **values):
    """Write down that a training was started, as the studio does."""
    known = {"steps": 4, "started": time.time(), **values}
    request = TrainingRequest(name, library / "pairs", force=bool(values.get("found")))
    folder = library / ".studio" / "trainings"
    TrainingRecord(request, **known).write(folder / f"{name}.json")
    return folder / f"{name}.out"


def test_an_outcome_counts_until_the_run_goes_on(library):
    trainings = Trainings(library)
    out = _record(library)
    run = _run(library, "glasses", step=2, steps=4)
    out.write_text(json.dumps({"error": {"message": "The disk is full", "exit_status": 2}}))
    failed = trainings.status("glasses")
    assert (failed.state, failed.message) == ("failed", "The disk is full.")
    assert failed.command.endswith("--resume")
    later = time.time() + 10
    os.utime(run / "metrics.jsonl", (later, later))  # a shell has gone on with it
    assert (trainings.status("glasses").state, trainings.status("glasses").message) == (
        "stopped", "",
    )  # fmt: skip


def test_a_run_that_was_to_be_replaced_is_not_taken_for_the_new_one(library):
    trainings = Trainings(library)
    run = _run(library, "glasses")
    (library / "glasses.safetensors").touch()
    out = _record(library, found=(run / "config.json").stat().st_mtime_ns)
    out.write_text(json.dumps({"error": {"message": "Stopped", "exit_status": 143}}))
    status = trainings.status("glasses")
    assert (status.state, status.step, status.steps, status.losses) == ("stopped", 0, 4, ())
    assert status.command.endswith("--force")  # it has yet to replace the run
    os.utime(run / "config.json", (3000, 3000))  # now it has begun
    assert trainings.status("glasses").command.endswith("--resume")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "con", "-x", "x" * 65, "ä"])
def test_bad_names(trainings, pairs, tmp_path, name):
    for call in (
        lambda: trainings.start(_request(pairs, name)), lambda: trainings.status(name),
        lambda: trainings.resume(name), lambda: trainings.stop(name),
        lambda: trainings.keep_pairs(name, [(b"", b"")]),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="cannot be the name of an edit"):
            call()
    assert not (tmp_path / "edits").exists()


def test_what_cannot_begin_is_refused_before_its_pairs_are_kept(library):
    trainings = Trainings(library)
    _run(library, "hat")
    (library / "cap.safetensors").touch()
    trainings.require_startable("glasses")
    for name, said in (("hat", "a run of hat already"), ("cap", "an edit cap already")):
        with pytest.raises(UsageError, match=said):
            trainings.require_startable(name)
        trainings.require_startable(name, force=True)
    with pytest.raises(UsageError, match="cannot be the name"):
        trainings.require_startable("../hat", force=True)


def test_what_is_refused_before_a_process_starts(trainings, pairs, tmp_path):
    library = tmp_path / "edits"
    _run(library, "hat")
    for changed, kind, said in (
        ({"name": "hat"}, UsageError, "There is a run of hat already. Resume it"),
        ({"pairs": tmp_path / "no"}, InputError, f"Pairs folder '{tmp_path / 'no'}' does not exi"),
        ({"settings": ("stps=3",)}, UsageError, "unknown key 'stps'"),
        ({"settings": ("steps=0",)}, UsageError, "steps is 0, expected a whole number"),
    ):
        with pytest.raises(kind) as caught:
            trainings.start(_request(**{"pairs": pairs, **changed}))
        assert said in str(caught.value)
    with run_lock(library / "runs" / "hat"), pytest.raises(UsageError, match="in another process"):
        trainings.start(_request(pairs, "hat", force=True))
    with pytest.raises(UsageError, match=r"no training 'hut'.*Did you mean hat\?"):
        trainings.status("hut")
    assert trainings.current is None
    assert not (library / ".studio").exists()
    trainings.close()
    with pytest.raises(UsageError, match="The studio is ending"):
        trainings.start(_request(pairs))
