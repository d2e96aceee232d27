"""Nothing reseeds or advances the random generators that belong to the caller's program."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pairedit_sdk
from pairedit_sdk import Edit, PairSet
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.edits.edit import EditInfo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.folders import shape_folder
from pairedit_sdk.models.random_weights import random_model
from pairedit_sdk.training.config import load_recipe


def _states() -> tuple[bytes, object, list[Any]]:
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), [kind, list(keys), *rest]


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """What a test does must leave all three generators as they are."""
    before = _states()
    yield
    for name, now, then in zip(("torch", "random", "numpy"), _states(), before, strict=True):
        assert now == then, name


@pytest.fixture(scope="module")
def pairs(face_pairs: Callable[..., PairSet]) -> PairSet:
    return face_pairs({"hat": "cap"}, 2)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> Any:
    return pairedit_sdk.load_model(str(tiny_folder), device="cpu")


def _edit(name: str = "hat") -> Edit:
    layer = LoraLayer(torch.full((1, 64), 0.01), torch.full((64, 1), 0.01))
    return Edit({"x_embedder": layer}, EditInfo(name, rank=1, resolution=64))


def test_loading(tiny_folder: Path, tiny_kontext_folder: Path) -> None:
    for folder in (tiny_folder, tiny_kontext_folder):
        pairedit_sdk.load_model(str(folder), device="cpu").condition("a person")
    load_attribute_classifier()
    random_model(shape_folder("tiny"), device="cpu")


@pytest.mark.parametrize("recipe", ["mini", "published"])
def test_training(model: Any, pairs: PairSet, recipe: str, tmp_path: Path) -> None:
    short = ["steps=2", "batch=1", "resolution=64", "checkpointing.every=1", "editing.steps=2",
             "checkpointing.preview_every=2", "editing.limit_scale=false"]  # fmt: skip
    config = load_recipe(recipe, short)
    pairedit_sdk.make_edit(model, pairs, config, name="hat", library=tmp_path)


@pytest.mark.parametrize("method", ["flowedit", "rf-inversion"])
def test_editing(model: Any, pairs: PairSet, method: str) -> None:
    picture = pairs[0].before
    pairedit_sdk.sweep(model, picture, _edit(), [0.5, 1.0], method=method, steps=2)
    both = _edit() @ 1 + _edit("cap") @ 0.5
    pairedit_sdk.edit_image(model, picture, both, method=method, steps=2, seed=3)


def test_generating(model: Any) -> None:
    pairedit_sdk.generate(model, "a person", _edit(), seed=1, steps=2, width=64, height=64)


def test_the_basis(model: Any, pairs: PairSet, tmp_path: Path) -> None:
    basis = pairedit_sdk.EditBasis.open(tmp_path, "mini")
    for name in ("hat", "cap"):
        basis.place(_edit(name), pairs)
    pair = pairs[0]
    basis.route(pair.before, pair.after, pair.before)
    basis.route_by_velocity(model, pair.before, pair.after)
    basis.fit()
