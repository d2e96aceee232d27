"""The basis on disk: placing, finding, renaming. test_processes.py has kills and the lock."""

import pytest
import torch

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.basis.index import index_path, write_index
from pairedit_sdk.basis.placing import own_similarities
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import BaseModelError, EditError, UsageError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.image_encoder import load_encoder

CHANGES = {"age": {"age": "old"}, "hat": {"hat": "beanie"}, "night": {"style": "night"}}


def _edit(name, fingerprint="f"):
    layers = {"x_embedder": LoraLayer(torch.ones(1, 4), torch.ones(3, 1))}
    return Edit(layers, EditInfo(name, base="mini", base_fingerprint=fingerprint, rank=1))


@pytest.fixture(scope="module")
def pair_sets(face_pairs):
    return {name: face_pairs(change, 3) for name, change in CHANGES.items()}


@pytest.fixture(scope="module")
def filled(pair_sets, tmp_path_factory):
    basis = EditBasis.open(tmp_path_factory.mktemp("basis"))
    for name, pairs in pair_sets.items():
        basis.place(_edit(name), pairs)
    return basis


def test_what_was_placed_is_listed_and_shown(filled):
    assert [(e.name, e.pairs, e.path.is_file()) for e in filled.list()] == [
        ("age", 3, True), ("hat", 3, True), ("night", 3, True),
    ]  # fmt: skip
    assert filled.show("hat").pairs == 3
    assert filled.index.encoder == "mini"
    again = EditBasis.open(filled.folder)
    assert torch.equal(again.index.keys, filled.index.keys)


def test_an_analogy_finds_its_edit(filled, face_pairs):
    for name, change in CHANGES.items():
        pair = face_pairs(change, 1, seed=77)[0]
        route = filled.route(pair.before, pair.after)
        assert next(iter(route.similarities)) == name
        assert max(route.coefficients, key=route.coefficients.get) == name
        assert sum(route.coefficients.values()) == pytest.approx(1, abs=0.05)
        assert name in route.sentence
        assert route.layers()  # a stack like any other


def test_nothing_that_changed_is_like_nothing_in_the_basis(filled, face_pairs):
    pair = face_pairs({"background": "purple"}, 1, seed=78)[0]
    route = filled.route(pair.before, pair.after)
    if not route.known:
        assert "like none of the edits" in route.sentence
    nearest = next(iter(route.similarities))
    threshold = filled.index.thresholds[filled.index.names.index(nearest)]
    assert route.threshold == route.thresholds[nearest] == float(threshold)


def test_own_similarities_are_of_pairs_left_out():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(3, 2, 2, 8, generator=generator)
    found = own_similarities(embeddings)
    assert found.shape == (6,)
    directions = torch.nn.functional.normalize(embeddings[:, :, 1] - embeddings[:, :, 0], dim=-1)
    others = torch.nn.functional.normalize(directions[1:, 0].sum(0), dim=0)
    assert torch.allclose(found[:2], directions[0] @ others, atol=1e-6)
    assert own_similarities(embeddings[:1]).shape == (1,)  # its other version


def test_at_most_the_promised_share_of_own_pairs_is_refused(filled):
    index = filled.index
    assert index.recognised.all()
    own = [row[~row.isnan()] for row in index.own]
    for row, threshold in zip(own, index.thresholds, strict=True):
        assert (row < threshold).float().mean() <= 0.05


def test_remove_rename_and_place_again(pair_sets, tmp_path):
    basis = EditBasis.open(tmp_path)
    basis.place(_edit("glasses"), pair_sets["age"])
    basis.place(_edit("hat"), pair_sets["hat"])
    basis.rename("hat", "beanie")
    assert [entry.name for entry in basis.list()] == ["glasses", "beanie"]
    assert Edit.load(tmp_path / "beanie.safetensors").name == "beanie"
    assert not (tmp_path / "hat.safetensors").exists()
    basis.remove("glasses")
    assert [entry.name for entry in basis.list()] == ["beanie"]
    assert (tmp_path / "glasses.safetensors").is_file()  # out of the basis, still in the library
    with pytest.raises(UsageError, match="There is an edit beanie in the basis already"):
        basis.place(_edit("beanie"), pair_sets["hat"])
    basis.place(_edit("beanie"), pair_sets["night"], replacing=True)
    assert len(basis.list()) == 1


def test_what_cannot_be_done_is_said_and_changes_nothing(pair_sets, tmp_path, face_pairs):
    basis = EditBasis.open(tmp_path)
    pair = pair_sets["hat"][0]
    with pytest.raises(UsageError, match=r"is empty\. Place an edit with"):
        basis.route(pair.before, pair.after)
    basis.place(_edit("hat"), pair_sets["hat"])
    before = index_path(tmp_path).read_bytes()
    with pytest.raises(UsageError, match=r"no edit 'hut' in the basis\. Did you mean hat\?"):
        basis.remove("hut")
    with pytest.raises(EditError, match="learned on another model than the edits of this basis"):
        basis.place(_edit("glasses", "other"), pair_sets["age"])
    with pytest.raises(UsageError, match="cannot be the name of an edit"):
        basis.rename("hat", "../hat")
    with pytest.raises(UsageError, match="A router chooses between edits, and the basis has 1"):
        basis.fit()
    assert index_path(tmp_path).read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == ["hat.safetensors"]


def test_an_encoder_that_has_changed_is_said_to_be_so(pair_sets, tmp_path):
    basis = EditBasis.open(tmp_path)
    basis._encoder = _Encoder()
    basis.place(_edit("hat"), pair_sets["hat"])
    later = EditBasis.open(tmp_path)
    pair = pair_sets["hat"][0]
    with pytest.raises(EditError, match="is not the one that this basis was filled with"):
        later.route(pair.before, pair.after)
    with pytest.raises(EditError, match="Place the edits again"):
        later.place(_edit("age"), pair_sets["age"])
    assert later.index.names == ("hat",)


def test_a_damaged_index_is_said_to_be_so_and_can_be_built_again(pair_sets, tmp_path):
    basis = EditBasis.open(tmp_path)
    basis.place(_edit("glasses"), pair_sets["age"])
    basis.place(_edit("hat"), pair_sets["hat"])
    keys = basis.index.keys.clone()  # what was read is a view of the file
    index_path(tmp_path).write_bytes(b"damaged")
    with pytest.raises(EditError, match="with `pairedit basis reindex`"):
        EditBasis.open(tmp_path).list()
    assert EditBasis.open(tmp_path).reindex() == 2
    assert torch.equal(EditBasis.open(tmp_path).index.keys, keys)


def test_fitting_keeps_the_better_router_until_the_edits_change(filled, pair_sets, tmp_path):
    basis = EditBasis.open(tmp_path)
    for name in ("age", "hat"):
        basis.place(_edit(name), pair_sets[name])
    result = basis.fit()
    assert result.asked == 6
    assert (basis.index.fitted is not None) == result.kept
    basis.place(_edit("night"), pair_sets["night"])
    assert basis.index.fitted is None


def test_an_encoder_that_is_none(tmp_path):
    with pytest.raises(BaseModelError, match="cannot be loaded"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BaseModelError, match="no CLIP and no SigLIP model"):
        load_encoder(str(tmp_path))


class _Encoder:
    """Makes placing quick: what is under test is the writing."""

    name = "mini"

    def embed(self, images):
        return torch.nn.functional.normalize(torch.randn(len(images), 8), dim=-1)


def _placed(folder):
    basis = EditBasis.open(folder)
    generator = torch.Generator().manual_seed(0)
    for name in ("hat", "age"):
        pairs = torch.randn(2, 2, 2, 8, generator=generator)
        basis._store.place(_edit(name), pairs, "mini", replacing=False)
    return basis


def _killed(monkeypatch, at, change, *names):
    """Make a change that ends before the index is written, or just after it, as with a kill."""

    def stop(folder, index):
        if at == "after":
            write_index(folder, index)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pairedit_sdk.basis.store.write_index", stop)
        with pytest.raises(KeyboardInterrupt):
            change(*names)


@pytest.mark.parametrize("at", ["before", "after"])
def test_what_a_killed_change_leaves_behind_does_not_come_back(tmp_path, monkeypatch, at):
    for change, names in {
        "rename": {"before": ["hat", "age"], "after": ["beanie", "age"]},
        "remove": {"before": ["hat", "age"], "after": ["age"]},
    }.items():
        basis = _placed(tmp_path / change)
        given = ["hat", "beanie"] if change == "rename" else ["hat"]
        _killed(monkeypatch, at, getattr(basis, change), *given)
        assert basis.reindex() == len(names[at])
        assert list(basis.index.names) == names[at]


def test_a_killed_renaming_can_be_made_again(tmp_path, monkeypatch):
    basis = _placed(tmp_path)
    _killed(monkeypatch, "before", basis.rename, "hat", "beanie")
    basis.rename("hat", "beanie")
    assert basis.index.names == ("beanie", "age")
    assert Edit.load(tmp_path / "beanie.safetensors").name == "beanie"
    with pytest.raises(UsageError, match="There is an edit beanie already"):
        basis.rename("age", "beanie")
    _edit("free").with_info(rank=2).save(tmp_path / "free.safetensors")
    with pytest.raises(UsageError, match="There is an edit free already"):
        basis.rename("age", "free")
