"""Every pair of a relation is answered with every other one as the example."""

import pytest
from PIL import Image

from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.relations import Relation, Relations, SharedPictures


def _pair(number):
    return tuple(Image.new("RGB", (4, 4), (10 * number, side, 0)) for side in (0, 1))


def _relations(count=2, pairs=3, caption="add {}"):
    return Relations(
        [
            Relation([_pair(pairs * r + p) for p in range(pairs)], caption.format(r), f"kind {r}")
            for r in range(count)
        ]
    )


def _shown(analogy):
    """The number of the pair that is shown, and of the one that is asked."""
    first, after, b, b_prime = (
        p.getpixel((0, 0)) for p in (analogy.a, analogy.a_prime, analogy.b, analogy.b_prime)
    )
    assert (first[1], after[1], b[1], b_prime[1]) == (0, 1, 0, 1)
    assert (first[0], b[0]) == (after[0], b_prime[0])
    return first[0] // 10, b[0] // 10


def test_all_two_pairs_of_a_relation_once_in_each_order():
    relations = _relations()
    assert len(relations) == 2 * 3 * 2
    own = [(1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2)]
    later = [(i + 3, j + 3) for i, j in own]
    assert [_shown(analogy) for analogy in relations] == [*own, *later]
    assert [a.caption for a in relations] == relations.captions == ["add 0"] * 6 + ["add 1"] * 6
    assert [a.task for a in relations[4:8]] == ["kind 0"] * 2 + ["kind 1"] * 2


def test_names_lead_to_the_pictures_of_an_analogy():
    relations = _relations()
    assert isinstance(relations, SharedPictures)
    assert not isinstance([relations[0]], SharedPictures)
    assert relations.all_names[:4] == ["0/0/0", "0/0/1", "0/1/0", "0/1/1"]
    assert len(set(relations.all_names)) == 2 * 3 * 2
    for index in (0, 5, 7, len(relations) - 1, -1):
        found = [relations.picture(name) for name in relations.names(index)]
        one = relations[index]
        assert found == [one.a, one.a_prime, one.b, one.b_prime]
    assert {n for k in range(len(relations)) for n in relations.names(k)} == {*relations.all_names}


def test_it_ends_where_it_ends():
    relations = _relations()
    assert isinstance(relations[-1], Analogy)
    for index in (12, -13):
        with pytest.raises(IndexError):
            relations[index]
        with pytest.raises(IndexError):
            relations.names(index)


@pytest.mark.parametrize("counts", [[], [1], [0, 0], [2, 3]])
def test_relations_need_two_pairs_or_more_and_as_many_in_all(counts):
    with pytest.raises(ValueError, match="two or more pairs in each, and as many in all"):
        Relations([Relation([_pair(k) for k in range(count)]) for count in counts])


def test_the_digest_is_of_pictures_and_captions():
    known = _relations().digest
    assert _relations().digest == known
    assert len({known, _relations(count=1).digest, _relations(caption="take {}").digest}) == 3
    other = Relations([Relation([_pair(k) for k in (1, 0, 2)], "add 0")])
    assert other.digest != _relations(count=1).digest
