"""Tensors that are kept from one edit to the next: which, and how many."""

import gc
import weakref

import torch

from pairedit_sdk.editing.kept import Kept, TensorStore, each_kept
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer


def _edit() -> Edit:
    return Edit({"a": LoraLayer(torch.ones(1, 2), torch.ones(2, 1))}, EditInfo("e"))


def test_those_not_asked_for_longest_are_dropped():
    store = TensorStore(3 * 40)
    for key in "abc":
        store.put((key,), [torch.zeros(10)])
    assert store.get(("a",)) is not None
    store.put(("d",), [torch.zeros(10)])
    assert [key for key in "abcd" if store.get((key,)) is not None] == ["a", "c", "d"]
    assert store.held == 120


def test_the_newest_stays_whatever_its_size_and_replaces_what_had_its_key():
    store = TensorStore(100)
    store.put(("small",), [torch.zeros(10)])
    store.put(("large",), [torch.zeros(1000)])
    assert store.get(("small",)) is None
    store.put(("large",), [torch.ones(20), torch.ones(5)])
    assert [len(tensor) for tensor in store.get(("large",))] == [20, 5]
    assert (len(store), store.held) == (1, 100)


def test_a_part_of_a_tensor_does_not_hold_the_whole():
    store, whole = TensorStore(1000), torch.arange(1000.0)
    store.put(("part",), [whole[3:5]])
    (part,) = store.get(("part",))
    assert part.untyped_storage().nbytes() == 8
    assert part.tolist() == [3, 4]


def test_an_edit_keeps_its_name_and_is_not_held():
    store, one, other = TensorStore(100), _edit(), _edit()
    names = {store.name_of(one), store.name_of(other)}
    assert len(names) == 2
    assert store.name_of(one) in names
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None
    assert store.name_of(_edit()) not in names


def test_what_it_depends_on_tells_two_apart():
    kept = Kept(TensorStore(1000))
    kept.under(1, "a").put("x", tensors=[torch.ones(2)])
    assert kept.under(1).under("a").get("x") is not None
    assert kept.under(1, "b").get("x") is None
    assert kept.get("x") is None


def test_only_what_is_missing_is_made():
    kept, asked = Kept(TensorStore(1000)), []

    def make(numbers):
        asked.append(list(numbers))
        return torch.tensor([[10.0 * number] for number in numbers])

    keys = [("a",), ("b",), ("a",)]
    assert each_kept(None, keys, make).tolist() == [[0], [10], [20]]
    assert each_kept(kept, keys, make).tolist() == [[0], [10], [0]]
    assert each_kept(kept, [("c",), ("b",)], make).tolist() == [[0], [10]]
    assert each_kept(kept, [("b",), ("c",)], make).tolist() == [[10], [0]]
    assert asked == [[0, 1, 2], [0, 1], [0]]


def test_a_store_that_is_too_small_for_one_edit_costs_time_alone():
    kept = Kept(TensorStore(1))
    found = each_kept(kept, [("a",), ("b",)], lambda numbers: torch.ones(len(numbers), 4))
    assert found.shape == (2, 4)
    assert len(kept.store) == 1
