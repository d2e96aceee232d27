"""Compression is the truncated SVD of every update, and says truly what it loses."""

import pytest
import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.compression import compressed
from pairedit_sdk.lora.layers import LoraLayer


def _lora(rank, out=12, into=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return LoraLayer(
        torch.randn(rank, into, generator=generator), torch.randn(out, rank, generator=generator)
    )


def test_it_is_the_truncated_svd_and_its_error():
    layers = {"one": _lora(6), "two": _lora(5, seed=1)}
    result, error = compressed(layers, 2)
    lost = total = 0.0
    for name, layer in layers.items():
        update = (layer.up @ layer.down).double()
        u, s, v = torch.linalg.svd(update, full_matrices=False)
        best = (u[:, :2] * s[:2]) @ v[:2]
        assert result[name].rank == 2
        assert torch.allclose((result[name].up @ result[name].down).double(), best, atol=1e-5)
        lost += float((update - best).square().sum())
        total += float(update.square().sum())
    assert error == pytest.approx((lost / total) ** 0.5, rel=1e-6)


def test_what_fits_is_kept_exactly():
    layers = {"wide": _lora(6), "narrow": _lora(2)}
    result, error = compressed(layers, 6)
    assert error == 0
    assert result["wide"] is layers["wide"]
    twice = LoraLayer(
        torch.cat([layers["narrow"].down] * 2), torch.cat([layers["narrow"].up] * 2, dim=1)
    )
    result, error = compressed({"twice": twice}, 2)  # its true rank is 2
    assert error == pytest.approx(0, abs=1e-7)
    assert torch.allclose(
        result["twice"].up @ result["twice"].down, twice.up @ twice.down, atol=1e-5
    )


def test_a_lora_of_zeros_loses_nothing():
    zero = LoraLayer(torch.zeros(4, 6), torch.zeros(5, 4))
    result, error = compressed({"zero": zero}, 1)
    assert error == 0
    assert not (result["zero"].up @ result["zero"].down).any()


def test_a_rank_of_nothing_is_refused():
    with pytest.raises(UsageError, match="The rank 0 cannot be used"):
        compressed({"one": _lora(2)}, 0)
