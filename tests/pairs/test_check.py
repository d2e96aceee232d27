from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face, sample_face, visible
from pairedit_sdk.pairs.check import PairReport, check_pairs, check_set, worth_training
from pairedit_sdk.pairs.pair_report import changed_area
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


def redrawn(image: Image.Image) -> Image.Image:
    """Everything carried a little off, elsewhere by another way, as by a hand that copies it."""
    width, height = image.size
    y, x = np.mgrid[:height, :width]
    dx = np.round(0.015 * width * np.sin(5 * y / height + 3 * x / width)).astype(int)
    dy = np.round(0.015 * height * np.sin(6 * x / width + 1)).astype(int)
    pixels = np.asarray(image)
    return Image.fromarray(pixels[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)])


def pixel_art(image: Image.Image) -> Image.Image:
    small = image.resize((32, 32), Image.Resampling.BOX).quantize(16).convert("RGB")
    return small.resize(image.size, Image.Resampling.NEAREST)


def ink_drawing(image: Image.Image) -> Image.Image:
    lines = image.convert("L").filter(ImageFilter.FIND_EDGES).point(lambda v: 255 - min(255, 3 * v))
    return lines.convert("RGB")


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


def test_more_than_six_pairs_are_allowed_and_mentioned_of_the_set() -> None:
    found = check_set(PairSet.from_images(laughing(8)))
    assert verdicts(found.pairs) == ["good"] * 8
    assert [report.advice for report in found.pairs] == [""] * 8
    assert found.advice == [
        "These are 8 pairs: 6 are usually enough, and of more, each is seen less often, so give "
        "them more steps."
    ]
    assert found.all_advice() == found.advice


def test_the_same_advice_is_given_once() -> None:
    image = Face().draw(128)
    found = check_set(PairSet.from_images([(image, image)] * 2))
    assert found.all_advice() == ["1, 2: Put the edited picture in place of the after picture."]
    assert not found.worth_training


def test_a_slight_turn() -> None:
    before, after = Face().draw(256), Face(mouth="smiling").draw(256)
    corner = after.getpixel((0, 0))
    (report,) = checked((before, after.rotate(-1, Image.Resampling.BICUBIC, fillcolor=corner)))
    assert report.verdict != "good"
    assert report.reason.startswith("The after picture is turned clockwise by about ")
    assert report.advice == "Turn it back, then crop both pictures alike."


def test_a_slight_stretch() -> None:
    before, after = Face().draw(256), Face(mouth="smiling").draw(256)
    wider = after.crop((3, 0, 253, 256)).resize((256, 256), Image.Resampling.BICUBIC)
    (report,) = checked((before, wider))
    assert report.verdict != "good"
    assert re.match(r"The after picture is [12]\.\d% wider", report.reason)
    assert report.advice.startswith("Scale it back to the same width and height, then crop")


@pytest.mark.parametrize("style", [pixel_art, ink_drawing])
def test_a_style_drawn_anew_is_usable(style: Callable[[Image.Image], Image.Image]) -> None:
    faces = [face for face, _ in laughing(3)]
    styled = [style(redrawn(face)) for face in faces]
    reports = checked(*zip(faces, styled, strict=True))
    assert "bad" not in verdicts(reports)
    assert reports[0].verdict == "usable"
    assert reports[0].reason.endswith(
        "changes, and the style with it: outlines are drawn anew, large shapes stay"
    )
    strangers = checked((faces[0], styled[1]))
    assert verdicts(strangers) == ["bad"]


def test_exchanged_after_pictures_of_a_style_are_traced() -> None:
    faces = [face for face, _ in laughing(3)]
    styled = [ink_drawing(redrawn(face)) for face in faces]
    reports = checked(*zip(faces, [styled[1], styled[0], styled[2]], strict=True))
    assert verdicts(reports) == ["bad", "bad", "usable"]
    assert "fits the after picture of '2'" in reports[0].reason


def test_pictures_too_small_for_any_model() -> None:
    (report,) = checked((Face().draw(48), Face(glasses="round").draw(48)))
    assert (report.verdict, report.reason) == ("usable", "The pictures are only 48 x 48 pixels")
    assert report.advice.startswith("Use pictures of at least 96 x 96, for large models of")


def drawn_edits(*edits: dict[str, str]) -> PairSet:
    """Different people, each with the edit given."""
    rng = random.Random(3)
    plain = {"style": "photo", "hat": "none", "glasses": "none", "mouth": "neutral"}
    faces = [sample_face(rng, **plain) for _ in edits]
    return PairSet.from_images(
        [(f.draw(128), f.with_(**edit).draw(128)) for f, edit in zip(faces, edits, strict=True)]
    )


def test_different_edits_in_one_set_are_said_of_the_set() -> None:
    glasses, hat, red = {"glasses": "round"}, {"hat": "top"}, {"background": "pink"}
    ending = "train different ones each by itself."
    (advice,) = check_set(drawn_edits(glasses, hat, red)).advice
    assert advice.startswith("These pairs seem to show different edits. ")
    assert advice.endswith(ending)
    (advice,) = check_set(drawn_edits(glasses, glasses, red)).advice
    assert advice.startswith("'3' seems to show another edit than the other pairs. ")
    assert check_set(drawn_edits(glasses, glasses, glasses)).advice == []
    assert check_set(drawn_edits(glasses, hat)).advice == []


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
