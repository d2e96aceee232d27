"""Passes on the meta device: what would be alive at once, and how much is computed."""

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pairedit_sdk.estimates.passes import measured

META = torch.device("meta")


def test_a_product_takes_its_result_and_two_operations_a_term():
    left, right = torch.empty(8, 16, device=META), torch.empty(16, 4, device=META)
    found = measured(lambda: left @ right, [left, right])
    assert found.peak == 8 * 4 * 4
    assert found.flops == 2 * 8 * 16 * 4


def test_what_is_let_go_is_not_counted_and_views_cost_nothing():
    x = torch.empty(100, device=META)

    def work():
        for _ in range(5):
            y = (x + 1).view(10, 10).T
            del y

    assert measured(work, [x]).peak == 400


def test_what_backward_needs_is_kept_until_it_was_used():
    x = torch.empty(100, device=META, requires_grad=True)

    def work(steps):
        y = x
        for _ in range(steps):
            y = y.sin()
        torch.autograd.backward([y.sum()])

    small, large = (measured(lambda n=n: work(n), [x]).peak for n in (4, 8))
    assert large - small == 4 * 400


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_attention_takes_no_matrix_of_all_pairs_of_tokens(backward, masked):
    def peak(tokens):
        mask = torch.empty(1, 1, tokens, tokens, device=META) if masked else None
        q, k, v = (
            torch.empty(1, 2, tokens, 16, device=META, requires_grad=backward) for _ in range(3)
        )

        def work():
            out = functional.scaled_dot_product_attention(q, k, v, mask)
            if backward:
                torch.autograd.backward([out.sum()])

        return measured(work, [q, k, v] if mask is None else [q, k, v, mask])

    one, two = peak(256), peak(512)
    assert two.peak < 2.1 * one.peak
    assert two.flops == 4 * one.flops > 0
    assert functional.scaled_dot_product_attention.__name__ == "scaled_dot_product_attention"


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_a_mask_of_the_text_costs_no_matrix_for_every_head(backward, dtype):
    def peak(heads, mask):
        q, k, v = (
            torch.empty(2, heads, 512, 8 // heads, device=META, requires_grad=backward)
            for _ in range(3)
        )

        def work():
            given = None if mask is None else mask.to(dtype)
            out = functional.scaled_dot_product_attention(q, k, v, given)
            if backward:
                torch.autograd.backward([out.sum()])

        return measured(work, [q, k, v])

    mask = torch.empty(2, 1, 1, 512, device=META)
    plain, masked, many = peak(1, None), peak(1, mask), peak(8, mask)
    assert masked.flops == plain.flops == many.flops > 0
    matrix = 2 * 512 * 512 * 4
    assert masked.peak < plain.peak + matrix / 8
    assert many.peak < masked.peak + matrix / 8


def test_checkpointing_saves_memory_and_costs_arithmetic():
    layers = [
        torch.nn.Sequential(
            *(m for _ in range(4) for m in (torch.nn.Linear(64, 64), torch.nn.GELU()))
        )
        for _ in range(8)
    ]
    for layer in layers:
        layer.to(META).requires_grad_(False)
    x = torch.empty(512, 64, device=META, requires_grad=True)

    def work(again):
        y = x
        for layer in layers:
            y = checkpoint(layer, y, use_reentrant=False) if again else layer(y)
        torch.autograd.backward([y.sum()])

    known = [x, *(p for layer in layers for p in layer.parameters())]
    kept, again = (measured(lambda a=a: work(a), known) for a in (False, True))
    assert again.peak < 0.6 * kept.peak
    assert again.flops == pytest.approx(1.5 * kept.flops, rel=0.05)


def test_the_same_pass_takes_as_much_on_a_real_device():
    x = torch.randn(64, 32, requires_grad=True)
    w = torch.randn(32, 32)

    def work(x, w):
        torch.autograd.backward([(x @ w).tanh().square().sum()])

    real = measured(lambda: work(x, w), [x, w])
    far = [t.detach().to(META).requires_grad_(t.requires_grad) for t in (x, w)]
    assert measured(lambda: work(*far), far) == real
