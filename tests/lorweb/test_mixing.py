"""A mix of a basis is a sum of updates; one without LoRAs is none and says nothing of it."""

import logging

import torch

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.mixing import Mix, beside, empty_router, side_by_side
from pairedit_sdk.lorweb.parts import BasisLayer


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_side_by_side_is_the_sum_of_all_updates():
    layer = BasisLayer(_random(3, 2, 5), _random(3, 7, 2, seed=1))
    one = side_by_side(layer)
    assert (one.down.shape, one.up.shape) == ((6, 5), (7, 6))
    wanted = sum(up @ down for up, down in zip(layer.up, layer.down, strict=True))
    assert torch.allclose(one.up @ one.down, wanted, atol=1e-5)
    # The components of the second LoRA stand third and fourth.
    assert torch.allclose(one.up[:, 2:4] @ one.down[2:4], layer.up[1] @ layer.down[1], atol=1e-5)
    twice = side_by_side(layer, 2 * layer.up)
    assert torch.allclose(twice.up @ twice.down, 2 * wanted, atol=1e-5)


def test_updates_beside_each_other_add_up():
    one = LoraLayer(_random(2, 5), _random(7, 2, seed=1))
    two = LoraLayer(_random(3, 5, seed=2).half(), _random(7, 3, seed=3).half())
    both = beside(one, two)
    wanted = one.up @ one.down + two.up.float() @ two.down.float()
    assert torch.allclose(both.up @ both.down, wanted, atol=1e-5)


def test_a_mix_without_layers_is_no_edit_that_does_nothing(tiny_model, caplog):
    with caplog.at_level(logging.WARNING, logger="pairedit_sdk"):
        Mix({}, EditInfo("mix")).require_base(tiny_model)
    assert not caplog.records
    assert isinstance(Mix({}, EditInfo("mix")), Edit)


def test_a_router_without_loras_mixes_nothing():
    router = empty_router(12)
    assert router.projection.shape[-1] == 12
    assert router.coefficients(_random(12)).shape == (1, 0)
    assert router.coefficients(_random(4, 1, 12)).shape == (4, 1, 0)
