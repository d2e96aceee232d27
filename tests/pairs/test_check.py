from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face, sample_face, visible
from pairedit_sdk.pairs.check import PairReport, changed_area, check_pairs, worth_training
from pairedit_sdk.pairs.pair_set import PairSet

Pictures = tuple[Image.Image, Image.Image]

PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "pairs"
photographs = pytest.mark.skipif(
    not PHOTOGRAPHS.is_dir(), reason="no photographs beside the project"
)


def checked(*pairs: Pictures) -> list[PairReport]:
    return check_pairs(PairSet.from_images(pairs))


def verdicts(reports: Sequence[PairReport]) -> list[str]:
    return [report.verdict for report in reports]


def moved(image: Image.Image, dx: int, dy: int) -> Image.Image:
    """The content carried to the right and down; the border repeats."""
    pixels = np.pad(np.asarray(image), ((32, 32), (32, 32), (0, 0)), mode="edge")
    height, width = image.height, image.width
    return Image.fromarray(pixels[32 - dy : 32 - dy + height, 32 - dx : 32 - dx + width])


def laughing(count: int = 3, seed: int = 0) -> list[Pictures]:
    rng = random.Random(seed)
    faces = [sample_face(rng, style="photo", mouth="neutral", beard="none") for _ in range(count)]
    return [(face.draw(128), face.with_(mouth="laughing").draw(128)) for face in faces]


@pytest.mark.parametrize(
    "edit",
    [
        {"glasses": "round"}, {"glasses": "sunglasses"}, {"mouth": "smiling"}, {"hat": "top"},
        {"age": "old"}, {"background": "blue"}, {"hair_color": "red"}, {"lipstick": "red"},
        {"style": "sketch"}, {"style": "night"}, {"chubby": "yes"}, {"freckles": "yes"},
        {"earrings": "gold"}, {"hair_style": "curly"}, {"skin": "dark"},
    ],
    ids=lambda edit: "-".join(next(iter(edit.items()))),
)  # fmt: skip
def test_correct_drawn_pairs_are_good(
    face_pairs: Callable[..., PairSet], edit: dict[str, str]
) -> None:
    reports = check_pairs(face_pairs(edit, 3, seed=1))
    assert verdicts(reports) == ["good"] * 3
    assert all(report.aligned and report.shift == (0, 0) for report in reports)
    assert worth_training(reports)


@pytest.mark.parametrize("seed", range(4))
def test_any_attribute_of_any_face_can_be_the_edit(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(4):
        face = sample_face(rng)
        name = rng.choice([n for n in ATTRIBUTES if visible(face, n)])
        edited = face.with_(
            **{name: rng.choice([v for v in ATTRIBUTES[name] if v != getattr(face, name)])}
        )
        before, after = face.draw(128), edited.draw(128)
        if visible(edited, name) and changed_area(before, after)[1] > 3:
            assert verdicts(checked((before, after))) != ["bad"], (name, face, edited)


def test_the_changed_area_is_measured() -> None:
    before = Face().draw(128)
    after = before.copy()
    after.paste((0, 0, 0), (0, 0, 64, 32))
    area, largest = changed_area(before, after)
    assert area == pytest.approx(1 / 8, abs=0.02)
    assert largest > 100
    assert changed_area(before, before) == (0, 0)
    (report,) = checked((before, after))
    assert report.changed_area == area
    assert report.reason == f"{area:.0%} of the picture changes, and the rest is aligned"


def test_identical_pictures() -> None:
    image = Face().draw(128)
    (report,) = checked((image, image))
    assert report == PairReport(
        "1", 0.0, (0, 0), True, "bad",
        "Before and after are the same picture, so there is nothing to learn",
        "Put the edited picture in place of the after picture.",
    )  # fmt: skip


def test_a_change_that_is_hardly_there() -> None:
    before = Face().draw(512)
    after = before.copy()
    after.paste((255, 255, 255), (100, 400, 105, 405))
    (report,) = checked((before, after))
    assert report.verdict == "usable"
    assert report.reason.startswith("Hardly anything changes: 0.0")


@pytest.mark.parametrize("shift", [(2, 0), (0, -4), (-3, 3), (12, 5)])
def test_a_shifted_pair_is_bad_and_says_by_how_much(shift: tuple[int, int]) -> None:
    before, after = laughing(1)[0]
    (report,) = checked((before, moved(after, *shift)))
    assert (report.verdict, report.aligned, report.shift) == ("bad", False, shift)
    assert "training would learn that too" in report.reason


def test_the_sentences_about_a_shift() -> None:
    before, after = laughing(1)[0]
    (report,) = checked((before, moved(after, -4, 0)))
    assert report.reason == (
        "The after picture is shifted 4 px left (3.1% of the width), and training would learn that "
        "too"
    )
    assert report.advice == "Move it 4 px right, then crop both pictures alike."
    (report,) = checked((before, moved(after, 1, 0)))
    assert (report.verdict, report.aligned) == ("usable", True)
    assert report.reason == "The after picture is shifted 1 px right (0.8% of the width)"


def test_a_shift_is_given_in_the_pixels_of_the_pair() -> None:
    before, after = Face().draw(512), Face(glasses="square").draw(512)
    (report,) = checked((before, moved(after, 8, 0)))
    assert report.verdict == "bad"
    assert report.shift == (8, 0)


def test_an_enlarged_after_picture() -> None:
    before, after = Face().draw(256), Face(mouth="smiling").draw(256)
    (report,) = checked((before, after.resize((276, 276)).crop((10, 10, 266, 266))))
    assert report.verdict == "bad"
    assert "7.5% larger" in report.reason
    assert report.advice.startswith("Scale it back")


def test_an_unrelated_after_picture() -> None:
    first, second = laughing(2, seed=5)
    reports = checked((first[0], second[1]))
    assert verdicts(reports) == ["bad"]
    assert reports[0].reason.startswith("Before and after are different pictures: only ")
    assert reports[0].shift == (0, 0)
    assert not worth_training(reports)


def test_exchanged_after_pictures_are_traced() -> None:
    a, b, c = laughing()
    reports = checked((a[0], c[1]), b, (c[0], a[1]))
    assert verdicts(reports) == ["bad", "good", "bad"]
    assert reports[0].reason == (
        "Its after picture belongs to another pair: its before picture fits the after picture of "
        "'3'"
    )
    assert reports[2].advice == (
        "Exchange the after pictures of '3' and '1', or name the files so that they match."
    )


def test_one_person_in_several_pairs_is_no_exchange() -> None:
    face = Face(hair_style="short")
    before = face.draw(128)
    edits = [face.with_(hair_style=style).draw(128) for style in ("curly", "long", "bob")]
    assert "bad" not in verdicts(checked(*[(before, after) for after in edits]))


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_swapped_pair_is_found_among_three(wrong: int) -> None:
    pairs = laughing()
    pairs[wrong] = pairs[wrong][::-1]
    reports = checked(*pairs)
    assert [k for k, report in enumerate(reports) if report.verdict == "bad"] == [wrong]
    assert reports[wrong].reason == (
        "Before and after seem to be swapped: it changes the opposite way to the other pairs"
    )
    assert reports[wrong].aligned


def test_with_two_pairs_nobody_can_know_which_is_swapped() -> None:
    first, second = laughing(2)
    assert verdicts(checked(first, second[::-1])) == ["good", "good"]


def test_a_picture_changed_all_over_may_be_good() -> None:
    (report,) = checked((Face().draw(128), Face(style="night").draw(128)))
    assert report.verdict == "good"
    assert report.changed_area > 0.9
    assert report.reason == "Nearly all of the picture changes (100%), and it is aligned"


def test_without_outlines_the_alignment_is_not_known() -> None:
    red, blue = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    (report,) = checked((red, blue))
    assert (report.verdict, report.changed_area) == ("usable", 1.0)
    assert "no outlines" in report.reason
    (report,) = checked((Face().draw(64), blue))
    assert report.verdict == "bad"


def test_more_than_six_pairs_are_allowed_and_mentioned_once() -> None:
    reports = checked(*laughing(8))
    assert verdicts(reports) == ["good"] * 8
    assert [bool(report.advice) for report in reports] == [False] * 6 + [True, False]
    assert reports[6].advice.startswith("These are 8 pairs: 6 are usually enough")


def test_any_shape_and_size_of_picture() -> None:
    for box in ((0, 0, 128, 60), (30, 0, 90, 128), (40, 40, 57, 53)):
        before, after = (face.draw(128).crop(box) for face in (Face(), Face(skin="dark")))
        assert verdicts(checked((before, after))) != ["bad"]
    assert verdicts(checked((Image.new("RGB", (1, 1)), Image.new("RGB", (1, 1), "red")))) == [
        "usable"
    ]


def test_worth_training() -> None:
    good = PairReport("1", 0.1, (0, 0), True, "good", "")
    assert worth_training([good, replace(good, verdict="usable")])
    assert not worth_training([good, replace(good, verdict="bad")])
    assert not worth_training([])


@photographs
@pytest.mark.parametrize("edit", ["age", "glasses", "lipstick", "smile"])
def test_photographs_are_good(edit: str) -> None:
    reports = check_pairs(PairSet.from_folder(PHOTOGRAPHS / edit))
    assert set(verdicts(reports)) == {"good"}
    assert all(report.aligned and report.shift == (0, 0) for report in reports)


@pytest.fixture(params=["age", "glasses", "smile"])
def people(request: pytest.FixtureRequest) -> list[Pictures]:
    """Three photographed people, before and after."""
    if not PHOTOGRAPHS.is_dir():
        pytest.skip("no photographs beside the project")
    folder = PairSet.from_folder(PHOTOGRAPHS / request.param)
    return [(pair.before, pair.after) for pair in folder]


def test_a_shifted_photograph(people: list[Pictures]) -> None:
    (a, after_a), (b, after_b) = people[:2]
    (report,) = checked((a, moved(after_a, 8, 0)))
    assert (report.verdict, report.aligned) == ("bad", False)
    assert report.shift == pytest.approx((8, 0), abs=1)
    (report,) = checked((b, moved(after_b, 0, -15)))
    assert "15 px up (2.9% of the width)" in report.reason


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_swapped_photograph(people: list[Pictures], wrong: int) -> None:
    people[wrong] = people[wrong][::-1]
    reports = checked(*people)
    assert [k for k, report in enumerate(reports) if report.verdict != "good"] == [wrong]
    assert reports[wrong].verdict == "bad"
    assert "swapped" in reports[wrong].reason


def test_exchanged_photographs(people: list[Pictures]) -> None:
    a, b, c = people
    reports = checked((a[0], b[1]), (b[0], a[1]), c)
    assert verdicts(reports) == ["bad", "bad", "good"]
    assert "fits the after picture of '2'" in reports[0].reason


def test_an_unrelated_photograph(people: list[Pictures]) -> None:
    (report,) = checked((people[0][0], people[2][1]))
    assert report.verdict == "bad"
    assert "different pictures" in report.reason
