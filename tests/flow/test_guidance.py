"""Classifier-free guidance: the formula, and the norms that some models keep."""

import torch

from pairedit_sdk.flow.guidance import classifier_free, with_token_norms
from pairedit_sdk.models.tokens import pack


def _velocities(channels=3, height=4, width=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, channels, height, width, generator=generator).unbind()


def test_it_goes_from_the_unconditional_one_past_the_conditional_one():
    told, untold = torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 1.0]])
    assert classifier_free(told, untold, 4).tolist() == [[9.0, -7.0]]
    assert torch.equal(classifier_free(told, untold, 1), told)
    assert torch.equal(classifier_free(told, untold, 0), untold)
    # c + g (c − u), as Z-Image writes it, has g = s − 1.
    assert torch.equal(classifier_free(told, untold, 4), told + 3 * (told - untold))


def test_it_is_computed_in_float32():
    told, untold = (v.bfloat16() for v in _velocities())
    found = classifier_free(told, untold, 4)
    assert found.dtype == torch.float32
    assert torch.equal(found, classifier_free(told.float(), untold.float(), 4))


def test_the_norm_of_every_token_is_the_other_ones():
    velocity, like = _velocities()
    found = with_token_norms(velocity, like, 2)
    assert torch.allclose(pack(found).norm(dim=-1), pack(like).norm(dim=-1), atol=1e-6)
    # As Qwen-Image does it, on packed tokens; the directions stay.
    tokens = pack(velocity)
    expected = tokens * (pack(like).norm(dim=-1, keepdim=True) / tokens.norm(dim=-1, keepdim=True))
    assert torch.allclose(pack(found), expected, atol=1e-6)
    assert torch.allclose(with_token_norms(5 * velocity, like, 2), found, atol=1e-6)
    assert torch.allclose(with_token_norms(like, like, 2), like, atol=1e-6)


def test_tokens_may_be_single_latents():
    velocity, like = _velocities(height=3, width=5)
    found = with_token_norms(velocity, like, 1)
    assert torch.allclose(found.norm(dim=1), like.norm(dim=1), atol=1e-6)


def test_a_token_of_zeros_stays_zero():
    velocity, like = _velocities()
    velocity[:, :, :2, :2] = 0
    found = with_token_norms(velocity, like, 2)
    assert found.isfinite().all()
    assert not found[:, :, :2, :2].any()
    like[:, :, :2, 2:4] = 0
    assert not with_token_norms(velocity, like, 2)[:, :, :2, 2:4].any()
