"""What an analogy is found to mean, from synthetic encodings."""

import logging

import pytest
import torch
import torch.nn.functional as F

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.basis.placing import LEAST, check_change
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer

WIDTH = 64


def _edit(name):
    layers = {"x_embedder": LoraLayer(torch.ones(1, 4), torch.ones(3, 1))}
    return Edit(layers, EditInfo(name, base="mini", base_fingerprint="f", rank=1))


def _pairs(number, noise):
    """Embeddings [3, 8, 2, D] of three pairs that share a direction, and have another each."""
    axes = torch.eye(WIDTH)
    before = axes[-2].expand(3, 8, WIDTH)
    own = axes[16 + 3 * number : 19 + 3 * number, None]
    return torch.stack([before, before + axes[number] + noise * own], dim=2)


@pytest.fixture
def basis(tmp_path):
    """Two edits that their pairs agree on."""
    basis = EditBasis.open(tmp_path)
    for k, name in enumerate(("glasses", "hat")):
        basis._store.place(_edit(name), _pairs(k, 0.5), "mini", replacing=False)
    return basis


def asked(basis, **similarities):
    """The mix for a change that has these similarities to the keys, and more of its own."""
    index = basis.index
    wanted = torch.tensor([similarities.get(name, 0.0) for name in index.names])
    change = wanted @ index.keys  # they are orthogonal
    change = change + torch.eye(WIDTH)[-1] * (1 - change.square().sum()).sqrt()
    return basis.mix(index, torch.cat([torch.zeros(WIDTH), change, torch.zeros(WIDTH)]))


def place_weak(basis):
    basis._store.place(_edit("weak"), _pairs(5, 9.0), "mini", replacing=False)


def test_a_weak_edit_does_not_let_everything_in(basis):
    """A smile at similarity −0.19 was once answered "1.00" in a basis of such an edit."""
    before = asked(basis, glasses=0.2, hat=-0.19)
    assert not before.known
    place_weak(basis)
    assert basis.index.recognised.tolist() == [True, True, False]
    after = asked(basis, glasses=0.2, hat=-0.19, weak=-0.21)
    assert not after.known
    assert "like none of the edits" in after.sentence
    assert f"glasses is found from {after.threshold:.2f} on" in after.sentence
    assert after.thresholds["glasses"] == before.thresholds["glasses"] > 0.5
    assert asked(basis, glasses=0.9).known


def test_each_edit_has_its_own_threshold(basis):
    place_weak(basis)
    found = asked(basis, glasses=0.1, weak=0.35)
    assert found.known
    assert found.thresholds["weak"] == pytest.approx(0.3)
    assert not asked(basis, glasses=0.35, weak=0.1).known


def test_an_edit_backwards_is_named(basis):
    found = asked(basis, glasses=-0.88, hat=0.1)
    assert not found.known
    assert found.opposite == "glasses"
    assert found.sentence == (
        "This analogy is glasses backwards (similarity -0.88), and like none of the edits "
        "forwards (nearest: hat 0.10, glasses -0.88)."
    )
    assert asked(basis, glasses=-0.29, hat=0.1).opposite is None
    both = asked(basis, glasses=-0.4, hat=0.9)
    assert both.known
    assert both.opposite is None


def test_the_opposite_is_named_among_many(basis):
    for k in range(2, 9):
        basis._store.place(_edit(f"e{k}"), _pairs(k, 0.5), "mini", replacing=False)
    found = asked(basis, hat=-0.9, e2=0.1, e3=0.05)
    assert found.opposite == "hat"
    assert next(iter(found.similarities)) == "e2"
    assert list(found.similarities)[-1] == "hat"
    assert (found @ 0.5).opposite == "hat"


def test_no_change_at_all_is_refused():
    a = F.normalize(torch.ones(WIDTH), dim=0)
    with pytest.raises(UsageError, match=r"mini sees no change .* Got 0\. Give two pictures"):
        check_change("mini", a, a)
    step = torch.eye(WIDTH)[0]
    with pytest.raises(UsageError, match="sees no change"):
        check_change("mini", a, a + 0.9 * LEAST * step)
    check_change("mini", a, a + 1.1 * LEAST * step)


class _Encoder:
    """Sees a new direction in every pair, or the same one."""

    name = "mini"

    def __init__(self, alike):
        self.alike, self.seen = alike, 0

    def embed(self, images):
        rows = torch.eye(WIDTH)[0].repeat(len(images), 1)
        rows[1::2, 1 if self.alike else 2 + self.seen] += 1.0
        self.seen += 1
        return rows


@pytest.mark.parametrize("alike", [True, False])
def test_an_edit_that_is_not_found_in_its_own_pairs_is_placed_with_a_warning(
    tmp_path, face_pairs, caplog, alike
):
    basis = EditBasis.open(tmp_path)
    basis._encoder = _Encoder(alike)
    pairs = face_pairs({"hat": "beanie"}, 3, size=32)
    with caplog.at_level(logging.WARNING, "pairedit_sdk"):
        placed = basis.place(_edit("hat"), pairs)
    assert placed == basis.show("hat") == basis.list()[0]
    assert placed.recognised is alike
    told = [record.getMessage() for record in caplog.records]
    assert (told == []) is alike
    if not alike:
        assert told[0].startswith("The image encoder mini does not find hat in the pairs")
