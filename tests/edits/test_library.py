from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.library import EditLibrary, check_name, preview_path
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer


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
    library = EditLibrary("edits")
    for function in (check_name, library.target, library.run_folder):
        with pytest.raises(UsageError, match=r"cannot be the name of an edit\. Expected 1 to"):
            function(name)


@pytest.mark.parametrize("name", ["CON", "prn", "Aux", "nul", "COM1", "com0", "Lpt9"])
def test_names_that_windows_keeps_for_devices(name: str, tmp_path: Path) -> None:
    library = EditLibrary(tmp_path)
    for function in (check_name, library.target, library.run_folder):
        with pytest.raises(UsageError, match=f"'{name}' cannot be .* Choose a name like {name}-ed"):
            function(name)
    # One that an earlier version has saved can be read and removed.
    (tmp_path / f"{name}.safetensors").touch()
    assert library.path(name) == tmp_path / f"{name}.safetensors"
    library.remove(name)
    assert library.names() == []


@pytest.mark.parametrize("name", ["nul.safetensors", "CON.", "con ", "com1.png", "LPT\u00b9"])
def test_names_that_windows_cuts_down_to_a_device(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of an edit"):
        check_name(name)


@pytest.mark.parametrize("name", ["console", "com10", "nul-1", "_con", "com"])
def test_names_that_only_begin_like_a_device(name: str) -> None:
    assert check_name(name) == name


def test_what_a_library_says_of_itself() -> None:
    library = EditLibrary("lib")
    assert (str(library), repr(library)) == ("lib", "EditLibrary('lib')")
    assert library == EditLibrary(Path("lib")) == EditLibrary(library)
    assert len({library, EditLibrary("lib/"), EditLibrary("other")}) == 2
    assert (library.folder, library.is_remote) == (Path("lib"), False)
    assert EditLibrary("s3://lib").is_remote


def test_places() -> None:
    assert EditLibrary("lib").target("hat") == Path("lib/hat.safetensors")
    assert EditLibrary("lib").run_folder("hat") == Path("lib/runs/hat")


def test_list_has_the_edits_and_nothing_else(filled: Path) -> None:
    library = EditLibrary(filled)
    assert [path.stem for path in library.paths()] == ["Hat_2", "glasses", "smile"]
    assert list(library) == library.names() == ["Hat_2", "glasses", "smile"]
    assert "smile" in library
    assert "notes" not in library


def test_no_library_has_no_edits(tmp_path: Path) -> None:
    assert EditLibrary(tmp_path / "none").paths() == []


def test_a_file_is_no_library(filled: Path) -> None:
    with pytest.raises(UsageError, match=r"is a file\. Expected a folder"):
        EditLibrary(filled / "notes.txt").paths()


def test_find_by_name_and_by_path(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled / "smile.safetensors"
    assert EditLibrary(filled).path("smile") == path
    assert EditLibrary("elsewhere").path(path) == path
    monkeypatch.chdir(filled)
    assert EditLibrary("elsewhere").path("smile.safetensors") == Path("smile.safetensors")


def test_a_name_in_the_library_goes_before_a_file_beside_it(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "smile").touch()
    monkeypatch.chdir(here)
    assert EditLibrary(filled).path("smile") == filled / "smile.safetensors"


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
        EditLibrary(filled).path(said)
    assert str(raised.value).startswith(start)
    assert hint in str(raised.value)


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no edits yet: train one with `pairedit train`"):
        EditLibrary(tmp_path).path("smile")


def _edit(name: str) -> Edit:
    layers = {"x_embedder": LoraLayer(torch.ones(1, 4), torch.ones(3, 1))}
    return Edit(layers, EditInfo(name, rank=1))


def test_save_load_and_remove(tmp_path: Path) -> None:
    library = EditLibrary(tmp_path / "new")
    path = library.save(_edit("hat"), preview=Image.new("RGB", (8, 8)))
    assert path == library.target("hat") == library.path("hat")
    assert preview_path(path).is_file()
    assert library.load("hat").layers.keys() == {"x_embedder"}
    assert library.info("hat") == EditInfo("hat", rank=1)
    with pytest.raises(UsageError, match="There is an edit hat already"):
        library.save(_edit("hat"))
    with pytest.raises(UsageError, match="There is an edit hat already"):
        library.target("hat", replace=False)
    library.save(_edit("hat"), replace=True)
    assert not preview_path(path).exists()  # it was the other's
    library.run_folder("hat").mkdir(parents=True)
    assert library.remove("hat") == path
    assert library.names() == []
    assert library.run_folder("hat").is_dir()


def test_only_edits_of_the_library_are_removed(
    filled: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "smil").touch()
    monkeypatch.chdir(here)
    with pytest.raises(UsageError, match=r"no edit 'smil' in the library .*mean smile\?"):
        EditLibrary(filled).remove("smil")
    assert (here / "smil").exists()
