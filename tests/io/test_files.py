"""Files are whole or not there, and the same content gives the same bytes."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pairedit_sdk.errors import WriteError
from pairedit_sdk.io.files import (
    append_line,
    atomic_write,
    load_optimizer_tensors,
    optimizer_tensors,
    read_tensors,
    remove_parts,
    require_writable,
    require_writable_folder,
    write_json,
    write_tensors,
)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"k": 1})

    def fail(part):
        part.write_text("half", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_text(encoding="utf-8") == '{\n  "k": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    """A real failure: safetensors has its own kind of error for it."""
    script = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from pairedit_sdk.io.files import write_tensors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_tensors(Path(sys.argv[1]), {'a': torch.zeros(10_000)})\n"
        "except OSError as error: print(error.errno)"
    )
    path = tmp_path / "a.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_tensors_and_metadata_come_back_and_the_bytes_are_the_same(tmp_path):
    tensors = {"b": torch.arange(6.0).view(2, 3).T, "a": torch.ones(2, dtype=torch.bfloat16)}
    metadata = {f"key{k}": f"wért{k}" for k in range(12)}
    files = [write_tensors(tmp_path / f"{k}.safetensors", tensors, metadata) for k in range(4)]
    assert len({file.read_bytes() for file in files}) == 1
    read, header = read_tensors(files[0])
    assert header == {"format": "pt", **metadata}
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_an_optimisers_state_survives_bit_for_bit():
    def made():
        torch.manual_seed(0)
        parameters = {
            "w": torch.nn.Parameter(torch.randn(3)),
            "v": torch.nn.Parameter(torch.ones(2)),
        }
        return parameters, torch.optim.AdamW(parameters.values(), lr=0.1)

    def step(parameters, optimizer, k):
        optimizer.zero_grad()
        sum(((p - k) ** 2).sum() for p in parameters.values()).backward()
        optimizer.step()

    one, first = made()
    for k in range(3):
        step(one, first, k)
    flat = optimizer_tensors(first, {id(p): n for n, p in one.items()})
    two, second = made()
    with torch.no_grad():
        for name, parameter in two.items():
            parameter.copy_(one[name])
    load_optimizer_tensors(second, two, flat)
    for k in range(3):
        step(one, first, k)
        step(two, second, k)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("number", "what_next"),
    [
        (errno.ENOSPC, "Free some disk space"), (errno.EROFS, "Choose a folder that may be"),
        (errno.ENOTDIR, "Choose another name"), (errno.ENAMETOOLONG, "Choose a shorter name"),
        (errno.EIO, "Check the disk and the path"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_said_with_what_to_do(tmp_path, number, what_next):
    def fail(part):
        raise OSError(number, os.strerror(number), str(part))

    with pytest.raises(WriteError) as caught:
        atomic_write(tmp_path / "a", fail)
    assert caught.value.errno == number
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(
        f"'{tmp_path / 'a'}' could not be written. Got {os.strerror(number)}. {what_next}"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_stands_where_a_folder_should_be(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(WriteError, match="Choose another name: something else stands there"):
        write_json(tmp_path / "a" / "b.json", 1)


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    for name in ("x/.a.json.123.part", ".b.7.part", "c.part", ".d", "x/e"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert names == [".d", "c.part", "x/e"]


def test_a_line_is_added_whole_even_after_one_that_was_cut_short(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    append_line(path, "one")
    append_line(path, "σ two")
    assert path.read_text(encoding="utf-8") == "one\nσ two\n"
    path.write_text("one\nha")
    append_line(path, "three")
    assert path.read_text(encoding="utf-8") == "one\nha\nthree\n"


@pytest.mark.parametrize("name", ["new.png", "there.png", "made/on/the/way/new.png"])
def test_what_can_be_written_is_tried_without_a_trace(tmp_path, name):
    (tmp_path / "there.png").write_bytes(b"mine")
    assert require_writable(tmp_path / name) == tmp_path / name
    assert require_writable_folder((tmp_path / name).parent) == (tmp_path / name).parent
    assert [p.name for p in tmp_path.rglob("*")] == ["there.png"]
    assert (tmp_path / "there.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("there.png/x.png", "Got Not a directory. Choose another name: something else stands"),
        ("there.png/a/b/x.png", "Got Not a directory. Choose another name"),
        ("folder", "Got Is a directory. Choose another name"),
        ("x" * 300 + ".png", "Got File name too long. Choose a shorter name"),
        ("a/" + "x" * 300 + "/b.png", "Got File name too long. Choose a shorter name"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(tmp_path, path, said):
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError) as caught:
        require_writable(tmp_path / path)
    assert f"'{tmp_path / path}' could not be written" in str(caught.value)
    assert said in str(caught.value)
    assert {p.name for p in tmp_path.rglob("*")} == {"there.png", "folder"}
    assert require_writable_folder(tmp_path / "folder") == tmp_path / "folder"
    with pytest.raises(WriteError, match=r"there\.png' could not be written\. Got Not a directory"):
        require_writable_folder(tmp_path / "there.png")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that takes no files")
def test_a_system_that_takes_no_files():
    for path in ("/proc/x.png", "/proc/folder/x.png"):
        with pytest.raises(WriteError, match=f"'{path}' could not be written"):
            require_writable(path)


def test_a_folder_that_this_user_may_not_write_to(tmp_path, refused):
    folder = tmp_path / "locked"
    folder.mkdir()
    for path in (folder / "x.png", folder / "new" / "x.png"):
        with (
            refused(folder),
            pytest.raises(WriteError, match=r"Permission denied\. Choose a folder"),
        ):
            require_writable(path)


def test_a_drive_that_is_not_there(tmp_path, monkeypatch):
    """On Windows not even the root of a path has to be there."""

    def refuse(path, *rest):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    monkeypatch.setattr(Path, "exists", lambda path: False)
    monkeypatch.setattr(os, "mkdir", refuse)
    monkeypatch.chdir(tmp_path)
    for path in ("drive/x.png", "/drive/folder/x.png", "drive/a/b/c/x.png"):
        with pytest.raises(WriteError, match=f"'{path}' could not be written\\. Got No such file"):
            require_writable(path)


def test_what_a_killed_trial_leaves_is_cleared(tmp_path):
    (tmp_path / ".run.17.part" / "a").mkdir(parents=True)
    (tmp_path / ".run.17.part" / "a" / "x.part").touch()
    (tmp_path / ".x.png.17.part").touch()
    remove_parts(tmp_path)
    assert not list(tmp_path.iterdir())
