from __future__ import annotations

from pathlib import Path

import pytest

from pairedit_sdk.edits.library import check_name, edit_path, find_edit_path, list_edits, run_folder
from pairedit_sdk.errors import UsageError


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    for name in ("smile", "glasses", "Hat_2"):
        (tmp_path / f"{name}.safetensors").touch()
    (tmp_path / ".glasses.safetensors.17.part").touch()
    (tmp_path / ".hidden.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "runs" / "glasses").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("name", ["glasses", "a", "Red-hair_2", "_x", "9", "x" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a.b", "a/b", "a\\b", "/a", "-a", "a b", "a\n", "é", "a=1", "x" * 65, "\0"],
)
def test_bad_names(name: str) -> None:
    for function in (check_name, lambda n: edit_path(n, "edits"), lambda n: run_folder(n, "edits")):
        with pytest.raises(UsageError, match=r"cannot be the name of an edit\. Expected 1 to"):
            function(name)


def test_places() -> None:
    assert edit_path("hat", "lib") == Path("lib/hat.safetensors")
    assert run_folder("hat", "lib") == Path("lib/runs/hat")


def test_list_has_the_edits_and_nothing_else(filled: Path) -> None:
    assert [path.stem for path in list_edits(filled)] == ["Hat_2", "glasses", "smile"]


def test_no_library_has_no_edits(tmp_path: Path) -> None:
    assert list_edits(tmp_path / "none") == []


def test_a_file_is_no_library(filled: Path) -> None:
    with pytest.raises(UsageError, match=r"is a file\. Expected a folder"):
        list_edits(filled / "notes.txt")


def test_find_by_name_and_by_path(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled / "smile.safetensors"
    assert find_edit_path("smile", filled) == path
    assert find_edit_path(path, "elsewhere") == path
    monkeypatch.chdir(filled)
    assert find_edit_path("smile.safetensors", "elsewhere") == Path("smile.safetensors")


def test_a_name_in_the_library_goes_before_a_file_beside_it(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "smile").touch()
    monkeypatch.chdir(here)
    assert find_edit_path("smile", filled) == filled / "smile.safetensors"


@pytest.mark.parametrize(
    ("said", "start", "hint"),
    [
        ("glases", "There is no edit 'glases' in the library ", "Did you mean glasses?"),
        ("tattoo", "There is no edit 'tattoo' in the library ", "Known: Hat_2, glasses, smile."),
        ("x/smil.safetensors", "There is no edit file x/smil.safetensors.", "Did you mean smile?"),
        ("a.b", "There is no edit 'a.b' in the library ", "Known: Hat_2, glasses, smile."),
    ],
)
def test_unknown_edits_name_the_nearest(filled: Path, said: str, start: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        find_edit_path(said, filled)
    assert str(raised.value).startswith(start)
    assert hint in str(raised.value)


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no edits yet: train one with `pairedit train`"):
        find_edit_path("smile", tmp_path)
