"""The folder of Gradio's copies: this studio's alone, and gone after it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pairedit_sdk.studio.page.copies import VARIABLE, Copies


@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_gradio_is_sent_there_while_the_page_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    copies = Copies(tmp_path / "cache")
    assert os.environ.get(VARIABLE) == before
    for _ in range(2):  # an application may be served again
        with copies.served():
            assert os.environ[VARIABLE] == str(copies.folder)
            (copies.folder / "a.png").write_bytes(b"x")
        assert os.environ.get(VARIABLE) == before
        assert not (tmp_path / "cache").exists()


def test_what_a_killed_studio_left_goes_and_another_one_stays(tmp_path: Path) -> None:
    left, other = tmp_path / "left", Copies(tmp_path)
    left.mkdir()
    (left / "a.png").write_bytes(b"x")
    left.with_suffix(".lock").touch()
    copies = Copies(tmp_path)
    with copies.served():
        assert sorted(path for path in tmp_path.iterdir() if path.is_dir()) == sorted(
            [other.folder, copies.folder]
        )
    with other.served():
        assert other.folder.is_dir()
    assert list(tmp_path.iterdir()) == [] if tmp_path.exists() else True
