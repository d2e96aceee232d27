"""The flow loss of a phrase: weights, and rows that share a pass."""

import pytest
import torch

from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.pairs.latents import PairLatents
from pairedit_sdk.words import losses
from pairedit_sdk.words.losses import (
    LEVELS,
    Asked,
    change_weight,
    conditions_of,
    pair_losses,
    rows_at_once,
)


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


def test_embeddings_go_to_where_the_pictures_are():
    """Those that come from disk are on the CPU, whatever the model is on."""
    told = {
        text: Condition(torch.ones(1, 3, 4), {"pooled": torch.ones(1, 5)}) for text in ("a", "b")
    }
    asked = [Asked(text, torch.ones(1, 2, 4, 4, device="meta")) for text in told]
    found = conditions_of(asked, told, 3)
    every = (found.prompt_embeds, found.extras["pooled"], *found.references)
    assert [one.device.type for one in every] == ["meta"] * 3
    assert [tuple(one.shape) for one in every] == [(6, 3, 4), (6, 5), (6, 2, 4, 4)]


@pytest.mark.parametrize(
    ("side", "rows"),
    [(16, 12), (32, 12), (64, 4), (128, 1), (256, 1)],  # 128, 256 … 1024, 2048 pixels
)
def test_a_pass_has_room_for_so_many_rows(tiny_model, side, rows):
    x = torch.zeros(1, 1, side, side)
    assert rows_at_once(tiny_model, x, x, x) == rows
    assert rows_at_once(tiny_model, x) >= rows


@pytest.mark.parametrize("tokens", [128, 32])
def test_small_passes_give_the_same_losses(model, pair, monkeypatch, tokens):
    rows = []
    velocity = type(model).velocity

    def counted(self, states, *rest):
        rows.append(len(states))
        return velocity(self, states, *rest)

    monkeypatch.setattr(type(model), "velocity", counted)
    questions = [Asked(text, pair.x_a) for text in ("", "add a hat", "add a cap")]
    conditions = {asked.text: model.condition(asked.text) for asked in questions}
    whole = pair_losses(model, pair, questions, conditions, guidance=2.5, seed=3)
    assert rows == [9]
    rows.clear()
    monkeypatch.setattr(losses, "TOKENS", tokens)
    parts = pair_losses(model, pair, questions, conditions, guidance=2.5, seed=3)
    each = pair.x_b.shape[-1] * pair.x_b.shape[-2] // 2
    assert max(rows) * each <= tokens or max(rows) == 1
    assert sum(rows) == 9
    assert torch.allclose(whole, parts, rtol=1e-4)
