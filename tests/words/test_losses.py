"""The flow loss of a phrase: weights, and rows that share a pass."""

import pytest
import torch

from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.pairs.latents import PairLatents
from pairedit_sdk.words.losses import LEVELS, Asked, change_weight, pair_losses


@pytest.fixture(scope="module")
def model(tiny_kontext_folder):
    return load_model(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def pair(model):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, *model.latent_shape(64, 64), generator=generator)
    return PairLatents("p", x[:1], x[1:])


def test_the_weight_is_larger_where_the_pair_differs():
    x_a = torch.zeros(1, 3, 2, 2)
    x_b = x_a.clone()
    x_b[..., 0, 0] = 1
    weight = change_weight(x_a, x_b)
    assert weight.mean() == pytest.approx(1)
    assert torch.allclose(weight.flatten() / weight[0, 0, 1, 1], torch.tensor([17.0, 1, 1, 1]))
    x_b[..., 0, 0] = 100  # only where it is, not how much, counts
    assert torch.allclose(change_weight(x_a, x_b), weight)
    assert torch.equal(change_weight(x_a, x_a), torch.ones(1, 1, 2, 2))


def test_questions_that_share_passes_are_answered_as_each_alone(model, pair):
    texts = ["", "add a hat", "remove the hat", "add glasses", "make the hair red"]
    conditions = {text: model.condition(text) for text in texts}
    questions = [Asked(text, pair.x_a) for text in texts] + [Asked("", pair.x_b)]
    terms = pair_losses(model, pair, questions, conditions, guidance=2.5, seed=3)
    assert (terms.shape, terms.dtype) == ((6, 3), torch.float64)
    one = pair_losses(model, pair, questions, conditions, [0.7], guidance=2.5, seed=3)
    assert torch.allclose(one[:, 0], terms[:, LEVELS.index(0.7)], rtol=1e-4)
    found = terms.sum(dim=1)
    for asked, loss in zip(questions, found, strict=True):
        alone = 0.0
        for k, level in enumerate(LEVELS):
            generator = torch.Generator().manual_seed(derive_seed(3, k))
            noise = torch.randn(pair.x_b.shape, generator=generator)
            state = (1 - level) * pair.x_b + level * noise
            seen = model.looking_at(asked.text, [asked.reference])
            v = model.velocity(state, torch.tensor(level), seen, 2.5)
            error = (v - (noise - pair.x_b)).square() * change_weight(pair.x_a, pair.x_b)
            alone += level**2 * float(error.mean())
        assert float(loss) == pytest.approx(alone, rel=1e-4)
    assert len(set(found.tolist())) == len(questions)
