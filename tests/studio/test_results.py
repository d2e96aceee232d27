"""Files for downloading: under the name that is wanted, and not without end."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pairedit_sdk.studio.results import Results


def test_a_result_has_the_name_that_is_wanted(tmp_path: Path) -> None:
    results = Results(tmp_path / "r")
    one, other = results.save("a.png", b"1"), results.save("../a.png", b"2")
    assert (one.name, one.read_bytes(), other.name, other.read_bytes()) == (
        "a.png",
        b"1",
        "a.png",
        b"2",
    )
    assert one != other
    assert other.parent.parent == tmp_path / "r"


def test_an_archive_holds_every_file(tmp_path: Path) -> None:
    path = Results(tmp_path).archive(
        "all.zip", [("a.png", b"1"), ("a.png", b"2"), ("x/b.png", b"3")]
    )
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held == {"a.png": b"1", "a-2.png": b"2", "b.png": b"3"}


def test_the_oldest_go(tmp_path: Path) -> None:
    results = Results(tmp_path, kept=3)
    made = [results.save(f"{k}.png", b"") for k in range(6)]
    assert [path.exists() for path in made] == [False] * 3 + [True] * 3


def test_many_save_at_once(tmp_path: Path) -> None:
    results = Results(tmp_path, kept=2)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda k: results.save("a.png", b"%d" % k), range(400)))
    assert len(set(made)) == 400
    last = results.save("a.png", b"")
    assert last.is_file()
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_written_is_not_deleted(tmp_path: Path) -> None:
    results = Results(tmp_path, kept=1)

    def files() -> Iterator[tuple[str, bytes]]:
        for k in range(3):
            results.save(f"{k}.png", b"")
            yield f"{k}.png", b"%d" % k

    path = results.archive("all.zip", files())
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["0.png", "1.png", "2.png"]
