"""``pairedit edit`` on one picture and many: files, folders, streams, and what goes wrong."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pairedit_sdk.errors import WriteError
from pairedit_sdk.images.metadata import read_made
from pairedit_sdk.images.photo import Photo

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]
EDIT = ("--edit", "glasses")


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = tmp_path / "shots"
    folder.mkdir()
    for k in range(1, 4):
        Image.new("RGB", (40, 30), (60 * k, 0, 0)).save(folder / f"{k}.png")
    return folder


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def red(path: Path) -> Any:
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((3, 3))[0]  # type: ignore[index]


@pytest.mark.parametrize(
    "given", [["shots"], ["shots/*.png"], ["shots/1.png", "shots/2.png", "shots/3.png"]]
)
def test_many_pictures_go_into_a_folder(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path, given: list[str]
) -> None:
    result = pairedit("edit", *given, *EDIT, "-o", "new")
    assert (result.exit_code, result.stdout) == (0, "Wrote 3 pictures to new.\n")
    assert [red(Path(f"new/{k}.png")) for k in (1, 2, 3)] == [255 - 60 * k for k in (1, 2, 3)]
    assert len(rooms.of("load_model")) == 1


def test_what_is_there_is_skipped_unless_it_is_to_be_overwritten(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    Path("new").mkdir()
    Path("new/2.png").write_bytes(b"mine")
    result = pairedit("edit", "shots", *EDIT, "-o", "new")
    assert result.stdout == (
        "Skipped shots/2.png: new/2.png is there already.\nWrote 2 pictures to new.\n"
    )
    assert Path("new/2.png").read_bytes() == b"mine"
    again = pairedit("edit", "shots", *EDIT, "-o", "new", "--json")
    assert [line["skipped"] for line in lines(again)] == [True] * 3
    said = pairedit("edit", "shots", *EDIT, "-o", "new").stdout.splitlines()
    assert said[-1] == "Nothing to do; --overwrite writes them anew."
    assert len(rooms.of("load_model")) == 1  # nothing to do, so no model
    assert pairedit("edit", "shots", *EDIT, "-o", "new", "--overwrite").exit_code == 0
    assert red(Path("new/2.png")) == 135


def test_what_was_made_with_another_scale_is_skipped_and_told(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    Path("new").mkdir()
    grey = np.full((8, 8, 3), 99, np.uint8)
    for number, scale in ((1, 1.0), (2, 0.3)):
        made = {"edits": [{"name": "glasses", "scale": scale}]}
        Photo(grey, made=made).save(f"new/{number}.png")
    one, two, _ = pairedit("edit", "shots", *EDIT, "-o", "new").stdout.splitlines()
    assert one == "Skipped shots/1.png: new/1.png is there already."
    assert two.endswith("there already, made with other edits or scales; see --overwrite.")


def test_those_that_fail_are_listed_and_the_others_are_written(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    (shots / "2.png").write_bytes(b"no picture")
    result = pairedit("edit", "shots", "shots/gone.png", *EDIT, "-o", "new")
    assert result.exit_code == 1
    assert result.stdout == "Wrote 2 pictures to new.\n"
    assert "Failed: Picture 'shots/2.png'" in result.stderr
    assert "Failed: Picture 'shots/gone.png' does not exist" in result.stderr
    assert sorted(p.name for p in Path("new").iterdir()) == ["1.png", "3.png"]


def test_where_all_fail_nothing_is_said_to_be_written(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    result = pairedit("edit", "gone.png", "lost.png", *EDIT, "-o", "new")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("Failed: ") == 2


def test_a_picture_that_cannot_be_written_is_one_that_failed(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    Path("new/2.png").mkdir(parents=True)
    result = pairedit("edit", "shots", *EDIT, "-o", "new", "--overwrite")
    assert result.exit_code == 1
    assert "Failed: shots/2.png: The output new/2.png is a folder" in result.stderr
    assert Path("new/3.png").exists()


def test_json_is_a_line_for_each_picture(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    Path("new").mkdir()
    Path("new/1.png").write_bytes(b"mine")
    (shots / "2.png").write_bytes(b"no picture")
    result = pairedit("edit", "shots", *EDIT, "-o", "new", "--seed", "3", "--json")
    skipped, failed, made = lines(result)
    assert skipped == {"input": "shots/1.png", "path": "new/1.png", "skipped": True}
    assert failed["input"] == "shots/2.png"
    assert "shots/2.png" in failed["error"]["message"]
    assert (made["path"], made["seed"], made["edits"][0]["scale"]) == ("new/3.png", 3, 1.0)


def test_quiet_says_nothing(pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path) -> None:
    result = pairedit("edit", "shots", *EDIT, "-o", "new", "-q")
    assert (result.exit_code, result.output) == (0, "")


def stream(words: list[str], given: bytes) -> Result:
    from pairedit_sdk.cli import app

    return CliRunner().invoke(app, words, input=given)


def png(red: int = 60) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (40, 30), (red, 0, 0)).save(held, "PNG")
    return held.getvalue()


def test_standard_output_is_a_png_and_nothing_else(
    pairedit: Pairedit, rooms: Rooms, saved: Path
) -> None:
    result = stream(["edit", "-", *EDIT, "-o", "-"], png())
    assert result.exit_code == 0
    with Image.open(io.BytesIO(result.stdout_bytes)) as image:
        image.load()
        assert image.format == "PNG"
        assert image.getpixel((0, 0)) == (195, 255, 255)
    assert result.stdout_bytes.endswith(b"IEND\xaeB`\x82")
    assert "editing" in result.stderr  # progress, and so warnings too


def test_standard_input_into_a_file_and_among_others(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    assert stream(["edit", "-", *EDIT, "-o", "a.png"], png()).exit_code == 0
    assert red(Path("a.png")) == 195
    assert stream(["edit", "-", "shots", *EDIT, "-o", "new"], png(70)).exit_code == 0
    assert red(Path("new/stdin.png")) == 185
    assert red(Path("new/3.png")) == 75


def test_bad_standard_input_is_said_in_a_sentence(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    result = stream(["edit", "-", *EDIT, "-o", "-"], b"no picture")
    assert result.exit_code == 2
    assert result.stdout_bytes == b""
    assert "Standard input" in result.stderr
    assert rooms.of("load_model") == []
    result = stream(["edit", "shots/1.png", "-", *EDIT, "-o", "new"], b"no picture")
    assert result.exit_code == 2
    assert "Standard input" in result.stderr
    assert rooms.of("load_model") == []  # and not after some pictures are edited


def test_both_on_standard_output_are_refused(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path
) -> None:
    result = pairedit("edit", picture, *EDIT, "-o", "-", "--json")
    assert result.exit_code == 2
    assert "want standard output" in result.stderr


@pytest.mark.parametrize(
    ("given", "out", "said"),
    [
        (["shots"], "file", "is one file, and there are 3 pictures"),
        (["shots"], "out.png", "is one file, and there are 3 pictures"),
        (["shots"], "shots", "is the input picture"),
        (["shots/1.png"], "shots/1.png", "is the input picture"),
        (["shots/1.png", "other/1.png"], "new", "Two pictures would be written to new/1.png"),
        (["empty"], "new", "There is no picture in empty"),
        (["x*.png"], "new", "No file is like x*.png"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(
    pairedit: Pairedit,
    rooms: Rooms,
    saved: Path,
    shots: Path,
    given: list[str],
    out: str,
    said: str,
) -> None:
    Path("file").write_text("x")
    Path("empty").mkdir()
    result = pairedit("edit", *given, *EDIT, "-o", out)
    assert result.exit_code == 2
    assert said in result.stderr
    assert rooms.calls == []
    assert Path("file").read_text() == "x"


def test_a_picture_too_large_for_its_format_is_refused_before_a_model_is_loaded(
    pairedit: Pairedit, rooms: Rooms, saved: Path
) -> None:
    Image.new("L", (16384, 2)).save("wide.png")
    result = pairedit("edit", "wide.png", *EDIT, "-o", "x.webp")
    assert result.exit_code == 2
    assert "too large for WEBP" in result.stderr
    assert rooms.calls == []
    assert pairedit("edit", "wide.png", *EDIT, "-o", "x.jpg").exit_code == 0


def test_a_file_that_is_only_read_becomes_a_jpeg_or_a_png(
    pairedit: Pairedit, rooms: Rooms, saved: Path, shots: Path
) -> None:
    (shots / "1.png").rename(shots / "IMG_1.HEIC")  # whatever the name says, it is read
    with Image.open(shots / "2.png") as image:
        image.convert("RGBA").save(shots / "4.tga")
    assert pairedit("edit", "shots", *EDIT, "-o", "new").exit_code == 0
    names = sorted(p.name for p in Path("new").iterdir())
    assert names == ["2.png", "3.png", "4.png", "IMG_1.jpg"]
    with Image.open("new/IMG_1.jpg") as image:
        assert image.format == "JPEG"


def test_options_of_photographs_are_passed_on(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path
) -> None:
    Image.new("L", (96, 64), 255).save("m.png")
    words = ("--detail", "off", "--mask", "m.png", "--region", "1,2,30,40", "-o", "x.png")
    assert pairedit("edit", picture, *EDIT, *words).exit_code == 0
    options = rooms.of("edit_image")[0]["options"]
    assert (options.detail, options.region) == ("off", (1, 2, 30, 40))
    assert options.mask.size == (96, 64)
    assert pairedit("edit", picture, *EDIT, "--region", "AUTO", "-o", "x.png").exit_code == 0
    assert rooms.of("edit_image")[1]["options"].region == "auto"


@pytest.mark.parametrize("command", ["edit", "sweep"])
def test_the_mask_is_not_written_over(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path, command: str
) -> None:
    Image.new("L", (96, 64), 255).save("m.png")
    result = pairedit(command, picture, *EDIT, "--mask", "m.png", "-o", "m.png")
    assert result.exit_code == 2
    assert "The output m.png is the mask" in result.stderr
    assert rooms.calls == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--region", "1,2,3"), "four whole numbers"),
        (("--region", "0,0,0,5"), "four whole numbers"),
        (("--region", "face"), "four whole numbers"),
        (("--mask", "gone.png"), "gone.png"),
        (("--detail", "much"), "detail"),
    ],
)
def test_bad_options_are_refused_before_a_model_is_loaded(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path, words: tuple[str, ...], said: str
) -> None:
    result = pairedit("edit", picture, *EDIT, *words, "-o", "x.png")
    assert result.exit_code == 2
    assert said in result.stderr
    assert rooms.calls == []


def test_how_it_was_made_is_written_unless_not_wanted(
    pairedit: Pairedit, saved: Path, shots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from pairedit_sdk.cli import services
    from pairedit_sdk.editing.edit_images import EditedImage
    from pairedit_sdk.images.photo import Photo

    def edit_images(model: Any, images: Any, *_: Any, **__: Any) -> Any:
        for source in images:
            yield EditedImage(source, replace(Photo.read(source), made={"seed": 5}))

    monkeypatch.setattr(f"{services.HOME['edit_images']}.edit_images", edit_images)
    monkeypatch.setattr(f"{services.HOME['load_model']}.load_model", lambda *_, **__: None)
    assert pairedit("edit", "shots", *EDIT, "-o", "new").exit_code == 0
    assert read_made("new/1.png") == {"seed": 5}
    assert pairedit("edit", "shots", *EDIT, "-o", "plain", "--no-metadata").exit_code == 0
    assert not read_made("plain/1.png")


def test_scale_0_through_the_real_model_is_the_file_s_own_picture(
    pairedit: Pairedit, library: Path, tiny_folder: Path, save_edit: Callable[..., Path]
) -> None:
    save_edit(library / "own.safetensors", base=str(tiny_folder))
    levels = np.random.default_rng(0).integers(0, 256, (31, 45, 4), dtype=np.uint8)
    Image.fromarray(levels).save("a.png")
    result = pairedit("edit", "a.png", "--edit", "own=0", "-o", "b.png", "--device", "cpu")
    assert result.exit_code == 0, result.output
    with Image.open("b.png") as image:
        assert np.array_equal(np.asarray(image), levels)
    assert str(tiny_folder) not in json.dumps(read_made("b.png"))


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, WriteError), (errno.EPIPE, BrokenPipeError)]
)
def test_standard_output_that_takes_no_more(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    """It is written to and flushed while an error can still be shown."""
    from pairedit_sdk.cli.edit import Run
    from pairedit_sdk.cli.output import Output
    from pairedit_sdk.editing.edit_images import EditedImage
    from pairedit_sdk.images.photo import Photo

    class Full(io.BytesIO):
        def flush(self) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=Full()))
    run: Any = Run(Output(quiet=True), None, None, None)  # type: ignore[arg-type]
    made = Photo(np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(kind) as raised:
        run.written(EditedImage("a.png", made), None)
    if kind is WriteError:
        assert "'standard output' could not be written" in str(raised.value)
        assert "Free some disk space" in str(raised.value)
