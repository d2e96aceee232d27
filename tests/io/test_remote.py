"""Libraries on a URL: what is read is what is there now, and nothing is written there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.edits.library import EditLibrary, preview_path
from pairedit_sdk.errors import LibraryError, UsageError
from pairedit_sdk.io import remote
from pairedit_sdk.io.files import cache_folder
from pairedit_sdk.io.remote import fetch_edit, is_url

URL = "memory://lib/edits"


@pytest.fixture
def memory() -> Iterator[Any]:
    """A library in memory, with two edits of which one has a preview."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe(
        {f"/lib/edits/{name}": name.encode() for name in
         ("hat.safetensors", "hat.png", "age.safetensors", "notes.txt", ".x.safetensors")}
        | {"/lib/edits/runs/hat/edit.safetensors": b"of a run"}
    )  # fmt: skip
    yield system
    system.store.clear()


@pytest.mark.parametrize(
    ("library", "url"),
    [
        ("memory://x", True),
        ("s3://bucket/edits", True),
        ("file:///home/me/edits", True),
        ("edits", False),
        ("/home/me/edits", False),
        ("c://edits", False),
        ("./memory://x", False),
        (Path("edits"), False),
    ],
)
def test_what_is_a_url(library: str | Path, url: bool) -> None:
    assert is_url(library) == url


def test_list_and_find(memory: Any) -> None:
    found = EditLibrary(URL).paths()
    assert [path.name for path in found] == ["age.safetensors", "hat.safetensors"]
    assert [path.read_bytes() for path in found] == [b"age.safetensors", b"hat.safetensors"]
    path = EditLibrary(f"{URL}/").path("hat")
    assert path == found[1]
    assert path.is_relative_to(cache_folder() / "library")
    assert preview_path(path).read_bytes() == b"hat.png"
    assert not preview_path(found[0]).exists()


def test_a_copy_is_used_again_but_never_when_it_is_old(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    real = type(memory).get_file

    def counted(self: Any, remote: str, local: str, **more: Any) -> Any:
        fetched.append(remote)
        return real(self, remote, local, **more)

    monkeypatch.setattr(type(memory), "get_file", counted)
    first = EditLibrary(URL).path("age")
    assert EditLibrary(URL).path("age") == first
    assert fetched == ["/lib/edits/age.safetensors"]
    memory.pipe("/lib/edits/age.safetensors", b"AGE.safetensors")  # of the same size
    second = EditLibrary(URL).path("age")
    assert second.read_bytes() == b"AGE.safetensors"
    assert first.read_bytes() == b"age.safetensors"  # whoever reads it is not disturbed
    memory.pipe("/lib/edits/age.png", b"picture")
    assert preview_path(EditLibrary(URL).path("age")).read_bytes() == b"picture"
    memory.rm("/lib/edits/age.png")
    assert not preview_path(EditLibrary(URL).path("age")).exists()
    memory.rm("/lib/edits/age.safetensors")
    assert fetch_edit(URL, "age") is None


def test_without_a_time_or_etag_it_is_fetched_every_time(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(memory), "info",
        lambda self, path: {"name": path, "size": len(self.cat_file(path)), "type": "file"},
    )  # fmt: skip
    assert EditLibrary(URL).path("age").read_bytes() == b"age.safetensors"
    memory.pipe("/lib/edits/age.safetensors", b"AGE.safetensors")
    assert EditLibrary(URL).path("age").read_bytes() == b"AGE.safetensors"


def test_a_file_that_changes_meanwhile_is_fetched_again(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = type(memory).get_file
    changes = iter([b"two", b"three"])

    def changing(self: Any, remote: str, local: str, **more: Any) -> Any:
        real(self, remote, local, **more)
        if (content := next(changes, None)) is not None:
            self.pipe("/lib/edits/age.safetensors", content)

    monkeypatch.setattr(type(memory), "get_file", changing)
    assert EditLibrary(URL).path("age").read_bytes() == b"three"
    changes = iter([b"%d" % k for k in range(remote.TRIES)])
    memory.pipe("/lib/edits/age.safetensors", b"again")
    with pytest.raises(LibraryError, match=r"age in the library .* changes while it is read"):
        EditLibrary(URL).path("age")


def test_a_failed_copy_leaves_nothing(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: Any, remote: str, local: str, **more: Any) -> None:
        Path(local).write_bytes(b"ha")
        raise ConnectionResetError("gone")

    monkeypatch.setattr(type(memory), "get_file", cut)
    with pytest.raises(LibraryError, match=r"cannot be read \(ConnectionResetError: gone\)"):
        EditLibrary(URL).path("hat")
    assert [path for path in cache_folder().rglob("*") if path.is_file()] == []


def test_a_folder_by_its_file_url(tmp_path: Path) -> None:
    path = tmp_path / "hat.safetensors"
    path.write_bytes(b"one")
    url = f"file://{tmp_path}"
    copy = EditLibrary(url).path("hat")
    assert (copy.read_bytes(), copy != path) == (b"one", True)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert EditLibrary(url).path("hat").read_bytes() == b"two"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory://none", r"There is no library memory://none\. Expected a folder of saved edits"),
        ("file:///no/such/folder", r"There is no library file:///no/such/folder\. "),
        (
            "nope://x",
            r"nope://x has a protocol that fsspec does not know\. Expected for example s3",
        ),
    ],
)
def test_what_cannot_be_read_is_named(memory: Any, url: str, said: str) -> None:
    for ask in (EditLibrary.names, EditLibrary.paths, lambda library: library.path("hat")):
        with pytest.raises(LibraryError, match=said) as raised:
            ask(EditLibrary(url))
        assert raised.value.exit_code == 2


def test_a_missing_package_is_named() -> None:
    fsspec.register_implementation("absent", "no_such_package.FileSystem", clobber=True)
    with pytest.raises(LibraryError, match="Install it with `pip install no_such_package`"):
        EditLibrary("absent://me:secret@host/edits").paths()
    with pytest.raises(LibraryError) as raised:
        EditLibrary("absent://me:secret@host/edits").path("hat")
    assert "secret" not in str(raised.value)


def test_an_unknown_name_is_told_the_nearest_without_fetching_any(memory: Any) -> None:
    with pytest.raises(UsageError, match=r"no edit 'hta' in the library memory://.*mean hat\?"):
        EditLibrary(URL).path("hta")
    assert not (cache_folder() / "library").exists()


@pytest.mark.parametrize(
    "act",
    [
        lambda: EditLibrary(URL).target("hat"),
        lambda: EditLibrary(URL).run_folder("hat"),
        lambda: EditBasis.open(URL),
    ],
)
def test_it_is_only_read(act: Any) -> None:
    with pytest.raises(UsageError, match=r"is on a URL, and edits are only read from there"):
        act()
