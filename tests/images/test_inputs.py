from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.inputs import as_photo
from pairedit_sdk.images.photo import Photo


def values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)


def test_everything_that_is_a_picture_gives_the_same_photo(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(values()).save(path)
    for given in (path, str(path), Image.fromarray(values()), values(), Photo(values())):
        assert np.array_equal(as_photo(given).pixels, values())


def test_a_photo_is_taken_as_it_is() -> None:
    photo = Photo(values())
    assert as_photo(photo) is photo


def test_shapes_and_types_of_arrays() -> None:
    grey = values()[..., 0]
    assert np.array_equal(as_photo(grey).pixels[..., 0], grey)
    assert np.array_equal(as_photo(grey[..., None]).pixels[..., 0], grey)
    assert as_photo(grey.astype(np.uint16) * 257).depth == 16
    floats = as_photo(grey / 255.0)
    assert floats.depth == 16
    assert np.array_equal(floats.pixels[..., 0], grey.astype(np.uint16) * 257)
    clear = as_photo(np.concatenate([values(), grey[..., None]], axis=2))
    assert np.array_equal(clear.pixels, values())
    assert clear.alpha is not None
    assert np.array_equal(clear.alpha, grey)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_any_precision_reach_white(kind: type[np.floating[Any]]) -> None:
    pixels = as_photo(np.array([[0, 0.5, 1]], dtype=kind)).pixels
    assert pixels.ravel().tolist() == [0, 32768, 65535]


def test_truth_values_are_black_and_white() -> None:
    inside = values()[..., 0] > 100
    assert np.array_equal(as_photo(inside).pixels[..., 0], np.where(inside, 255, 0))
    assert as_photo(inside).depth == 8


def test_an_array_that_is_changed_later_changes_no_photo() -> None:
    given = values()
    photo = as_photo(given)
    given[:] = 0
    assert np.array_equal(photo.pixels, values())


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", {"a": 1}, np.zeros((3, 3, 2))])
def test_what_is_no_picture_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"^The mask"):
        as_photo(wrong, "The mask")


@pytest.mark.parametrize("wrong", [["a.png"], (values(), values())])
def test_several_pictures_are_sent_to_where_they_are_taken(wrong: Any) -> None:
    with pytest.raises(UsageError, match="edit_images"):
        as_photo(wrong)


def test_values_beyond_their_range_are_refused() -> None:
    for wrong in (values() - 0.5, values().astype(float), np.full((2, 2), np.nan)):
        with pytest.raises(UsageError, match="unknown range"):
            as_photo(wrong)
    for kind in (np.int32, np.uint32):
        with pytest.raises(UsageError, match="unknown type"):
            as_photo(np.ones((2, 2), kind))


def test_a_file_that_cannot_be_read_is_called_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png"):
        as_photo(tmp_path / "gone.png", "The mask")
