"""The benchmark that a GPU is measured with, on a tiny shape and this CPU."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pairedit_sdk.bench import shape
from pairedit_sdk.bench import shape_works as works
from pairedit_sdk.bench.timing import alternated
from pairedit_sdk.cli.app import app
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.adapters import lora_layers
from pairedit_sdk.models.folders import shape_folder
from pairedit_sdk.models.random_weights import random_model
from pairedit_sdk.training.config import load_recipe

TASKS = {
    "ceiling", "step, bf16", "step, bf16, checkpointing", "step, nf4, checkpointing, 8-bit AdamW",
    "step, int8", "step, nf4", "default step, bf16, checkpointing", "picture, 5 steps × 2 noises",
    "picture, 28 steps", "basis, 32 × rank 4", "autoencoder", "compile: pass of 4 rows",
    "compile: step, bf16",
}  # fmt: skip


# torch.compile looks at gradients that are not there, and torch warns of that.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
# It warns of Python 3.13.0 alone, which is slower at it than 3.13.1.
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
def test_every_row_is_measured_on_a_cpu(tmp_path, capsys):
    """The very command that is run on a GPU, but for its shape and device."""
    out = tmp_path / "speed.json"
    words = ["bench", "speed", "--shape", "tiny", "--small", "--json", "--device", "cpu"]
    assert app([*words, "-o", str(out)], standalone_mode=False) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["task"] for row in result["rows"]} == TASKS
    failed = {row["task"]: row["reason"] for row in result["rows"] if "reason" in row}
    if shutil.which("g++") is None:  # torch.compile needs a compiler on a CPU
        failed = {task: said for task, said in failed.items() if not task.startswith("compile")}
    assert failed == {}
    assert json.loads(out.read_text()) == result
    ways = {(row["task"], row["way"]): row for row in result["rows"] if "way" in row}
    for task in ("step, bf16", "step, int8", "step, nf4"):
        naive, ours = ways[task, "naive"], ways[task, "ours"]
        assert naive["flops"] > ours["flops"] > 0  # it encodes both pictures in every step
        assert ours["times_as_fast"] == pytest.approx(naive["seconds"] / ours["seconds"])
        assert ours["estimated_bytes"] > 0
        assert 0 < ours["share_of_ceiling"] < 1


def test_what_fails_is_a_row_with_its_reason_and_the_rest_goes_on(monkeypatch):
    def fails(*_, **__):
        raise torch.OutOfMemoryError("there is no more")

    def is_broken(*_, **__):
        raise ValueError("a kernel is missing\nand more lines")

    monkeypatch.setattr(shape.Bench, "step", fails)
    monkeypatch.setattr(shape.Bench, "default_step", is_broken)
    for left in ("_compiled", "picture", "mixed_basis"):
        monkeypatch.setattr(shape.Bench, left, lambda *_, **__: [])
    rows = shape.run("tiny", device="cpu", repetitions=1)["rows"]
    reasons = {row["task"]: row.get("reason") for row in rows}
    assert reasons["step, bf16"] == "out of memory"
    assert reasons["default step, bf16, checkpointing"] == "ValueError: a kernel is missing"
    assert reasons["autoencoder"] is None


def test_nothing_more_is_tried_on_a_device_that_no_longer_answers(monkeypatch, tmp_path):
    monkeypatch.setattr(shape.Bench, "ceilings", lambda *_: [{"task": "ceiling"}])
    monkeypatch.setattr(shape.Bench, "clean", lambda _: False)
    out = tmp_path / "speed.json"
    rows = shape.run("tiny", device="cpu", out=out)["rows"]
    assert rows[0] == {"task": "ceiling"}
    assert len(rows) == shape.TASKS
    assert all("the device failed" in row["reason"] for row in rows[1:])
    assert json.loads(out.read_text())["rows"] == rows


def test_a_model_larger_than_the_free_memory_is_refused(monkeypatch):
    little = SimpleNamespace(available=2e9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: little)
    with pytest.raises(UsageError, match=r"FLUX\.1-dev takes 23\.8 GB, and 2\.0 GB.*--shape tiny"):
        shape.run("FLUX.1-dev", device="cpu")


def test_a_time_budget_leaves_out_what_comes_last(monkeypatch):
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(shape.time, "monotonic", lambda: float(next(clock)))
    for name in ("ceilings", "step", "picture", "default_step", "mixed_basis", "autoencoder"):
        monkeypatch.setattr(shape.Bench, name, lambda *_: [{"task": "done"}])
    rows = shape.run("tiny", device="cpu", minutes=4)["rows"]
    done = [row["task"] == "done" for row in rows]
    assert len(done) == shape.TASKS
    assert done == sorted(done, reverse=True)
    assert 1 < sum(done) < len(done)
    assert all("4 minutes" in row["reason"] for row in rows if row["task"] != "done")


def test_a_shape_is_known_by_its_hub_id_or_the_end_of_it():
    assert shape_folder("FLUX.1-dev") == shape_folder("black-forest-labs/FLUX.1-dev")
    assert shape_folder("klein-4b").name == "FLUX.2-klein-4B"
    with pytest.raises(UsageError, match=r"no shape 'FLUX\.1-def'.*Did you mean FLUX\.1-dev"):
        shape_folder("FLUX.1-def")
    with pytest.raises(UsageError, match="no shape"):
        shape_folder("someone-else/FLUX.1-dev")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "nf4", "int8"])
def test_random_weights_give_finite_velocities_in_every_precision(precision):
    base = random_model(shape_folder("tiny"), device="cpu", precision=precision)
    x = torch.randn(1, *base.latent_shape(64, 64))
    with torch.no_grad():
        v = base.velocity(x, torch.tensor(0.5), base.condition(""), 3.5)
    assert v.shape == x.shape
    assert v.isfinite().all()
    assert not any(p.is_meta for p in [*base.transformer.parameters(), *base.vae.parameters()])


def test_ours_and_the_naive_loop_leave_the_model_as_it_was():
    base = random_model(shape_folder("tiny"), device="cpu")
    config = replace(load_recipe("published"), rank=4, resolution=64)
    pairs = works.pairs_of(64)
    times = alternated(
        {name: make(base, pairs, config) for name, make in
         {"naive": works.naive_step, "ours": works.our_step}.items()},
        base.device, 1,
    )  # fmt: skip
    assert set(times) == {"naive", "ours"}
    assert all(t.least <= t.seconds <= t.most and t.peak is None for t in times.values())
    assert list(lora_layers(base.transformer)) == []
