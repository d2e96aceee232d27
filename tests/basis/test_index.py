"""From which similarity on an edit is found in an analogy: synthetic similarities, no encoder."""

import time

import pytest
import torch

from pairedit_sdk.basis.index import KEPT, LOWEST, Index, read_index, write_index

NAN = float("nan")


def index_of(*own):
    """An index of edits with these similarities of their own left-out pairs."""
    rows = torch.full((len(own), KEPT), NAN)
    for row, values in zip(rows, own, strict=True):
        row[: len(values)] = torch.tensor(values)
    names = tuple(f"e{k}" for k in range(len(own)))
    keys = torch.eye(max(len(own), 2))[: len(own)]
    return Index("mini", "mini", "f", names, (3,) * len(own), keys, rows)


def spread(low, high, count=24):
    return torch.linspace(low, high, count).tolist()


STRONG, WEAK = spread(0.5, 0.9), spread(-0.3, 0.7)


def test_of_one_edit_it_is_what_all_but_a_twentieth_of_its_pairs_reach():
    index = index_of(STRONG)
    assert float(index.thresholds[0]) == pytest.approx(sorted(STRONG)[1])
    assert index.recognised.tolist() == [True]


def test_a_weak_edit_moves_no_other_edits_threshold():
    """It once moved the only one, to −0.3: after that everything was known."""
    alone = index_of(STRONG, spread(0.6, 0.8)).thresholds
    found = index_of(STRONG, spread(0.6, 0.8), WEAK, spread(-1, 0.1))
    assert torch.equal(found.thresholds[:2], alone)
    assert found.thresholds[2:].tolist() == pytest.approx([LOWEST, LOWEST])
    assert found.recognised.tolist() == [True, True, False, False]


def test_of_several_edits_none_is_asked_for_more_than_all_together_reach():
    strict, usual = spread(0.9, 0.95), spread(0.5, 0.8, 32)
    index = index_of(strict, usual, usual)
    assert float(index.thresholds[0]) == pytest.approx(sorted([*strict, *usual, *usual])[4])
    assert float(index.thresholds[1]) == pytest.approx(sorted(usual)[1])


def test_it_is_never_below_the_lowest():
    nothing = index_of([], [NAN])
    assert nothing.thresholds.tolist() == pytest.approx([LOWEST, LOWEST])
    assert not nothing.recognised.any()
    assert Index().thresholds.shape == (0,)
    odd = index_of(spread(0.1, 0.9))  # half of them reach it
    assert float(odd.thresholds[0]) == pytest.approx(LOWEST)
    assert odd.recognised.all()


def test_what_was_written_before_has_thresholds_too(tmp_path):
    """They are made of what the file always held."""
    write_index(tmp_path, index_of(STRONG, WEAK))
    again = read_index(tmp_path)
    assert torch.equal(again.thresholds, index_of(STRONG, WEAK).thresholds)


def test_a_hundred_thousand_edits_take_a_moment():
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(100_000, KEPT, generator=generator)
    index = Index(own=own)
    begun = time.process_time()
    assert index.thresholds.shape == (100_000,)
    assert time.process_time() - begun < 1.5
