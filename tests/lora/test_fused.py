"""In bf16 the LoRAs of a layer are computed together: the same sum, and the same gradients."""

import pytest
import torch
from torch import nn

from pairedit_sdk.lora.linear import LoraLinear, LoraState

IN, OUT, RANK, ROWS = 48, 40, 4, 4


@pytest.fixture
def halves():
    generator = torch.Generator().manual_seed(0)
    return {
        name: (
            nn.Parameter(torch.randn(RANK, IN, generator=generator) * 0.2),
            nn.Parameter(torch.randn(OUT, RANK, generator=generator) * 0.2),
        )
        for name in ("content", "semantic")
    }


def _layer(halves, dtype, **scales):
    """content, its frozen twin and semantic beside a layer of that dtype."""
    torch.manual_seed(1)
    base = nn.Linear(IN, OUT).to(torch.bfloat16).requires_grad_(False).to(dtype)
    names = ("content", "twin", "semantic")
    state = LoraState(active=names, scales=scales, twins={"twin": "content"})
    layer = LoraLinear(base, "layer", state)
    frozen = tuple(nn.Parameter(half.data, requires_grad=False) for half in halves["content"])
    for name, (down, up) in {**halves, "twin": frozen}.items():
        layer.add(name, down, up)
    return layer


#: As in a training step of two pairs: content rows, then rows with the twin and semantic LoRA.
SCALES = {
    "content": torch.tensor([1.0, 1.0, 0.0, 0.0]),
    "twin": torch.tensor([0.0, 0.0, 1.0, 1.0]),
    "semantic": torch.tensor([0.0, 0.0, 0.5, -1.0]),
}


def _passed(halves, dtype, x, **scales):
    x = x.to(dtype).requires_grad_(True)
    y = _layer(halves, dtype, **scales)(x)
    weight = torch.linspace(-1, 1, y.numel()).view(y.shape)
    (y.float() * weight).sum().backward()
    found = {"y": y.detach().float(), "x": x.grad.float()}
    for name, pair in halves.items():
        for kind, half in zip("AB", pair, strict=True):
            found[f"{name} {kind}"] = half.grad
            half.grad = None
    return found


@pytest.mark.parametrize("shape", [(ROWS, 5, IN), (ROWS, IN)])
def test_output_and_gradients_are_those_of_each_lora_by_itself(halves, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2)).bfloat16()
    one_by_one = _passed(halves, torch.float32, x, **SCALES)
    together = _passed(halves, torch.bfloat16, x, **SCALES)
    for name, expected in one_by_one.items():
        assert together[name].dtype == torch.float32
        assert (together[name] - expected).norm() < 0.01 * expected.norm(), name


def test_rows_of_a_twin_give_no_gradient(halves):
    x = torch.randn(ROWS, 5, IN).bfloat16()
    found = _passed(halves, torch.bfloat16, x, content=0.0, twin=1.0, semantic=0.0)
    assert not found["content A"].any()
    assert not found["content B"].any()
    as_content = _passed(halves, torch.bfloat16, x, content=1.0, twin=0.0, semantic=0.0)
    assert torch.equal(as_content["y"], found["y"])
    assert as_content["content B"].any()


def test_a_change_in_place_is_seen_in_the_next_pass(halves):
    layer = _layer(halves, torch.bfloat16)
    x = torch.randn(1, 5, IN).bfloat16()
    before = layer(x)
    with torch.no_grad():
        halves["semantic"][1].zero_()
    changed = layer(x)
    assert not torch.equal(changed, before)
    expected = (
        layer.base_layer(x)
        + 2 * (x @ halves["content"][0].bfloat16().T) @ halves["content"][1].bfloat16().T
    )
    torch.testing.assert_close(changed, expected, atol=0.03, rtol=0.03)


def test_a_change_that_torch_does_not_see_is_seen_after_new_scales(halves):
    """bitsandbytes' optimisers write into parameters behind torch's back."""
    layer = _layer(halves, torch.bfloat16)
    layer._state.layers["layer"] = layer
    x = torch.randn(1, 5, IN).bfloat16()
    layer(x)
    version = halves["semantic"][1]._version
    halves["semantic"][1].data.numpy()[:] = 0
    assert halves["semantic"][1]._version == version
    layer._state.changed()
    assert torch.equal(layer(x), _layer(halves, torch.bfloat16)(x))
