from __future__ import annotations

from PIL import Image, ImageFilter, ImageOps

from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.pairs.registration import outlines
from pairedit_sdk.pairs.shapes import Shapes, in_another_style, shapes_of

FACE = Face(hair_style="curly").draw(128)
STRANGER = Face(
    hair_style="bald", face_shape="square", shift_x=0.15, shift_y=-0.1, background="green"
).draw(128)


def seen(image: Image.Image) -> Shapes:
    return shapes_of(outlines(image))


def lines(image: Image.Image) -> Image.Image:
    edges = image.convert("L").filter(ImageFilter.FIND_EDGES)
    return edges.point(lambda v: 255 - min(255, 3 * v)).convert("RGB")


def test_a_painting_has_the_same_shapes() -> None:
    painting = ImageOps.invert(FACE.filter(ImageFilter.ModeFilter(7)))
    assert seen(FACE).same_scene(seen(painting))
    assert not seen(STRANGER).same_scene(seen(painting))
    assert not seen(painting).in_lines


def test_a_drawing_in_lines_has_the_same_outlines() -> None:
    drawing = seen(lines(FACE))
    assert drawing.in_lines
    assert seen(FACE).same_scene(drawing)
    assert seen(FACE).same_outlines(drawing) > 0.55
    assert seen(STRANGER).same_outlines(drawing) < 0.5
    assert not seen(STRANGER).same_scene(drawing)


def test_pictures_of_other_shapes_cannot_be_compared() -> None:
    cut = seen(FACE.crop((0, 20, 128, 100)))
    assert seen(FACE).same_outlines(cut) == -1
    assert not seen(FACE).same_scene(cut)


def test_only_what_is_unclear_is_asked() -> None:
    face, stranger = seen(FACE), seen(STRANGER)
    sides = [(face, seen(lines(FACE))), (stranger, face)]
    assert in_another_style(sides, [0, 1]) == {0}
    assert in_another_style(sides, []) == set()


def test_nothing_to_see_is_not_the_same() -> None:
    blank = seen(Image.new("RGB", (16, 1), "red"))
    assert not blank.same_scene(blank)
