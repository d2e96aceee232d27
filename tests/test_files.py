"""Files are whole or not there, and the same content gives the same bytes."""

import pytest
import torch

from pairedit_sdk.files import (
    atomic_write,
    load_optimizer_tensors,
    optimizer_tensors,
    read_tensors,
    write_json,
    write_tensors,
)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"k": 1})

    def fail(part):
        part.write_text("half", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_text(encoding="utf-8") == '{\n  "k": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_and_metadata_come_back_and_the_bytes_are_the_same(tmp_path):
    tensors = {"b": torch.arange(6.0).view(2, 3).T, "a": torch.ones(2, dtype=torch.bfloat16)}
    metadata = {f"key{k}": f"wért{k}" for k in range(12)}
    files = [write_tensors(tmp_path / f"{k}.safetensors", tensors, metadata) for k in range(4)]
    assert len({file.read_bytes() for file in files}) == 1
    read, header = read_tensors(files[0])
    assert header == {"format": "pt", **metadata}
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_an_optimisers_state_survives_bit_for_bit():
    def made():
        torch.manual_seed(0)
        parameters = {
            "w": torch.nn.Parameter(torch.randn(3)),
            "v": torch.nn.Parameter(torch.ones(2)),
        }
        return parameters, torch.optim.AdamW(parameters.values(), lr=0.1)

    def step(parameters, optimizer, k):
        optimizer.zero_grad()
        sum(((p - k) ** 2).sum() for p in parameters.values()).backward()
        optimizer.step()

    one, first = made()
    for k in range(3):
        step(one, first, k)
    flat = optimizer_tensors(first, {id(p): n for n, p in one.items()})
    two, second = made()
    with torch.no_grad():
        for name, parameter in two.items():
            parameter.copy_(one[name])
    load_optimizer_tensors(second, two, flat)
    for k in range(3):
        step(one, first, k)
        step(two, second, k)
    assert all(torch.equal(one[name], two[name]) for name in one)
