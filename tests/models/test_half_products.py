"""Products in bfloat16."""

import pytest
import torch
from torch import nn

from pairedit_sdk.models import half_products as products
from pairedit_sdk.models.half_products import half_products


@pytest.mark.parametrize("supported", [True, False])
def test_products_in_half_precision_are_close_and_only_for_a_while(monkeypatch, supported):
    monkeypatch.setattr(products.torch.cpu, "get_capabilities", lambda: {"avx512_bf16": supported})
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 8, bias=False))
    x = torch.randn(5, 64)
    exact = module(x)
    with half_products(module, "cpu"):
        half = module(x)
        half.sum().backward()
    assert half.dtype == torch.float32
    assert torch.equal(half, exact) != supported
    assert torch.allclose(half, exact, atol=0.03)
    assert module[0].weight.grad.dtype == torch.float32
    assert torch.equal(module(x), exact)
