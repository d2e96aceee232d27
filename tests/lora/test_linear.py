"""The layer computes what peft's does, and takes scales that peft's does not."""

import copy

import pytest
import torch
from torch import nn

from pairedit_sdk.lora.linear import LoraLinear, LoraState
from pairedit_sdk.models.precision import quantize_linears

IN, OUT, RANK = 64, 48, 4


def _loras(names=("a", "b"), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {
        name: (
            nn.Parameter(torch.randn(RANK, IN, generator=generator).to(dtype) * 0.1),
            nn.Parameter(torch.randn(OUT, RANK, generator=generator).to(dtype) * 0.1),
        )
        for name in names
    }


def _layer(base, loras, **scales):
    state = LoraState(active=tuple(loras), scales=scales)
    layer = LoraLinear(base, "layer", state)
    for name, (down, up) in loras.items():
        layer.add(name, down, up)
    return layer


def _peft(base, loras, **scales):
    from peft import LoraConfig, inject_adapter_in_model

    holder = nn.ModuleDict({"layer": copy.deepcopy(base)})
    for name in loras:
        config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["layer"])
        inject_adapter_in_model(config, holder, adapter_name=name)
    layer = holder["layer"]
    for name, (down, up) in loras.items():
        layer.lora_A[name].weight.data = down.detach().clone()
        layer.lora_B[name].weight.data = up.detach().clone()
        layer.scaling[name] = scales[name]
    layer.set_adapter(list(loras))
    return layer


@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute")
@pytest.mark.parametrize(
    ("precision", "dtype", "lora_dtype", "tolerance"),
    [
        ("fp32", torch.float32, torch.float32, 0.0),
        ("fp16", torch.float16, torch.float32, 0.0),
        ("bf16", torch.bfloat16, torch.float32, 0.02),  # products in bf16, as under autocast
        ("bf16", torch.bfloat16, torch.bfloat16, 0.02),
        ("nf4", torch.float32, torch.float32, 0.0),
        ("nf4", torch.bfloat16, torch.float32, 0.02),
        ("int8", torch.bfloat16, torch.float32, 0.02),
        ("int8", torch.float32, torch.float32, 0.0),
    ],
)
def test_output_and_gradients_are_those_of_peft(precision, dtype, lora_dtype, tolerance):
    torch.manual_seed(0)
    holder = nn.ModuleDict({"transformer_blocks": nn.ModuleDict({"0": nn.Linear(IN, OUT)})})
    holder = holder.to(dtype).requires_grad_(False)
    if precision in ("nf4", "int8"):
        quantize_linears(holder, precision, ("transformer_blocks.",))
    base = holder["transformer_blocks"]["0"]
    loras = _loras(dtype=lora_dtype)
    scales = {"a": 0.25, "b": -2.0}
    ours, theirs = _layer(base, loras, **scales), _peft(base, loras, **scales)
    x = torch.randn(3, 5, IN).to(dtype)
    out, expected = ours(x), theirs(x)
    assert out.dtype == expected.dtype == dtype
    torch.testing.assert_close(out, expected, atol=tolerance, rtol=tolerance)
    out.float().square().sum().backward()
    expected.float().square().sum().backward()
    for name, (down, up) in loras.items():
        for mine, weight in ((down, theirs.lora_A[name].weight), (up, theirs.lora_B[name].weight)):
            error = (mine.grad.float() - weight.grad.float()).norm() / weight.grad.float().norm()
            assert mine.grad.dtype == weight.grad.dtype
            assert error <= max(tolerance, 1e-5)


def test_a_scale_for_each_row_is_that_row_alone():
    base, loras = nn.Linear(IN, OUT).requires_grad_(False), _loras(("a",))
    x = torch.randn(3, 5, IN)
    rows = _layer(base, loras, a=torch.tensor([0.0, 0.5, -1.0]))(x)
    assert torch.equal(rows[0], base(x)[0])
    for row, scale in ((1, 0.5), (2, -1.0)):
        torch.testing.assert_close(rows[row], _layer(base, loras, a=scale)(x)[row])


def test_a_scale_for_each_component_mixes_a_basis():
    """ΔW = Σ_k e_k B_k A_k: what LoRWeB asks of a layer."""
    base, loras = nn.Linear(IN, OUT).requires_grad_(False), _loras(("a",))
    (down, up) = loras["a"]
    e = torch.rand(2, RANK)
    x = torch.randn(2, 5, IN)
    rows = _layer(base, loras, a=e)(x)
    for row in range(2):
        delta = up @ torch.diag(e[row]) @ down
        torch.testing.assert_close(rows[row], base(x)[row] + x[row] @ delta.T)


def test_a_layer_that_sees_one_vector_a_row_takes_the_same_scales():
    base, loras = nn.Linear(IN, OUT).requires_grad_(False), _loras(("a",))
    x = torch.randn(2, IN)
    scale = torch.tensor([1.0, 0.0])
    out = _layer(base, loras, a=scale)(x)
    assert torch.equal(out[1], base(x)[1])
    torch.testing.assert_close(out[0], _layer(base, loras, a=1.0)(x)[0])


def test_a_scale_by_layer_is_the_layers_own():
    base, loras = nn.Linear(IN, OUT).requires_grad_(False), _loras(("a",))
    x = torch.randn(2, IN)
    by_name = _layer(base, loras, a={"layer": 0.5, "another": 7.0})(x)
    assert torch.equal(by_name, _layer(base, loras, a=0.5)(x))


def test_a_lora_that_is_not_active_or_off_costs_and_changes_nothing():
    base, loras = nn.Linear(IN, OUT).requires_grad_(False), _loras(("a",))
    x = torch.randn(2, IN)
    off = _layer(base, loras, a=0.0)
    assert torch.equal(off(x), base(x))
    off._state.active = ()
    off._state.scales["a"] = 1.0
    assert torch.equal(off(x), base(x))
