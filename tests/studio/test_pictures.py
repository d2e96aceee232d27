"""Pictures that are kept: by their content, bounded, and never by a path."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pairedit_sdk.errors import InputError
from pairedit_sdk.studio.pictures import Pictures


def test_a_picture_is_kept_as_it_is(tmp_path: Path, faces: Callable[..., bytes]) -> None:
    pictures, data = Pictures(tmp_path / "p"), faces(1)
    key = pictures.keep(data)
    assert pictures.data(key) == data
    assert pictures.photo(key).size == (64, 64)
    assert pictures.keep(data) == key
    assert key in pictures
    assert len(list((tmp_path / "p").iterdir())) == 1


def test_what_is_no_picture_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cat\.png is not a picture"):
        Pictures(tmp_path / "p").keep(b"no picture", "cat.png")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("key", ["", "../secret", "0" * 31, "0" * 32, "/etc/passwd", "A" * 32])
def test_only_a_key_finds_a_picture(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    pictures = Pictures(tmp_path / "p")
    assert key not in pictures
    with pytest.raises(InputError, match="is not kept any more"):
        pictures.data(key)


def test_what_was_not_used_for_longest_goes_first(
    tmp_path: Path, faces: Callable[..., bytes]
) -> None:
    files = [faces(k, kind="BMP") for k in range(4)]  # all of one size
    pictures = Pictures(tmp_path, bound=3 * len(files[0]))
    keys = []
    for age, data in enumerate(files[:3]):
        keys.append(pictures.keep(data))
        os.utime(tmp_path / keys[-1], (age, age))
    pictures.data(keys[0])  # used again
    keys.append(pictures.keep(files[3]))
    assert [key in pictures for key in keys] == [True, False, True, True]


def test_many_keep_pictures_at_once(tmp_path: Path, faces: Callable[..., bytes]) -> None:
    files = [faces(k, 16, kind="BMP") for k in range(24)]
    pictures = Pictures(tmp_path, bound=3 * len(files[0]))
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(pictures.keep, files * 8))
    assert len(set(keys)) == 24
    assert len(list(tmp_path.iterdir())) == 3
    assert pictures.data(pictures.keep(files[5])) == files[5]


def test_a_picture_that_is_deleted_meanwhile_is_gone(
    tmp_path: Path, faces: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process, which bounds the same folder."""
    pictures = Pictures(tmp_path)
    key = pictures.keep(faces(1))

    def deleted(path: Path) -> None:
        path.unlink()
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "utime", deleted)
    with pytest.raises(InputError, match="is not kept any more"):
        pictures.data(key)
    assert pictures.keep(faces(1)) == key
