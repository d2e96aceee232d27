"""A full disk, a folder that nothing can be written to, a model that went away: nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import Result

Pairedit = Callable[..., Result]
Train = Callable[..., Result]

SETTINGS = ("steps=5", "checkpoint_every=2", "rank=2", "resolution=64", "edit_steps=2",
            "calibrate=false", "batch=1")  # fmt: skip


@pytest.fixture
def train(pairedit: Pairedit, pairs: Path, library: Path, tiny_folder: Path) -> Train:
    """``train("hat", …)`` is a short training on the tiny model."""

    def run(name: str, *more: object, base: Path = tiny_folder) -> Result:
        words = [word for setting in SETTINGS for word in ("--set", setting)]
        return pairedit(
            "train",
            pairs,
            "--name",
            name,
            "--base",
            base,
            "--recipe",
            "published",
            *words,
            "-q",
            *more,
        )

    return run


def losses(run: Path) -> list[str]:
    return [line.split('"lr"')[0] for line in (run / "metrics.jsonl").read_text().splitlines()]


def refused(result: Result, *said: str) -> None:
    """Exit status 2, and one paragraph that says this."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    for part in said:
        assert part in result.stderr


def same_edit(library: Path, one: str, other: str) -> None:
    files = [library / "runs" / name / "content.safetensors" for name in (one, other)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert losses(library / "runs" / one) == losses(library / "runs" / other)


def test_a_disk_that_is_full_at_any_file(
    train: Train, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of a training in turn: it says so, and goes on when there is room."""
    real, written = os.fsync, [0]

    def fsync(handle: int) -> None:
        if not Path(f"/proc/self/fd/{handle}").is_dir():
            written[0] += 1
            if written[0] == full_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    full_at = 0
    assert train("whole").exit_code == 0
    # Not all of them, which would take long: settings, checkpoints of steps 2 and 4, the edit.
    count = written[0] - 1  # the prompt is in the cache from now on
    for full_at in (2, count // 2, count // 2 + 2, count - 1):  # noqa: B007
        written[0] = 0
        refused(train("cut"), "No space left on device", "ree some disk space")
        assert not (library / "cut.safetensors").exists()
        assert not list(library.rglob(".*.part"))
        kept = {p: p.read_bytes() for p in (library / "runs" / "cut").glob("checkpoints/*")}
        written[0] = -count  # there is room again
        assert train("cut", "--resume").exit_code == 0
        assert all(path.read_bytes() == data for path, data in kept.items() if path.exists())
        same_edit(library, "whole", "cut")
        shutil.rmtree(library / "runs" / "cut")
        (library / "cut.safetensors").unlink()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_disk_that_is_full_at_a_line_of_the_metrics(train: Train, library: Path) -> None:
    run = library / "runs" / "cut"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").symlink_to("/dev/full")
    refused(
        train("cut"), "Step 1 could not be recorded in", "(No space left on device)",
        "go on with the same command and --resume; earlier checkpoints are intact.",
    )  # fmt: skip
    (run / "metrics.jsonl").unlink()
    assert train("cut", "--resume").exit_code == 0
    assert len(losses(run)) == 5


def test_a_checkpoint_on_a_full_disk_is_named(
    train: Train, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairedit_sdk.errors import WriteError
    from pairedit_sdk.training import checkpoints

    real = checkpoints.write_tensors

    def write(path: Path, *rest: object) -> Path:
        if "000004" in path.name:
            raise WriteError(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return real(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "write_tensors", write)
    refused(
        train("cut"), "The checkpoint of step 4 could not be written (No space left on device). "
        "Put that right (free some disk space), and go on with the same command and --resume; "
        "earlier checkpoints are intact.",
    )  # fmt: skip
    assert [p.stem for p in (library / "runs/cut/checkpoints").iterdir()] == ["step-000002"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EROFS, "Read-only file system. Choose a folder that may be written to"),
        (errno.EACCES, "Permission denied. Choose a folder that may be written to"),
    ],
)
def test_a_folder_that_nothing_can_be_written_to(
    train: Train, pairedit: Pairedit, library: Path, picture: Path, number: int, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def refuse(path: object, *rest: object, **more: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    from pairedit_sdk.io.resources import examples_dir

    hat = examples_dir() / "edits" / "hat.safetensors"
    monkeypatch.setattr(os, "mkdir", refuse)
    refused(train("new"), f"'{library}/runs/new' could not be written. Got {said}")
    refused(pairedit("edits", "import", hat, "--name", "new", "--library", "no"), f"Got {said}")
    monkeypatch.undo()
    # A file stands where the folder should be.
    refused(
        pairedit("edits", "export", hat, "-o", picture / "x.safetensors"),
        "could not be written. Got", "Choose another name: something else stands there.",
    )  # fmt: skip
    assert picture.is_file()


def test_a_base_that_went_away(
    train: Train, pairedit: Pairedit, library: Path, tiny_folder: Path, tmp_path: Path,
    picture: Path,
) -> None:  # fmt: skip
    base = tmp_path / "base"
    shutil.copytree(tiny_folder, base)
    assert train("whole", base=base).exit_code == 0
    assert train("cut", "--set", "steps=2", base=base).exit_code == 0
    there = {p: p.read_bytes() for p in library.rglob("*") if p.is_file()}
    base.rename(tmp_path / "elsewhere")
    refused(
        train("cut", "--resume", base=base), f"There is no model '{base}'.",
        "Put its folder back, or name another with --base",
    )  # fmt: skip
    refused(pairedit("edit", picture, "--edit", "whole", "-o", "x.png"), f"no model '{base}'")
    assert {p: p.read_bytes() for p in library.rglob("*") if p.is_file()} == there
    shutil.rmtree(tmp_path / "elsewhere" / "vae")
    (tmp_path / "elsewhere").rename(base)
    refused(train("cut", "--resume", base=base), f"Model {base} lacks vae.")
    shutil.copytree(tiny_folder / "vae", base / "vae")
    assert train("cut", "--resume", base=base).exit_code == 0
    same_edit(library, "whole", "cut")
    Image.open(library / "cut.png").close()
