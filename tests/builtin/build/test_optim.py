"""Muon for many matrices at once, as a GPU takes it."""

import pytest
import torch
from torch import nn

from pairedit_sdk.builtin.build.optim import BatchedMuon, optimizers

SHAPES = [(24, 8), (8, 24), (24, 8), (16, 16), (24, 8)]


def _trained(kind, steps):
    generator = torch.Generator().manual_seed(0)
    matrices = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    unused = nn.Parameter(torch.ones(4, 4))
    optimizer = kind(
        [*matrices, unused], lr=0.1, weight_decay=0.3, momentum=0.95, ns_steps=4,
        adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    for _ in range(steps):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()
    assert torch.equal(unused, torch.ones(4, 4))
    return matrices, optimizer


def test_it_steps_as_torchs_own():
    start, _ = _trained(torch.optim.Muon, 0)
    expected, one = _trained(torch.optim.Muon, 3)
    got, many = _trained(BatchedMuon, 3)
    for before, after, same in zip(start, expected, got, strict=True):
        way = (after - before).norm()
        assert way > 0.1
        assert (same - after).norm() < 0.02 * way  # both multiply in bfloat16
        # A checkpoint of the one can be resumed with the other.
        assert one.state[after].keys() == many.state[same].keys() == {"momentum_buffer"}
        buffers = (o.state[p]["momentum_buffer"] for o, p in ((one, after), (many, same)))
        torch.testing.assert_close(*buffers)


@pytest.mark.parametrize(("device", "kind"), [("cpu", torch.optim.Muon), ("meta", BatchedMuon)])
def test_the_cpu_keeps_torchs_own(device, kind):
    parameters = {"a.weight": nn.Parameter(torch.empty(4, 4, device=device))}
    (muon, _), (adamw, _) = optimizers(
        parameters | {"a.bias": nn.Parameter(torch.empty(4, device=device))}, 1e-3, 2e-3, 0.01
    )
    assert type(muon) is kind
    assert type(adamw) is torch.optim.AdamW
