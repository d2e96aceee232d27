"""Which pictures are meant, and where each goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pairedit_sdk.cli.sources import Job, jobs
from pairedit_sdk.errors import InputError, UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in with the pictures shots/1.jpg, 2.png, 10.jpg and what is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots" / "deeper").mkdir(parents=True)
    for name in ("10.jpg", "2.png", "1.jpg", ".hidden.png", "deeper/3.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "shots" / name)
    (tmp_path / "shots" / "notes.txt").write_text("x")
    return tmp_path


def pairs(images: list[str], out: str) -> list[tuple[str, str]]:
    found, _ = jobs(images, out)
    return [(str(job.source), str(job.target)) for job in found]


def test_a_folder_is_its_pictures_in_natural_order() -> None:
    assert pairs(["shots"], "out") == [
        ("shots/1.jpg", "out/1.jpg"), ("shots/2.png", "out/2.png"), ("shots/10.jpg", "out/10.jpg"),
    ]  # fmt: skip


def test_a_folder_s_pictures_are_those_that_a_folder_of_pairs_has(here: Path) -> None:
    (here / "more").mkdir()
    for name in ("a.jfif", "b.ppm", "c.MPO", "d.heic", "e.txt"):
        (here / "more" / name).write_bytes(b"x")
    assert [Path(source).name for source, _ in pairs(["more"], "out")] == [
        "a.jfif", "b.ppm", "c.MPO", "d.heic",
    ]  # fmt: skip


def test_a_pattern_is_the_files_like_it() -> None:
    assert pairs(["shots/*.jpg"], "out") == [
        ("shots/1.jpg", "out/1.jpg"), ("shots/10.jpg", "out/10.jpg"),
    ]  # fmt: skip
    found = pairs(["shots/**/*.png"], "out")
    assert [source for source, _ in found] == ["shots/2.png", "shots/deeper/3.png"]


def test_a_link_in_a_circle_leads_to_no_picture_twice(here: Path) -> None:
    (here / "shots" / "again").symlink_to(here / "shots")
    found = pairs(["shots/**/*.png"], "out")
    assert [source for source, _ in found] == ["shots/2.png", "shots/deeper/3.png"]


def test_a_folder_of_folders_says_how_to_go_into_them(here: Path) -> None:
    (here / "trip" / "day 1").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Those in its folders are 'trip/\*\*/\*\.jpg'"):
        jobs(["trip"], "new")


def test_a_name_with_brackets_is_a_file_if_there_is_one(here: Path) -> None:
    (here / "a[1].png").write_bytes(b"x")
    assert jobs(["a[1].png"], "b.png") == ([Job(Path("a[1].png"), Path("b.png"))], False)


def test_a_picture_that_is_named_twice_is_edited_once() -> None:
    assert pairs(["shots", "shots/2.png", "shots/*.png"], "out") == pairs(["shots"], "out")


@pytest.mark.parametrize("out", ["out/", "there"])
def test_one_picture_into_a_folder(here: Path, out: str) -> None:
    (here / "there").mkdir()
    assert jobs(["shots/1.jpg"], out) == (
        [Job(Path("shots/1.jpg"), Path(out) / "1.jpg")], True,
    )  # fmt: skip


def test_a_pattern_or_folder_of_one_picture_goes_into_a_folder() -> None:
    assert jobs(["shots/deeper"], "new")[1] is True
    assert jobs(["shots/2.*"], "new")[1] is True


def test_one_picture_into_a_file() -> None:
    assert jobs(["shots/1.jpg"], "a.png") == ([Job(Path("shots/1.jpg"), Path("a.png"))], False)
    assert pairs(["shots/1.jpg"], "a") == [("shots/1.jpg", "a.png")]


def test_standard_streams() -> None:
    assert jobs(["-"], "-") == ([Job(None, None)], False)
    assert jobs(["-"], "a.jpg") == ([Job(None, Path("a.jpg"))], False)
    assert jobs(["shots/1.jpg"], "-") == ([Job(Path("shots/1.jpg"), None)], False)
    assert jobs(["-", "shots/1.jpg"], "new")[0] == [
        Job(None, Path("new/stdin.png")), Job(Path("shots/1.jpg"), Path("new/1.jpg")),
    ]  # fmt: skip
    assert jobs(["shots/2.*"], "-") == ([Job(Path("shots/2.png"), None)], False)
    with pytest.raises(UsageError, match="takes one picture, and these are 3"):
        jobs(["shots"], "-")


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.jfif", "a.jp2", "a.unknown", "a"])
def test_what_is_only_read_becomes_a_jpeg(name: str) -> None:
    assert pairs([name], "new/") == [(name, "new/a.jpg")]
    assert pairs([name, "b.png"], "new") == [(name, "new/a.jpg"), ("b.png", "new/b.png")]


@pytest.mark.parametrize("name", ["a.gif", "a.PSD", "a.tga"])
def test_what_may_be_transparent_and_is_only_read_becomes_a_png(name: str) -> None:
    assert pairs([name], "new/") == [(name, "new/a.png")]


def test_the_extension_keeps_its_case() -> None:
    assert pairs(["IMG_1.JPG", "b.PNG"], "new") == [
        ("IMG_1.JPG", "new/IMG_1.JPG"), ("b.PNG", "new/b.PNG"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "images", [["a/1.png", "b/1.png"], ["1.heic", "1.heif"], ["1.png", "1.PNG"]]
)
def test_two_pictures_of_one_name_are_refused(images: list[str]) -> None:
    with pytest.raises(UsageError, match=r"Two pictures would be written to.*into two folders"):
        jobs(images, "new")


def test_a_place_that_is_no_folder_is_refused(here: Path) -> None:
    (here / "file").write_text("x")
    for out in ("file", "out.png", "shots/1.jpg"):
        with pytest.raises(UsageError, match="is one file, and there are 3 pictures to write"):
            jobs(["shots"], out)
    assert not (here / "out.png").exists()


@pytest.mark.parametrize(
    ("images", "out"),
    [(["shots/1.jpg"], "shots/1.jpg"), (["shots"], "shots"), (["shots/1.jpg"], "shots/"),
     (["shots"], "shots/../shots")],
)  # fmt: skip
def test_an_output_that_is_an_input_is_refused(images: list[str], out: str) -> None:
    with pytest.raises(UsageError, match="is the input picture"):
        jobs(images, out)


def test_an_output_that_is_another_input_is_refused(here: Path) -> None:
    """Written first, it would be read as what it has become."""
    (here / "IMG.heic").write_bytes(b"x")
    (here / "shots" / "IMG.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"shots/IMG.jpg is the input picture"):
        jobs(["IMG.heic", "shots/IMG.jpg"], "shots")


def test_an_empty_folder_or_pattern_is_refused(here: Path) -> None:
    (here / "empty").mkdir()
    with pytest.raises(InputError, match="There is no picture in empty"):
        jobs(["empty"], "new")
    with pytest.raises(InputError, match=r"No file is like \*\.webp"):
        jobs(["*.webp"], "new")
    assert not (here / "new").exists()


def test_a_target_named_like_its_source_elsewhere_is_fine(here: Path) -> None:
    assert pairs(["shots/1.jpg", "shots/deeper/3.png"], ".") == [
        ("shots/1.jpg", "1.jpg"), ("shots/deeper/3.png", "3.png"),
    ]  # fmt: skip


def test_reading_the_picture_of_a_job(here: Path) -> None:
    assert Job(Path("shots/1.jpg"), None).read().size == (8, 8)
    assert Job(Path("shots/1.jpg"), None).name == "shots/1.jpg"
    assert Job(None, None).name == "standard input"


def test_a_phone_s_two_files_of_one_picture_get_two_names(here: Path) -> None:
    for name in ("IMG_1.HEIC", "IMG_1.jpg", "IMG_2.HEIC"):
        (here / name).write_bytes(b"x")
    found, _ = jobs(["IMG_1.HEIC", "IMG_1.jpg", "IMG_2.HEIC"], "out/")
    names = ["IMG_1.HEIC.jpg", "IMG_1.jpg", "IMG_2.jpg"]
    assert [job.target and job.target.name for job in found] == names
