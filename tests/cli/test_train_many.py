from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]


@pytest.fixture
def manifest(pairs: Path, tmp_path: Path) -> Path:
    """Two edits of good pairs, and one of a picture that is none."""
    for side in ("source", "target"):
        (tmp_path / "broken" / side).mkdir(parents=True)
        (tmp_path / "broken" / side / "1.png").write_text("no picture [bold]")
    lines = [
        {"name": "one", "pairs": "pairs", "set": {"steps": 2}},
        {"name": "bad", "pairs": "broken"},
        {"name": "two", "pairs": "pairs", "set": {"steps": 3}, "licence": "mine"},
    ]
    path = tmp_path / "list.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_trains_all_that_can_be_trained_on_one_base(
    pairedit: Pairedit, rooms: Rooms, manifest: Path, library: Path
) -> None:
    result = pairedit("train-many", manifest, "--set", "loss.eta=3", "--set", "steps=9")
    assert result.exit_code == 1
    assert len(rooms.of("load_model")) == 1
    calls = rooms.of("train")
    assert [(c["name"], c["config"].steps, c["config"].eta) for c in calls] == [
        ("one", 2, 3), ("two", 3, 3),
    ]  # fmt: skip
    assert {c["run_dir"].parent for c in calls} == {library / "runs"}
    assert sorted(p.name for p in library.iterdir()) == [
        "one.png", "one.safetensors", "train-many.jsonl", "two.png", "two.safetensors",
    ]  # fmt: skip
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows[1:] if row[1:2] in (["made"], ["failed"])] == [
        ["one", "made"], ["bad", "failed"], ["two", "made"],
    ]  # fmt: skip
    assert result.stdout.splitlines()[-1] == f"2 made, 0 skipped, 1 failed, in {library}."


def test_progress_names_each_edit_and_what_became_of_it(
    pairedit: Pairedit, rooms: Rooms, manifest: Path, library: Path
) -> None:
    lines = pairedit("train-many", manifest).stderr.splitlines()
    assert lines[0].startswith("training one: 1 of 2")
    assert [line[:6] for line in lines if line[1:5] == " of "] == ["1 of 3", "2 of 3", "3 of 3"]
    (bad,) = [line for line in lines if "bad failed" in line]
    assert bad.startswith("2 of 3: bad failed: Pairs folder ")


def test_json(pairedit: Pairedit, rooms: Rooms, manifest: Path, library: Path) -> None:
    result = pairedit("train-many", manifest, "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert (said["made"], said["skipped"], said["failed"]) == (2, 0, 1)
    assert said["log"] == str(library / "train-many.jsonl")
    one, bad, two = said["edits"]
    assert (one["name"], one["state"], one["path"]) == (
        "one", "made", str(library / "one.safetensors")
    )  # fmt: skip
    assert (bad["state"], bad["path"]) == ("failed", None)
    assert "is not a picture that can be read" in bad["reason"]
    assert two["seconds"] >= 0


def test_the_exit_status_is_0_when_nothing_failed(
    pairedit: Pairedit, rooms: Rooms, manifest: Path, library: Path
) -> None:
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([lines[0], lines[2]]))
    result = pairedit("train-many", manifest, "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_base_precision_and_device_are_those_of_all(
    pairedit: Pairedit, rooms: Rooms, manifest: Path, library: Path
) -> None:
    words = ("--base", "x/y", "--precision", "bf16", "--device", "cpu", "--set", "steps=1")
    assert pairedit("train-many", manifest, *words).exit_code == 1
    (loaded,) = rooms.of("load_model")
    assert loaded == {
        "name_or_path": "x/y", "precision": "bf16", "device": "cpu", "offload": False,
    }  # fmt: skip
    assert {call["config"].base for call in rooms.of("train")} == {"x/y"}


def test_ctrl_c_says_where_it_was_and_to_do_the_same_again(
    pairedit: Pairedit, rooms: Rooms, manifest: Path, library: Path
) -> None:
    def stop() -> None:
        if len(rooms.of("train")) == 2:
            raise KeyboardInterrupt

    rooms.on_train = stop
    result = pairedit("train-many", manifest)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == (
        "Error: Stopped with 2 of 3 edits through, two before its first checkpoint. Go on with the "
        "same command."
    )
    assert not (library / "two.safetensors").exists()
    assert len((library / "train-many.jsonl").read_text().splitlines()) == 2


def test_without_ray_it_says_how_to_get_it(
    pairedit: Pairedit, rooms: Rooms, manifest: Path, library: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", None)
    result = pairedit("train-many", manifest, "--engine", "ray", "--workers", "2")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: Ray is not installed. Install it with `pip install 'pairedit-sdk[ray]'`.\n"
    )
    assert rooms.calls == []


def test_again_on_a_real_base_there_is_nothing_to_do(
    pairedit: Pairedit, manifest: Path, library: Path, tiny_folder: Path
) -> None:
    words = ("train-many", manifest, "--base", tiny_folder, "--set", "lora.rank=4", "--json")
    first = json.loads(pairedit(*words).stdout)
    before = {path: path.stat().st_mtime_ns for path in library.glob("*.safetensors")}
    assert (len(before), first["made"], first["failed"]) == (2, 2, 1)
    again = json.loads(pairedit(*words).stdout)
    assert (again["made"], again["skipped"], again["failed"]) == (0, 2, 1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
