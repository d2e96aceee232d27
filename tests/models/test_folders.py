"""A model's name that means the same from every folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pairedit_sdk.models.folders import located


def test_a_folder_becomes_absolute_and_other_names_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "home" / "mine").mkdir(parents=True)
    (tmp_path / "mini").mkdir()
    os.symlink(tmp_path / "models", tmp_path / "link")
    monkeypatch.chdir(tmp_path / "models")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert located("./mine") == located("mine/") == str(tmp_path / "models" / "mine")
    assert located("../link/mine") == str(tmp_path / "link" / "mine")
    assert located("~/mine") == str(tmp_path / "home" / "mine")
    monkeypatch.chdir(tmp_path)
    for name in ("mini", "mini-kontext", "black-forest-labs/FLUX.1-dev", "./none", ""):
        assert located(name) == name
