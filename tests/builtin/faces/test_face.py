from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import asdict, fields

import numpy as np
import pytest
from numpy.typing import NDArray

from pairedit_sdk.builtin.faces.captions import caption, caption_parts
from pairedit_sdk.builtin.faces.face import ATTRIBUTES, COLOURS, LEVELS, Face, sample_face, visible
from pairedit_sdk.builtin.faces.marks import KINDS, Mark
from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.builtin.faces.tones import Tone

PHOTO = {"style": "photo"}


def picture(face: Face, size: int = 64) -> NDArray[np.int16]:
    return np.asarray(face.draw(size)).astype(np.int16)


def faces(count: int, **fixed: str) -> list[Face]:
    return [sample_face(random.Random(f"tests-{k}"), **fixed) for k in range(count)]


def test_there_are_at_least_twenty_attributes_with_at_least_two_values() -> None:
    assert len(ATTRIBUTES) >= 20
    assert set(ATTRIBUTES) <= {field.name for field in fields(Face)}
    assert all(len(values) >= 2 for values in ATTRIBUTES.values())


def test_the_same_seed_gives_the_same_record_caption_and_picture() -> None:
    first, second = (sample_face(random.Random("one")) for _ in range(2))
    assert first == second
    assert caption(first) == caption(second)
    assert caption(first, random.Random(3)) == caption(second, random.Random(3))
    assert first.draw(128).tobytes() == second.draw(128).tobytes()
    assert first != sample_face(random.Random("two"))


def test_pictures_are_square_rgb_of_the_asked_size() -> None:
    for size in (64, 128):
        image = Face().draw(size)
        assert (image.mode, image.size) == ("RGB", (size, size))


def test_sampling_covers_every_value_about_as_often_as_asked() -> None:
    sample = faces(3000)
    for name, values in ATTRIBUTES.items():
        counts = Counter(getattr(face, name) for face in sample)
        total = sum(values.values())
        for value, weight in values.items():
            assert counts[value] / len(sample) == pytest.approx(weight / total, abs=0.04), name


def test_fixed_attributes_change_nothing_else_in_a_sampled_record() -> None:
    free = sample_face(random.Random("x"))
    fixed = sample_face(random.Random("x"), hat="top", shift_x=0.0)
    assert fixed == free.with_(hat="top", shift_x=0.0)


def test_with_changes_only_what_it_is_told() -> None:
    face = sample_face(random.Random("y"), glasses="none")
    other = face.with_(glasses="round")
    changed = {k for k, v in asdict(face).items() if asdict(other)[k] != v}
    assert changed == {"glasses"}
    assert face.glasses == "none"
    assert face.with_() == face


@pytest.mark.parametrize(
    ("attribute", "value", "rows"),
    [
        ("lipstick", "red", (0.55, 0.80)),
        ("eye_color", "green", (0.38, 0.60)),
        ("glasses", "round", (0.30, 0.65)),
        ("hat", "beanie", (0.0, 0.50)),
        ("freckles", "yes", (0.44, 0.64)),
        ("necklace", "yes", (0.70, 1.0)),
        ("earrings", "gold", (0.45, 0.72)),
    ],
)
def test_an_edit_changes_only_its_own_part_of_the_picture(
    attribute: str, value: str, rows: tuple[float, float]
) -> None:
    for face in faces(8, style="photo", lipstick="none", beard="none", glasses="none", hat="none"):
        before, after = picture(face), picture(face.with_(**{attribute: value}))
        changed = np.flatnonzero((before != after).any(axis=(1, 2))) / 64
        if len(changed):
            assert rows[0] <= changed.min() <= changed.max() <= rows[1], face


def test_the_background_is_not_part_of_the_person() -> None:
    for face in faces(5, style="photo"):
        before = picture(face.with_(background="white"))
        after = picture(face.with_(background="purple"))
        changed = (before != after).any(axis=2)
        assert changed[2, 2]
        assert not changed[24:40, 26:38].any()


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
def test_a_visible_change_shows_in_the_picture(attribute: str) -> None:
    checked = 0
    for face in faces(10, **({} if attribute == "style" else PHOTO)):
        for value in ATTRIBUTES[attribute]:
            other = face.with_(**{attribute: value})
            if other != face and visible(face, attribute) and visible(other, attribute):
                difference = np.abs(picture(face) - picture(other)).max()
                assert difference > 10, (face, value)  # 0.08 on −1 … 1, the metrics' threshold
                checked += 1
    assert checked > 3


@pytest.mark.parametrize(
    ("attribute", "record"),
    [
        ("hat_color", {"hat": "none"}),
        ("hair_color", {"hair_style": "bald", "beard": "none"}),
        ("hair_color", {"age": "old"}),
        ("hair_style", {"hat": "cap", "hair_style": "short"}),
        ("eye_color", {"glasses": "sunglasses"}),
        ("eyebrows", {"glasses": "sunglasses"}),
        ("eyebrows", {"hat": "beanie"}),
        ("skin", {"style": "sketch"}),
        ("lipstick", {"beard": "mustache"}),
    ],
)
def test_what_is_hidden_is_not_visible(attribute: str, record: dict[str, str]) -> None:
    assert not visible(Face(**record), attribute)  # type: ignore[arg-type]


def test_a_hat_that_is_not_worn_has_no_colour_in_the_picture() -> None:
    for face in faces(5, hat="none"):
        assert picture(face.with_(hat_color="red")).tolist() == (
            picture(face.with_(hat_color="blue")).tolist()
        )


def test_an_unknown_value_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"Face\.hat: expected one of none, cap.*got 'sombrero'"):
        Face(hat="sombrero")
    with pytest.raises(ValueError, match=r"Face\.age: expected one of young, old; got 'ancient'"):
        Face().with_(age="ancient")
    with pytest.raises(TypeError, match="moustache"):
        Face().with_(moustache="yes")


def test_the_full_caption_names_what_can_be_seen() -> None:
    face = Face(
        age="old", glasses="round", hat="top", hat_color="green", mouth="smiling", collar="v-neck",
        style="sepia",
    )  # fmt: skip
    text, named = caption_parts(face)
    assert text.startswith("a sepia photo of an old person with ")
    for words in ("round glasses", "a top hat", "a smile", "v-neck shirt"):
        assert words in text
    assert {"age", "glasses", "hat", "mouth", "style", "collar"} <= named
    assert "hat_color" not in named  # in sepia no colour can be told


def test_captions_claim_only_what_can_be_seen() -> None:
    rng = random.Random(0)
    for face in faces(300):
        for text, named in (caption_parts(face), caption_parts(face, rng)):
            assert text
            assert all(visible(face, name) for name in named), (face, text)
        assert len(caption_parts(face, limit=2)[0].split(" with ")[-1].split(" and ")) <= 2


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({"age": "old", "hair_style": "long", "hair_color": "red"}, "long hair", "red hair"),
        ({"style": "sketch", "hair_style": "bob", "hair_color": "red"}, "bob hair", "red hair"),
        ({"hat": "cap", "hair_style": "short", "hair_color": "red"}, "red hair", "short"),
        ({"hat": "cap", "hair_style": "bun", "hair_color": "red"}, "red hair", "bun"),
        ({"style": "night", "eye_size": "big", "eye_color": "green"}, "big eyes", "green"),
        ({"style": "night", "hat": "cap", "hat_color": "green"}, "a cap", "green"),
    ],
)
def test_words_for_what_cannot_be_seen_are_left_out(changes, said, unsaid) -> None:
    text = caption(Face(shirt_color="blue", background="gray", **changes))
    assert said in text
    assert unsaid not in text


def test_what_is_said_to_be_absent_counts_as_named() -> None:
    found = 0
    for seed in range(200):
        text, named = caption_parts(Face(), random.Random(seed))
        found += "no glasses" in text
        assert ("glasses" in named) == ("no glasses" in text)
    assert found


def test_at_least_so_many_phrases() -> None:
    face = Face(glasses="round", freckles="yes")
    for seed in range(50):
        text = caption_parts(face, random.Random(seed), 6, least=4)[0]
        assert 4 <= 1 + text.count(", ") + text.count(" and ") <= 6


def test_every_word_of_a_caption_is_in_the_vocabulary() -> None:
    from pairedit_sdk.builtin.build.parts import vocabulary

    known = vocabulary()
    assert len(known) == len(set(known))
    rng = random.Random(1)
    words = set()
    for face in faces(600):
        for text in (caption(face), caption(face, rng), caption(face, rng, 3)):
            words.update(text.replace(",", "").lower().split())
    assert words <= set(known)
    for name in ("glasses", "smile", "hat", "beard", "lipstick", "freckles", "blond", "no"):
        assert name in words


def test_what_was_drawn_before_colours_marks_and_tones_is_drawn_the_same() -> None:
    drawn = hashlib.sha256()
    for k in range(60):
        drawn.update(face_at(k, "as before").draw(64).tobytes())
    assert drawn.hexdigest().startswith("eb4905ab28b978c6")


def test_any_colour_level_mark_and_tone_shows() -> None:
    plain = picture(Face(hat="cap", glasses="round", lipstick="red", chubby="yes", age="old"))
    for change in (
        *({name: "#12d0a4"} for name in COLOURS - {"hair_color"}),
        *({name: most} for name, (_, most) in LEVELS.items()),
        *({"marks": (Mark(kind, 0.2, -0.2, 0.2, "#20e040"),)} for kind in KINDS),
        {"tone": Tone("hue", 90.0)},
        {"tone": Tone("duotone", colours=("#000020", "#2040a0", "#e0f0ff"))},
    ):
        face = Face(hat="cap", glasses="round", lipstick="red", chubby="yes", age="old")
        assert np.abs(picture(face.with_(**change)) - plain).max() > 10, change


def test_a_colour_without_a_name_is_not_said() -> None:
    text, named = caption_parts(Face(hair_color="#12d0a4", lipstick="#12d0a4"))
    assert "#" not in text
    assert not {"hair_color", "lipstick"} & named


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Face(hair_color="#12D0"), r"Face\.hair_color: .*or #rrggbb; got '#12D0'"),
        (lambda: Face(hat="#123456"), r"Face\.hat: expected one of none"),
        (lambda: Face(ageing=9.0), r"Face\.ageing: expected 0\.0 to 2\.0; got 9\.0"),
        (lambda: Mark("blob", 0, 0, 1, "#123456"), r"Mark\.kind: .*got 'blob'"),
        (lambda: Mark("dots", 0, 0, 1, "#123456", count=9), r"Mark\.count: expected 3 to 6"),
        (lambda: Tone("tint"), r"Tone\.colours: expected 1 as #rrggbb"),
        (lambda: Tone("vignette", 2.0), r"Tone\.amount: expected 0\.0 to 1\.0"),
    ],
)
def test_wrong_colours_levels_marks_and_tones_are_named(wrong, said) -> None:
    with pytest.raises(ValueError, match=said):
        wrong()
