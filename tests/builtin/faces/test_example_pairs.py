from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.builtin.faces import example_pairs
from pairedit_sdk.builtin.faces.example_pairs import (
    EXAMPLES,
    PAIRS,
    SIZE,
    VARIED,
    example_faces,
    write_example_pairs,
)
from pairedit_sdk.builtin.faces.face import visible
from pairedit_sdk.io.resources import examples_dir


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_pair_differs_in_the_edit_alone_and_it_can_be_seen(name: str) -> None:
    for before, after in example_faces(name):
        changed = {k for k, v in asdict(before).items() if asdict(after)[k] != v}
        assert changed == set(EXAMPLES[name].after)
        for attribute in changed:
            assert visible(before, attribute)
            assert visible(after, attribute)
        difference = np.abs(
            np.asarray(before.draw(SIZE), np.int16) - np.asarray(after.draw(SIZE), np.int16)
        )
        assert 0.001 < (difference.max(axis=-1) > 10).mean() < 0.3


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_people_of_an_edit_are_different(name: str) -> None:
    befores = [before for before, _ in example_faces(name)]
    assert len(befores) == PAIRS
    for a, b in combinations(befores, 2):
        assert sum(getattr(a, k) != getattr(b, k) for k in VARIED) >= len(VARIED) // 2


def test_no_person_is_in_two_edits() -> None:
    people = [before for name in EXAMPLES for before, _ in example_faces(name)]
    assert len(set(people)) == len(people)


@pytest.mark.parametrize("name", EXAMPLES)
def test_shipped_pairs_are_what_is_drawn(name: str) -> None:
    """If this fails, draw them again: ``python -m pairedit_sdk.builtin.faces.example_pairs``."""
    folder = examples_dir() / "pairs" / name
    if not folder.is_dir():
        pytest.skip("an installed package holds only what the demo needs")
    for number, pair in enumerate(example_faces(name), start=1):
        for side, face in zip(("source", "target"), pair, strict=True):
            path = folder / side / f"{number}.png"
            with Image.open(path) as image:
                kept = np.asarray(image.convert("RGB"), np.int16)
            # Resampling may differ by a level or two from one machine to the next.
            assert np.abs(kept - np.asarray(face.draw(SIZE), np.int16)).mean() < 0.5, path
            assert path.stat().st_size < 16_384


def test_pairs_are_written_under_equal_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A whole dict: put back one by one, its entries would be in another order, and so would be
    # the people of every edit.
    monkeypatch.setattr(example_pairs, "EXAMPLES", {"hat": EXAMPLES["hat"]})
    written = write_example_pairs(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        f"hat/{side}/{number}.png"
        for number in range(1, PAIRS + 1)
        for side in ("source", "target")
    ]
    for path in written:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIZE, SIZE))
