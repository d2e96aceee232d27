"""Checkpoints: which is the newest, which are kept, and what is said of one that cannot be used."""

import json

import pytest
import torch

from pairedit_sdk.errors import RunFileError, UsageError
from pairedit_sdk.io.files import read_tensors, write_tensors
from pairedit_sdk.training.checkpoints import Checkpoints, read_parameters, read_state


def _made(folder, *steps, fidelities=()):
    """Checkpoints of a training of two numbers."""
    saved = Checkpoints(folder / "checkpoints")
    saved.data = "these"
    parameters = {"content/x": torch.nn.Parameter(torch.zeros(2))}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    for number, step in enumerate(steps):
        parameters["content/x"].grad = torch.ones(2)
        optimizer.step()
        known = fidelities[number] if fidelities else None
        saved.save(step, parameters, optimizer, known)
    return saved, parameters, optimizer


def _with_state(path, **changes):
    tensors, header = read_tensors(path)
    state = {**json.loads(header["state"]), **changes}
    write_tensors(path, tensors, {"state": json.dumps(state)})


def test_the_newest_is_the_one_of_the_most_steps(tmp_path):
    saved, *_ = _made(tmp_path, 999_999, 1_000_000)
    (tmp_path / "checkpoints" / "step-last.safetensors").touch()
    assert saved.newest().stem == "step-1000000"
    assert [one.step for one in saved.saved()] == [999_999, 1_000_000]


def test_an_old_one_that_is_damaged_does_not_stop_the_run(tmp_path):
    saved, parameters, optimizer = _made(tmp_path, 1, 2, fidelities=(0.9, 0.5))
    (tmp_path / "checkpoints" / "step-000001.safetensors").write_bytes(b"")
    saved.save(3, parameters, optimizer, 0.1)
    saved.save(4, parameters, optimizer, 0.2)
    assert [p.stem[-1] for p in sorted((tmp_path / "checkpoints").iterdir())] == ["2", "3", "4"]


def test_another_version_is_refused_with_the_command_that_begins_anew(tmp_path):
    saved, parameters, optimizer = _made(tmp_path, 1)
    path = saved.newest()
    _with_state(path, schema=0)
    for read in (
        lambda: saved.restore(parameters, optimizer, 5), lambda: read_state(path),
        lambda: read_parameters(path), saved.saved,
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            read()
        assert str(caught.value) == (
            f"Checkpoint {path} was written by another version of this SDK. Expected schema 1. Got "
            "schema 0. Begin again with the same `pairedit train` and --force in place of "
            "--resume, or install the version that wrote it."
        )


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:50]),
        lambda path: write_tensors(path, {"x": torch.zeros(1)}),
        lambda path: write_tensors(path, {"x": torch.zeros(1)}, {"state": "[" * 100_000}),
        lambda path: _with_state(path, step="many"),
        lambda path: write_tensors(path, {}, read_tensors(path)[1]),
        lambda path: write_tensors(
            path, {**read_tensors(path)[0], "parameter/content/x": torch.zeros(3)},
            read_tensors(path)[1],
        ),
    ],
)  # fmt: skip
def test_a_damaged_one_is_named_and_changes_nothing(tmp_path, damage):
    saved, parameters, optimizer = _made(tmp_path, 1)
    before = parameters["content/x"].detach().clone()
    damage(saved.newest())
    with pytest.raises(RunFileError, match=r"step-000001\.safetensors is damaged\. Delete it"):
        saved.restore(parameters, optimizer, 5)
    assert torch.equal(parameters["content/x"], before)
