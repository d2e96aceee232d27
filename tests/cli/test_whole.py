"""The commands on a real model, without stand-ins: check, train, use, list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit

Pairedit = Callable[..., Result]


def test_from_pairs_to_pictures(
    pairedit: Pairedit, tiny_folder: Path, face_pairs: Callable[..., object], tmp_path: Path,
    library: Path,
) -> None:  # fmt: skip
    for side in ("source", "target"):
        (tmp_path / "my pairs" / side).mkdir(parents=True)
    for pair in face_pairs({"hat": "beanie"}, 2):  # type: ignore[attr-defined]
        pair.before.save(tmp_path / "my pairs" / "source" / f"{pair.name}.png")
        pair.after.save(tmp_path / "my pairs" / "target" / f"{pair.name}.png")
    face = face_pairs({"hat": "beanie"}, 1, seed=7)[0].before.resize((80, 60))  # type: ignore[index]
    face.save(tmp_path / "face.png")

    def run(*words: object) -> Result:
        result = pairedit(*words)
        assert result.exit_code == 0, result.output
        return result

    checked = run("check", tmp_path / "my pairs")
    assert "pairedit train '" in checked.stdout  # can be pasted, in spite of the space
    settings = ("--set", "steps=3", "--set", "lr=0.02", "--set", "preview_every=3")
    run("train", tmp_path / "my pairs", "--name", "hat", "--base", tiny_folder, *settings)
    run_dir = library / "runs" / "hat"
    assert len((run_dir / "metrics.jsonl").read_text().splitlines()) == 3
    assert (run_dir / "previews" / "step-000003.png").is_file()

    # The model is not named again: the edit knows it.
    # What it is composed into below has no scale limit.
    how = ("--steps", "2", "--no-limit-scale")
    run("edit", tmp_path / "face.png", "--edit", "hat=2", *how, "-o", "edited.png")
    run("sweep", tmp_path / "face.png", "--edit", "hat", "--steps", "2", "-o", "strip.png")
    run("generate", "--prompt", "a person", "--edit", "hat", "--steps", "2", "-o", "new.png")
    sizes = {}
    for name in ("edited", "strip", "new"):
        with Image.open(tmp_path / f"{name}.png") as image:
            sizes[name] = image.size
    assert sizes["edited"] == (80, 60)
    assert sizes["strip"][0] > 6 * 80
    assert sizes["new"] == (128, 128)

    # Twice the same edit at half its strength is the edit itself, at any rank that holds it.
    half = ("--edit", "hat=0.5")
    run("compose", *half, *half, "--name", "hat2")
    run("compose", *half, *half, "--name", "hat3", "--rank", "16")
    for name in ("hat2", "hat3"):
        run("edit", tmp_path / "face.png", "--edit", f"{name}=2", "--steps", "2", "-o", "same.png")
        with Image.open(tmp_path / "edited.png") as one, Image.open(tmp_path / "same.png") as two:
            assert ImageChops.difference(one, two).getextrema() <= ((0, 1),) * 3
    assert "  made of       hat @ 0.5, hat @ 0.5\n" in run("edits", "show", "hat2").stdout
    again = pairedit("compose", *half, "--name", "hat2")
    assert again.exit_code == 2
    assert "There is an edit hat2 already" in again.output

    said = json.loads(run("edits", "show", "hat", "--json").stdout)
    assert (said["base"], said["steps"]) == (str(tiny_folder), 3)
    assert Edit.load(library / "hat.safetensors").info.pairs == said["pairs"]


def test_an_edit_of_another_base_is_refused_in_words(
    pairedit: Pairedit, tiny_folder: Path, library: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from pairedit_sdk.io.resources import examples_dir

    Image.new("RGB", (64, 64), "orange").save(tmp_path / "a.png")
    hat = examples_dir() / "edits" / "hat.safetensors"
    result = pairedit("edit", "a.png", "--edit", hat, "--base", tiny_folder, "-o", "b.png")
    assert result.exit_code == 2
    assert "Edit 'hat' was learned on another model. Expected mini (" in result.stderr
    assert not (tmp_path / "b.png").exists()


def test_from_pairs_to_an_analogy(
    pairedit: Pairedit, tiny_folder: Path, face_pairs: Callable[..., object], tmp_path: Path,
    library: Path,
) -> None:  # fmt: skip
    def run(*words: object) -> Result:
        result = pairedit(*words)
        assert result.exit_code == 0, result.output
        return result

    changes: dict[str, dict[str, str]] = {"hat": {"hat": "beanie"}, "age": {"age": "old"}}
    for name, change in changes.items():
        for side in ("source", "target"):
            (tmp_path / name / side).mkdir(parents=True)
        for pair in face_pairs(change, 2):  # type: ignore[attr-defined]
            pair.before.save(tmp_path / name / "source" / f"{pair.name}.png")
            pair.after.save(tmp_path / name / "target" / f"{pair.name}.png")
        settings = ("--set", "steps=2", "--set", "lr=0.02", "--set", "calibrate=false")
        placed = ("--place",) if name == "hat" else ()
        run("train", tmp_path / name, "--name", name, "--base", tiny_folder, *settings, *placed)
    unseen = face_pairs(changes["age"], 2, seed=5)
    unseen[0].before.save(tmp_path / "a.png")  # type: ignore[index]
    unseen[0].after.save(tmp_path / "a2.png")  # type: ignore[index]
    unseen[1].before.save(tmp_path / "b.png")  # type: ignore[index]

    assert "hat  (2 pairs)" in run("basis", "list").stdout
    run("basis", "place", "age", tmp_path / "age")
    assert "like" in run("basis", "show", "hat").stdout
    asked = (tmp_path / "a.png", tmp_path / "a2.png")
    found = json.loads(run("basis", "route", *asked, "--json").stdout)
    assert set(found["similarities"]) == {"hat", "age"}
    assert max(found["coefficients"], key=found["coefficients"].get) == "age"
    words = ("--steps", "2", "--force", "-o", "out.png", "--strip", "strip.png")
    said = run("analogy", *asked, tmp_path / "b.png", *words).stdout
    assert "In the mix" in said
    for name, width in (("out", 128), ("strip", 4 * 128)):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width >= width
    by_velocity = json.loads(run("basis", "route", *asked, "--router", "velocity", "--json").stdout)
    assert set(by_velocity["similarities"]) == {"hat", "age"}
    run("analogy", *asked, tmp_path / "b.png", "--router", "velocity", *words)
    wrong = pairedit("basis", "route", *asked, "--router", "speed")
    assert wrong.exit_code == 2
    assert "There is no router 'speed'. Expected encoder or velocity" in wrong.stderr
    assert "unfitted" in run("basis", "fit").stdout
    run("basis", "rename", "age", "old")
    run("basis", "remove", "hat")
    assert "The basis has 2 edits" not in run("basis", "reindex").stdout
    listed = json.loads(run("basis", "list", "--json").stdout)["edits"]
    assert [edit["name"] for edit in listed] == ["old"]
    refused = pairedit("basis", "remove", "odl")
    assert refused.exit_code == 2
    assert "Did you mean old?" in refused.output
