"""The loop around a training, with the smallest task there is: two numbers that become 1."""

import json
import signal
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from pairedit_sdk.errors import OtherRunError, TrainingError, UsageError
from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.training.interrupts import Terminated
from pairedit_sdk.training.loop import learning_rate, training_loop
from pairedit_sdk.training.run_folder import read_settings
from pairedit_sdk.training.settings import TrainingSettings
from pairedit_sdk.training.task import Task

SETTINGS = TrainingSettings(steps=6, batch=3, accumulate=2, lr=0.1, checkpoint_every=2)


@dataclass(frozen=True)
class Info:
    step: int
    steps: int
    loss: float
    lr: float
    seconds: float


class Two(Task):
    info = Info

    def __init__(self, settings, data="these"):
        self.settings, self.data, self.elements = settings, data, 2
        self.base = base()
        self.parameters = {"x": torch.nn.Parameter(torch.zeros(2))}

    def losses(self, draw, rows):
        for row in rows:
            generator = torch.Generator().manual_seed(derive_seed(self.settings.seed, draw, row))
            aim = 1 + 0.1 * torch.randn(2, generator=generator)
            error = (self.parameters["x"] - aim).square().mean()
            yield {"loss": error / self.settings.batch}

    def digest(self):
        return self.data

    def preview(self):
        return Image.new("RGB", (8, 8))


def base():
    return SimpleNamespace(
        device=torch.device("cpu"), dtype=torch.float32, transformer=torch.nn.Identity(),
        fingerprint="f", precision="fp32", set_gradient_checkpointing=lambda on: None,
    )  # fmt: skip


def run(settings, folder=None, *, task=None, on_step=None, **how):
    task = task or Two(settings)
    with training_loop(task.base, settings, name="two", run_dir=folder, **how) as loop:
        loop.run(task, on_step)
    return task.parameters["x"].detach()


def stop_at(step):
    def stop(info):
        if info.step == step:
            raise RuntimeError("stopped")

    return stop


def test_a_task_is_trained_and_its_run_kept(tmp_path):
    settings = SETTINGS.with_values(preview_every=3, keep=5)
    told = []
    run(settings, tmp_path, on_step=told.append)
    assert [info.step for info in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].loss < told[0].loss
    there = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert there == {
        "config.json", "metrics.jsonl", "run.lock",
        *(f"checkpoints/step-00000{k}.safetensors" for k in (2, 4, 6)),
        *(f"previews/step-00000{k}.png" for k in (3, 6)),
    }  # fmt: skip
    assert TrainingSettings(**read_settings(tmp_path / "config.json")) == settings
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [info.loss for info in told]


def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path):
    whole = run(SETTINGS)
    with pytest.raises(RuntimeError, match="stopped"):
        run(SETTINGS, tmp_path, on_step=stop_at(3))
    with (tmp_path / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 4, "lo')  # cut short by a kill
    with pytest.raises(UsageError, match="already holds a run, at step 2"):
        run(SETTINGS, tmp_path)
    assert torch.equal(run(SETTINGS, tmp_path, resume=True), whole)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_only_what_changes_no_step_may_differ_on_resuming(tmp_path):
    run(SETTINGS, tmp_path)
    with pytest.raises(OtherRunError, match=r"lr was 0\.1, now 0\.2"):
        run(SETTINGS.with_values(lr=0.2), tmp_path, resume=True)
    with pytest.raises(OtherRunError, match="was on other pictures"):
        run(SETTINGS, tmp_path, task=Two(SETTINGS, "those"), resume=True)
    longer = SETTINGS.with_values(steps=8, checkpoint_every=0, preview_every=8)
    assert torch.equal(run(longer, tmp_path, resume=True), run(longer))


def test_force_begins_anew(tmp_path):
    run(SETTINGS, tmp_path)
    other = SETTINGS.with_values(lr=0.2, steps=1)
    assert torch.equal(run(other, tmp_path, force=True), run(other))
    assert [p.stem for p in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]


@pytest.mark.parametrize(("loss", "said"), [(float("nan"), "not a finite number"), (7.0, "7")])
def test_a_loss_beyond_the_task_s_limit_ends_the_training(loss, said):
    task = Two(SETTINGS)
    task.limit = 5.0
    task.losses = lambda draw, rows: iter([{"loss": task.parameters["x"].sum() + loss}])
    with pytest.raises(TrainingError, match=rf"loss of step 1 is {said}.*\(it is 0\.1\)"):
        run(SETTINGS, task=task)


def test_gradients_are_cut_to_the_task_s_norm():
    task = Two(SETTINGS)
    task.gradient_norm = 1e-3
    run(SETTINGS.with_values(steps=1), task=task)
    assert float(task.parameters["x"].grad.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_cosine_schedule_falls_to_zero():
    cosine = SETTINGS.with_values(lr_schedule="cosine")
    rates = [learning_rate(cosine, step) for step in range(7)]
    assert rates[0] == 0.1
    assert rates[3] == pytest.approx(0.05)
    assert rates[6] == pytest.approx(0, abs=1e-9)
    assert {learning_rate(SETTINGS, step) for step in range(7)} == {0.1}


def test_sigterm_ends_the_step_and_leaves_a_checkpoint(tmp_path):
    def terminate(info):
        if info.step == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Terminated):
        run(SETTINGS, tmp_path, on_step=terminate)
    assert sorted(p.stem[-1] for p in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]
    assert torch.equal(run(SETTINGS, tmp_path, resume=True), run(SETTINGS))
