from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pairedit_sdk.basis.store import BasisStore
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.studio import shelf as module
from pairedit_sdk.studio.shelf import Shelf

LAYER = "transformer_blocks.0.attn.to_q"


def an_edit(name: str, seed: int = 0) -> Edit:
    generator = torch.Generator().manual_seed(seed)
    layer = LoraLayer(
        torch.randn(2, 8, generator=generator), torch.randn(8, 2, generator=generator)
    )
    return Edit({LAYER: layer}, EditInfo(name=name, base="mini", rank=2))


def some_embeddings(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 1, 2, 16, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def shelf(library: Path) -> Shelf:
    saved = EditLibrary(library)
    saved.save(an_edit("glasses"), preview=Image.new("RGB", (8, 8), "red"))
    saved.save(an_edit("hat", 1))
    store = BasisStore(saved)
    store.place(an_edit("glasses"), some_embeddings(), "mini", replacing=False)
    return Shelf(library, library / ".studio" / "trash")


def files(library: EditLibrary) -> set[str]:
    return {path.name for path in library.folder.iterdir() if path.is_file()}


def test_renaming_takes_file_preview_and_basis_along(shelf: Shelf) -> None:
    before = shelf.library.load("glasses")
    assert shelf.rename("glasses", "specs") == shelf.library.file("specs")
    assert files(shelf.library) == {"specs.safetensors", "specs.png", "hat.safetensors"}
    renamed = shelf.library.load("specs")
    assert renamed.name == "specs"
    assert torch.equal(renamed.layers[LAYER].down, before.layers[LAYER].down)
    assert BasisStore(shelf.library).index.names == ("specs",)


def test_renaming_an_edit_that_is_in_no_basis(shelf: Shelf) -> None:
    # A preview that was left behind is none of the renamed edit's.
    Image.new("RGB", (8, 8)).save(shelf.library.folder / "cap.png")
    shelf.rename("hat", "cap")
    assert files(shelf.library) == {"glasses.safetensors", "glasses.png", "cap.safetensors"}
    assert shelf.library.info("cap").name == "cap"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("glasses", "hat", "There is an edit hat already"),
        ("hat", "glasses", "There is an edit glasses already"),
        ("hat", "hat", "There is an edit hat already"),
        ("hat", "../hat", "cannot be the name"),
        ("none", "some", "There is no edit 'none'"),
        ("../glasses", "some", "cannot be the name"),
    ],
)
def test_names_that_are_refused_change_nothing(shelf: Shelf, old: str, new: str, said: str) -> None:
    before = files(shelf.library)
    with pytest.raises(UsageError, match=said):
        shelf.rename(old, new)
    assert files(shelf.library) == before
    assert BasisStore(shelf.library).index.names == ("glasses",)


def test_a_deletion_is_undone_bit_for_bit_with_its_place_in_the_basis(shelf: Shelf) -> None:
    library = shelf.library
    edit, preview = library.file("glasses").read_bytes(), (library.folder / "glasses.png")
    picture, index = preview.read_bytes(), BasisStore(library).index
    deleted = shelf.delete("glasses")
    assert files(library) == {"hat.safetensors"}
    assert BasisStore(library).index.names == ()
    assert shelf.deleted() == [deleted]
    assert shelf.put_back(deleted.key) == ""
    assert library.file("glasses").read_bytes() == edit
    assert preview.read_bytes() == picture
    assert BasisStore(library).index.names == ("glasses",)
    assert torch.equal(BasisStore(library).index.keys, index.keys)
    assert torch.equal(BasisStore(library).embeddings("glasses"), some_embeddings())
    assert shelf.deleted() == []
    with pytest.raises(UsageError, match="not in the trash"):
        shelf.put_back(deleted.key)


def test_an_edit_whose_name_is_taken_stays_in_the_trash(shelf: Shelf) -> None:
    deleted = shelf.delete("hat")
    shelf.library.save(an_edit("hat", 7))
    with pytest.raises(UsageError, match="There is an edit hat already"):
        shelf.put_back(deleted.key)
    assert shelf.deleted() == [deleted]
    shelf.rename("hat", "cap")
    shelf.put_back(deleted.key)
    assert torch.equal(
        shelf.library.load("hat").layers[LAYER].down, an_edit("hat", 1).layers[LAYER].down
    )


def test_a_basis_that_looks_with_another_encoder_now_is_left_alone(shelf: Shelf) -> None:
    deleted = shelf.delete("glasses")
    store = BasisStore(shelf.library)
    store.place(an_edit("hat", 1), some_embeddings(2), "another", replacing=False)
    assert "another" in shelf.put_back(deleted.key)
    assert "glasses" in shelf.library
    assert BasisStore(shelf.library).index.names == ("hat",)


def test_the_newest_deletion_is_first_and_old_ones_go(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    for name in ("one", "two", "three"):
        shelf.library.save(an_edit(name))
        shelf.delete(name)
    assert [one.name for one in shelf.deleted()] == ["three", "two"]


@pytest.mark.parametrize("key", ["", "..", "../../glasses", "00-glasses"])
def test_a_key_is_no_path(shelf: Shelf, key: str) -> None:
    with pytest.raises(UsageError, match="not in the trash"):
        shelf.put_back(key)


def test_what_somebody_else_put_into_the_trash_is_not_listed(shelf: Shelf) -> None:
    folder = shelf.trash / "1-evil"
    folder.mkdir(parents=True)
    (folder / "edit.safetensors").write_bytes(b"")
    (folder / "entry.json").write_text('{"name": "../evil", "encoder": ""}')
    assert shelf.deleted() == []
