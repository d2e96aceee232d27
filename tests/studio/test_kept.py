"""Bounded folders: what is in them, while others delete from them."""

from __future__ import annotations

import os
from pathlib import Path

from pairedit_sdk.studio.kept import newest_first


def test_the_newest_is_first_and_what_is_gone_is_left_out(tmp_path: Path) -> None:
    for age, name in enumerate(["old", "new"]):
        (tmp_path / name).write_bytes(b"x" * age)
        os.utime(tmp_path / name, (age, age))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")  # listed, and not there when looked at
    assert [(path.name, known.st_size) for path, known in newest_first(tmp_path)] == [
        ("new", 1),
        ("old", 0),
    ]


def test_no_folder_is_empty(tmp_path: Path) -> None:
    assert newest_first(tmp_path / "none") == []
