from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.pairs.pair_set import LAYOUTS, PairSet, natural


def save(path: Path, value: int = 0, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 10, 20)).save(path)


def said(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        PairSet.from_folder(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "DIR")


def reds(pairs: PairSet) -> list[tuple[str, int, int]]:
    """Name and red value of both pictures: tells which files were put together."""
    return [
        (p.name, np.asarray(p.before)[0, 0, 0].item(), np.asarray(p.after)[0, 0, 0].item())
        for p in pairs
    ]


def test_source_and_target_are_matched_by_stem_not_by_position(tmp_path: Path) -> None:
    for name, value in (("10", 1), ("2", 2), ("b", 3)):
        save(tmp_path / "source" / f"{name}.png", value)
    for name, value in (("b.PNG", 13), ("10.bmp", 11), ("2.Tiff", 12)):
        save(tmp_path / "target" / name, value)
    pairs = PairSet.from_folder(tmp_path)
    assert reds(pairs) == [("2", 2, 12), ("10", 1, 11), ("b", 3, 13)]
    assert (len(pairs), pairs.names) == (3, ["2", "10", "b"])
    assert pairs[0].before_path == tmp_path / "source" / "2.png"
    assert pairs[0].after_path == tmp_path / "target" / "2.Tiff"
    assert pairs[-1].name == "b"


def test_before_and_after_in_one_folder(tmp_path: Path) -> None:
    save(tmp_path / "anna_before.png", 1)
    save(tmp_path / "anna_after.bmp", 11)
    save(tmp_path / "a_before_b_BEFORE.PNG", 2)
    save(tmp_path / "a_before_b_After.png", 12)
    assert reds(PairSet.from_folder(str(tmp_path))) == [("a_before_b", 2, 12), ("anna", 1, 11)]


def test_names_match_in_any_case_and_unicode_form(tmp_path: Path) -> None:
    """As macOS writes accents, and cameras extensions and names."""
    composed, apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    save(tmp_path / "source" / f"{apart}.png", 1)
    save(tmp_path / "source" / "IMG_2.PNG", 2)
    save(tmp_path / "target" / f"{composed.upper()}.png", 11)
    save(tmp_path / "target" / "img_2.png", 12)
    assert reds(PairSet.from_folder(tmp_path)) == [("IMG_2", 2, 12), (composed, 1, 11)]


@pytest.mark.parametrize(
    ("source", "target"), [("before", "after"), ("Before", "AFTER"), ("Source", "Target")]
)
def test_what_the_two_folders_may_be_called(tmp_path: Path, source: str, target: str) -> None:
    save(tmp_path / source / "1.png", 1)
    save(tmp_path / target / "1.png", 11)
    assert reds(PairSet.from_folder(tmp_path)) == [("1", 1, 11)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1_start", "1_end"),
        ("1-before", "1-after"),
        ("1_Before", "1-AFTER"),
        ("1 before", "1.after"),
        ("1 - Before", "1 - After"),
    ],
)
def test_what_names_may_end_in(tmp_path: Path, before: str, after: str) -> None:
    save(tmp_path / f"{before}.png", 1)
    save(tmp_path / f"{after}.png", 11)
    assert reds(PairSet.from_folder(tmp_path)) == [("1", 1, 11)]


def test_a_word_is_no_mark_without_a_separator(tmp_path: Path) -> None:
    save(tmp_path / "weekend.png")
    save(tmp_path / "start.png")
    assert "holds no pairs" in said(tmp_path)


def test_what_other_programs_leave_beside_pictures(tmp_path: Path) -> None:
    for side in ("before", "after"):
        save(tmp_path / side / "1.png")
        save(tmp_path / side / "._1.png")
        save(tmp_path / side / "_latent_cache" / "1.png")
        for name in ("1.txt", "1.caption", "1.safetensors", "1.npz", "metadata.jsonl", ".DS_Store"):
            (tmp_path / side / name).write_text("x")
    save(tmp_path / "__MACOSX" / "before" / "._1.png")
    assert PairSet.from_folder(tmp_path).names == ["1"]


def test_names_that_differ_in_case_alone_are_one_name(tmp_path: Path) -> None:
    for name in ("Anna_before.png", "anna-Before.png", "anna_after.png"):
        save(tmp_path / name)
    if len(list(tmp_path.iterdir())) == 3:
        assert (
            "'Anna_before.png' and 'anna-Before.png' are both the before picture of 'Anna', so it "
            "is unclear which one is meant" in said(tmp_path)
        )


def test_two_folders_for_one_side(tmp_path: Path) -> None:
    for side in ("source", "before", "after"):
        save(tmp_path / side / "1.png")
    assert "'before' and 'source' may each hold the before pictures." in said(tmp_path)


def test_hidden_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for side in ("source", "target"):
        save(tmp_path / side / "1.png")
        save(tmp_path / side / ".2.png")
        (tmp_path / side / ".DS_Store").write_text("x")
        (tmp_path / side / "Thumbs.db").write_text("x")
        (tmp_path / side / f"{side}.txt").write_text("a caption")
        (tmp_path / side / "more.png").mkdir()
    save(tmp_path / "overview.png")
    assert PairSet.from_folder(tmp_path).names == ["1"]


def test_pictures_are_upright_rgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "source").mkdir()
    Image.new("L", (6, 8), 9).save(tmp_path / "source" / "1.png", exif=exif)
    save(tmp_path / "target" / "1.png")
    pair = PairSet.from_folder(tmp_path)[0]
    assert (pair.before.mode, pair.before.size, pair.after.size) == ("RGB", (8, 6), (8, 6))


def test_after_is_resized_if_its_shape_agrees(tmp_path: Path) -> None:
    save(tmp_path / "1_before.png", size=(200, 100))
    save(tmp_path / "1_after.png", size=(406, 200))
    pair = PairSet.from_folder(tmp_path)[0]
    assert pair.before.size == pair.after.size == (200, 100)


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    for name in ("1", "2", "3", "4", "5"):
        save(tmp_path / "source" / f"{name}.png")
    save(tmp_path / "source" / "1.bmp")
    for name in ("1", "3", "6"):
        save(tmp_path / "target" / f"{name}.png")
    save(tmp_path / "target" / "4.png", size=(8, 8))
    (tmp_path / "target" / "5.png").write_text("no picture")
    assert said(tmp_path) == (
        "Pairs folder 'DIR' has 5 problems: "
        "'source/1.bmp' and 'source/1.png' are both the before picture of '1', so it is unclear "
        "which one is meant; 'source/2.png' has no after picture; 'target/6.png' has no before "
        "picture; pair '4' has pictures of different shape: before 8 x 6, after 8 x 8; "
        "Picture 'DIR/target/5.png' is not a picture that can be read (a file of 10 bytes in no "
        "such format, whatever its name says). "
        f"Expected {LAYOUTS}. "
        "Put the files right or take them out; nothing was read in part."
    )


def test_a_likely_misspelling_is_named(tmp_path: Path) -> None:
    save(tmp_path / "portrait_before.png")
    save(tmp_path / "potrait_after.png")
    assert "'portrait_before.png' has no after picture (is it 'potrait_after.png'?)" in said(
        tmp_path
    )


def test_the_only_lone_picture_that_begins_alike_is_named(tmp_path: Path) -> None:
    save(tmp_path / "source" / "1.png")
    save(tmp_path / "target" / "1_glasses.png")
    assert "'source/1.png' has no after picture (is it '1_glasses.png'?)" in said(tmp_path)


def test_an_unmarked_picture_among_marked_ones(tmp_path: Path) -> None:
    save(tmp_path / "1_before.png")
    save(tmp_path / "1_after.png")
    save(tmp_path / "2_aftr.png")
    assert "'2_aftr.png' ends neither in _before nor in _after." in said(tmp_path)


def test_two_afters_of_one_name(tmp_path: Path) -> None:
    for name in ("1_before.png", "1_after.png", "1_after.bmp"):
        save(tmp_path / name)
    assert "'1_after.bmp' and '1_after.png' are both the after picture of '1'" in said(tmp_path)


@pytest.mark.parametrize(
    ("side", "other"), [("source", "target"), ("target", "source"), ("Before", "after")]
)
def test_one_of_the_two_folders_is_missing(tmp_path: Path, side: str, other: str) -> None:
    save(tmp_path / side / "1.png")
    assert said(tmp_path) == (
        f"Pairs folder 'DIR' has a problem: there is no folder '{other}'. Expected {LAYOUTS}. "
        "Put the files right or take them out; nothing was read in part."
    )


def test_no_pairs_at_all(tmp_path: Path) -> None:
    assert said(tmp_path) == (
        f"Pairs folder 'DIR' holds no pairs. Expected {LAYOUTS}. Got an empty folder."
    )
    save(tmp_path / "1.png")
    assert said(tmp_path).endswith(f"Expected {LAYOUTS}. Got only 1.png.")
    for number in range(2, 10):
        save(tmp_path / f"{number}.png")
    assert said(tmp_path).endswith("Got only 1.png, 2.png, 3.png, 4.png, 5.png, 6.png and 3 more.")


def test_empty_source_and_target(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    assert "holds no pairs" in said(tmp_path)


def test_a_missing_folder_and_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "glasses").mkdir()
    assert said(tmp_path / "glases").startswith(
        f"Pairs folder 'DIR' does not exist. Expected a folder: {LAYOUTS}. Did you mean glasses"
    )
    save(tmp_path / "1.png")
    assert said(tmp_path / "1.png") == (
        f"Pairs folder 'DIR' is a file. Expected a folder: {LAYOUTS}. Name the folder that holds "
        f"it, '{tmp_path}', or its parent."
    )


def test_from_images_takes_pictures_and_paths(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 7)
    gray = Image.new("L", (16, 12), 5)
    pairs = PairSet.from_images([(gray, tmp_path / "a.png"), (str(tmp_path / "a.png"), gray)])
    assert reds(pairs) == [("1", 5, 7), ("2", 7, 5)]
    assert pairs[0].before_path is None
    assert pairs[1].before_path == tmp_path / "a.png"
    assert pairs[0].after.size == (16, 12)


def test_from_images_sorts_by_the_names_given() -> None:
    images = [(Image.new("RGB", (2, 2), (k, 0, 0)), Image.new("RGB", (2, 2))) for k in range(3)]
    assert reds(PairSet.from_images(images, names=["p10", "p9", "a"])) == [
        ("a", 2, 0), ("p9", 1, 0), ("p10", 0, 0),
    ]  # fmt: skip


def test_from_images_refuses(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4))
    with pytest.raises(UsageError, match="at least one pair"):
        PairSet.from_images([])
    with pytest.raises(UsageError, match="as many different names as pairs"):
        PairSet.from_images([(image, image)] * 2, names=["a", "a"])
    with pytest.raises(UsageError, match=r"pair '1'. Expected \(before, after\)"):
        PairSet.from_images([image])  # type: ignore[list-item]
    with pytest.raises(InputError) as caught:
        PairSet.from_images([(image, tmp_path / "no.png"), (image, None)])  # type: ignore[list-item]
    assert "no.png' does not exist" in str(caught.value)
    assert "the after picture of '2' is a NoneType, no picture or path" in str(caught.value)


def test_natural_order() -> None:
    names = ["img10", "img2", "IMG1", "a", "10", "9", "img2b"]
    assert sorted(names, key=natural) == ["9", "10", "a", "IMG1", "img2", "img2b", "img10"]


def test_the_fingerprint_is_of_the_names_and_pixels_whatever_the_files(tmp_path: Path) -> None:
    for suffix in ("png", "bmp"):
        for side, value in (("source", 1), ("target", 2)):
            save(tmp_path / suffix / side / f"1.{suffix}", value)
    pairs = PairSet.from_folder(tmp_path / "png")
    assert PairSet.from_folder(tmp_path / "bmp").fingerprint == pairs.fingerprint
    one = pairs[0]
    others = [
        PairSet.from_images([(one.after, one.before)]),
        PairSet.from_images([(one.before, one.before)]),
        PairSet.from_images([(one.before, one.after)], ["other"]),
        PairSet.from_images([(one.before, one.after)] * 2),
    ]
    assert len({pairs.fingerprint, *(other.fingerprint for other in others)}) == 5
