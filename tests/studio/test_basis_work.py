"""What the page shows of the basis, and changes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.images.image import read_image
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.studio import basis_work
from pairedit_sdk.studio.kept_pairs import keep_pairs
from pairedit_sdk.studio.service import Service

PAIRS = examples_dir() / "pairs" / "hat"


def files(side: str) -> list[str]:
    return sorted((str(path) for path in (PAIRS / side).iterdir()), reverse=True)


def test_an_edit_is_placed_with_uploaded_pairs_and_taken_out(service: Service) -> None:
    empty = basis_work.basis_shown(service)
    assert (empty.entries, empty.others) == ((), ("cap", "hat"))
    said = basis_work.place(service, "hat", files("source"), files("target"))
    assert said == "Placed hat with 3 pairs."
    shown = basis_work.basis_shown(service)
    assert (shown.names, shown.others, shown.model) == (["hat"], ("cap",), "mini")
    assert basis_work.neighbours(service, "hat") == "hat is the only edit of the basis."
    with pytest.raises(UsageError, match="in the basis already"):
        basis_work.place(service, "hat", files("source"), files("target"))
    assert "the edit itself is still there" in basis_work.remove(service, "hat")
    assert basis_work.basis_shown(service).names == []
    assert "hat" in service.library


def test_the_pairs_that_the_studio_trained_from_are_taken(service: Service) -> None:
    assert basis_work.kept_pairs(service, "hat") is None
    assert basis_work.kept_pairs(service, None) is None
    before, after = (Path(files(side)[0]).read_bytes() for side in ("source", "target"))
    kept = keep_pairs(service.folder / "pairs" / "hat", [(before, after)])
    assert basis_work.kept_pairs(service, "hat") == kept
    assert basis_work.place(service, "hat", [], []).startswith("Placed hat with 1 pair.")
    told = basis_work.place(service, "cap", files("source"), files("target"))
    assert told.startswith("Placed cap with 3 pairs.")
    assert basis_work.neighbours(service, "cap").startswith("Most like cap: hat 0.")


def test_pairs_are_matched_by_their_names(tmp_path: Path) -> None:
    befores = [tmp_path / f"{n}.png" for n in (10, 9, 1)]
    afters = [tmp_path / f"{n}_after.png" for n in (9, 1, 10)]
    for path in (*befores, *afters):
        number = int(path.stem.split("_")[0])
        read_image(files("source")[0]).resize((8 * number, 8)).save(path)
    pairs = basis_work.uploaded_pairs([*map(str, befores)], [*map(str, afters)])
    assert [pair.before.width for pair in pairs] == [8, 72, 80]
    assert [pair.after.width for pair in pairs] == [8, 72, 80]


def test_what_is_missing_is_said(service: Service, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 before picture and 0 after pictures"):
        basis_work.place(service, "hat", files("source")[:1], [])
    with pytest.raises(UsageError, match="No edit is chosen"):
        basis_work.place(service, None, [], [])
    for what in (basis_work.remove, basis_work.neighbours):
        with pytest.raises(UsageError, match="No edit of the basis is chosen"):
            what(service, None)
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(InputError, match=r"x\.png"):
        basis_work.place(service, "hat", [str(tmp_path / "x.png")], files("target")[:1])
    with pytest.raises(UsageError, match="cannot be the name"):
        basis_work.place(service, "../hat", files("source"), files("target"))
