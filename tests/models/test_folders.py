"""Names of models: which one is meant, and what can be told of it without loading it."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.models.folders import BUILT_IN, DEFAULT_MODEL, located, pipeline_class, resolve
from pairedit_sdk.models.kinds import built_in_for, has_image_encoder, is_edit_model
from pairedit_sdk.models.loading import load_model


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


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}/model", "~nobody-here/model", "a\0b"])
def test_a_name_that_the_system_does_not_take_is_no_model(name: str) -> None:
    with pytest.raises(BaseModelError, match=r"no model|configuration of x+/model is not part"):
        resolve(name, configs_only=True)
    assert located(name) == name
    assert not has_image_encoder(name)
    assert not is_edit_model(name)


def test_the_model_of_those_who_name_none_is_built_in_and_sees_the_picture() -> None:
    assert inspect.signature(load_model).parameters["name_or_path"].default == DEFAULT_MODEL
    assert pipeline_class(BUILT_IN[DEFAULT_MODEL]) == "FluxKontextPipeline"
    assert built_in_for("before") == DEFAULT_MODEL
    assert not is_edit_model(built_in_for("none"))


def test_an_edit_model_is_known_by_its_class_and_a_stranger_by_its_name(
    tmp_path: Path, tiny_folder: Path, tiny_kontext_folder: Path
) -> None:
    misnamed = tmp_path / "my-kontext"
    misnamed.symlink_to(tiny_folder)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "model_index.json").write_text("[", encoding="utf-8")
    see = ("mini-kontext", str(tiny_kontext_folder), "who/flux-KONTEXT-4bit")
    blind = ("mini", str(tiny_folder), str(misnamed), str(damaged), "who/flux", "kontext", "", "..")
    assert [name for name in (*see, *blind) if is_edit_model(name)] == list(see)
