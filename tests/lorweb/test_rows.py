"""Analogies that share pictures are seen as if they did not, and each picture is encoded once."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.lorweb import rows as module
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.relations import Relation, Relations
from pairedit_sdk.lorweb.rows import AnalogyRows, Shown, batched, by_size, change_weights
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_base

SETTINGS = BasisSettings(layout="sequence", delta_tokens=2, resolution=64)


@pytest.fixture(scope="module")
def base(tiny_kontext_folder):
    return load_base(str(tiny_kontext_folder), device="cpu")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("mini")


@pytest.fixture(scope="module")
def relations(face_pairs):
    found = []
    for change, caption in (({"hat": "beanie"}, "add a beanie"), ({"age": "old"}, "")):
        pairs = [(pair.before, pair.after) for pair in face_pairs(change, 3)]
        found.append(Relation(pairs, caption))
    return Relations(found)


@pytest.fixture
def counted(base, encoder, monkeypatch):
    """How many pictures the autoencoder and the image encoder were given in each call."""
    calls = {"latents": [], "features": []}
    encode, features = base.encode, encoder.features
    monkeypatch.setattr(
        base, "encode", lambda x: calls["latents"].append(len(x)) or encode(x), raising=True
    )
    monkeypatch.setattr(
        encoder, "features", lambda x: calls["features"].append(len(x)) or features(x)
    )
    return calls


def _same(one, other):
    assert one.caption == other.caption
    pairs = [(one.target, other.target), (one.query, other.query)]
    pairs += zip(one.references, other.references, strict=True)
    assert (one.features is None) == (other.features is None)
    if one.features is not None:
        pairs.append((one.features.whole, other.features.whole))
        pairs.append((one.features.patches, other.features.patches))
    for found, wanted in pairs:
        assert found.shape == wanted.shape
        assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"layout": "alone", "unit_embeddings": True},
        {"layout": "grid", "delta_tokens": 0},
        {"query": "grid"},
    ],
    ids=str,
)
def test_shared_pictures_are_seen_as_unshared_ones(base, encoder, relations, changed):
    settings = SETTINGS.with_values(**changed)
    shared = AnalogyRows(base, encoder, relations, settings)
    shared.prepare()
    plain = AnalogyRows(base, encoder, list(relations), settings)
    assert len(shared) == len(plain) == 12
    for index in (0, 7, 11):
        _same(shared[index], plain[index])
    assert (shared[0].features is not None) == bool(settings.delta.tokens)
    assert len(shared[0].references) == {"sequence": 3}.get(settings.layout, 1)


def test_each_picture_is_encoded_once_when_it_is_needed(base, encoder, relations, counted):
    rows = AnalogyRows(base, encoder, relations, SETTINGS)
    assert counted == {"latents": [], "features": []}
    first = rows[0]
    assert counted == {"latents": [1] * 4, "features": [1] * 4}
    # The same two pairs the other way round.
    assert torch.equal(rows[2].target, first.references[2])
    assert len(counted["latents"]) == 4
    for index in (*range(len(rows)), *range(len(rows))):
        rows[index]
    assert counted == {"latents": [1] * 12, "features": [1] * 12}


def test_all_are_prepared_many_at_once(base, encoder, relations, counted, monkeypatch):
    one_by_one = AnalogyRows(base, encoder, relations, SETTINGS)
    wanted = [one_by_one[k] for k in (0, 5, 11)]
    for found in counted.values():
        found.clear()
    monkeypatch.setattr(module, "TOGETHER", 5)
    rows, parts = AnalogyRows(base, encoder, relations, SETTINGS), []
    rows.prepare(lambda done, total: parts.append((done, total)))
    assert parts == [(5, 12), (10, 12), (12, 12)]
    for index, one in zip((0, 5, 11), wanted, strict=True):
        _same(rows[index], one)
    rows.prepare()
    assert counted == {"latents": [5, 5, 2], "features": [5, 5, 2]}


def test_what_cannot_be_prepared_is_encoded_when_it_is_drawn(
    base, encoder, relations, counted, monkeypatch
):
    for analogies, changed in ((relations, {"layout": "grid"}), (list(relations), {})):
        AnalogyRows(base, encoder, analogies, replace(SETTINGS, **changed)).prepare()
    monkeypatch.setattr(module, "KEPT", 4)
    rows = AnalogyRows(base, encoder, relations, SETTINGS)
    rows.prepare()
    assert counted["latents"] == []
    rows[0]
    rows[0]
    assert len(counted["latents"]) == 4
    rows[11]
    rows[11]
    assert len(counted["latents"]) == 4 + 8


def test_all_pictures_of_an_analogy_have_the_size_of_b(base, encoder, face_pairs):
    """Shared pictures of several sizes: an analogy of one size is shared, another is not."""
    wide, tall, small = (
        [picture.resize(size) for picture in (pair.before, pair.after)]
        for pair, size in zip(
            face_pairs({"hat": "beanie"}, 3), [(128, 64), (64, 128), (64, 32)], strict=True
        )
    )
    relations = Relations([Relation([tuple(pair) for pair in (wide, tall, small)])])
    rows = AnalogyRows(base, encoder, relations, SETTINGS)
    rows.prepare()
    plain = AnalogyRows(base, encoder, list(relations), SETTINGS)
    shown = {k: rows[k] for k in range(len(rows))}
    for index, one in shown.items():
        _same(one, plain[index])
        assert len({one.target.shape, *(seen.shape for seen in one.references)}) == 1
    # Asked are wide, tall and small, two of each; the small one is seen as large as the wide one.
    assert by_size(shown) == [[0, 1, 4, 5], [2, 3]]


def _row(b_prime, b):
    return Shown(b_prime, (b, torch.full_like(b, 9)), torch.zeros(3), "")


def test_weights_lie_where_the_pictures_differ():
    b = torch.zeros(1, 4, 6, 6)
    b_prime = b.clone()
    b_prime[:, :, :2, :3] = 1.0
    b_prime[:, :, 5, 5] = 2.0
    weights = change_weights([_row(b_prime, b), _row(b + 1, b), _row(b, b)], 0.75)
    assert weights.shape == (3, 1, 6, 6)
    assert torch.allclose(weights.mean(dim=(1, 2, 3)), torch.ones(3))
    assert torch.allclose(weights[0, 0, 3:5], torch.full((2, 6), 0.25))
    assert weights[0, 0, 0, 0] > 3
    assert weights[0, 0, 5, 5] - 0.25 == pytest.approx(2 * float(weights[0, 0, 0, 0] - 0.25))
    # Equally different everywhere, or nowhere: the plain mean.
    assert torch.allclose(weights[1:], torch.ones(2, 1, 6, 6))
    assert torch.equal(change_weights([_row(b_prime, b)], 0.0), torch.ones(1, 1, 6, 6))


def test_a_grid_s_weights_lie_in_the_quarter_that_is_asked(base, encoder, relations):
    row = AnalogyRows(base, encoder, relations, SETTINGS.with_values(layout="grid"))[0]
    weights = change_weights([row], 1.0)[0, 0]
    half = weights.shape[0] // 2
    quarters = [weights[y : y + half, x : x + half].sum() for y in (0, half) for x in (0, half)]
    # The autoencoder normalises over the whole picture.
    assert quarters[3] > 0.7 * weights.sum()


def test_a_batch_has_the_prompts_and_references_of_its_rows(base, encoder, relations):
    rows = AnalogyRows(base, encoder, relations, SETTINGS)
    shown = [rows[0], rows[7]]
    condition = batched([base.condition(""), base.condition("add a beanie")], shown, base.device)
    assert len(condition.prompt_embeds) == 2
    for place, seen in enumerate(condition.references):
        assert torch.equal(seen, torch.cat([row.references[place] for row in shown]))


def test_analogies_of_a_list_are_kept_too(base, encoder, relations, counted):
    rows = AnalogyRows(base, encoder, [relations[0]], SETTINGS)
    assert isinstance(relations[0], Analogy)
    assert rows[0] is rows[0]
    assert len(counted["latents"]) == 4
