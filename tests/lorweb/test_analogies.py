"""Analogies on disk: three layouts, and everything that is missing said at once."""

import json

import pytest
from PIL import Image

from pairedit_sdk.errors import InputError
from pairedit_sdk.lorweb.analogies import AnalogyFolder

COLOURS = ("red", "green", "blue", "white")


def _picture(path, colour, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def _corner(image):
    return image.getpixel((4, 4))


def test_a_strip_and_a_target(tmp_path):
    strip = Image.new("RGB", (96, 32))
    for k, colour in enumerate(COLOURS[:3]):
        strip.paste(colour, (32 * k, 0, 32 * k + 32, 32))
    (tmp_path / "control").mkdir()
    strip.save(tmp_path / "control" / "one.v2.png")
    _picture(tmp_path / "target" / "one.v2.png", "white")
    (tmp_path / "target" / "one.v2.txt").write_text("add a hat\n")
    folder = AnalogyFolder(tmp_path)
    assert (len(folder), folder.ids, folder.captions) == (1, ["one.v2"], ["add a hat"])
    found = folder[0]
    assert [_corner(p) for p in (found.a, found.a_prime, found.b, found.b_prime)] == [
        (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255),
    ]  # fmt: skip
    assert found.caption == "add a hat"
    assert [analogy.caption for analogy in folder[:1]] == ["add a hat"]


def test_separate_files(tmp_path):
    for side, colour in zip(("a", "a_prime", "b", "target"), COLOURS, strict=True):
        _picture(tmp_path / side / "x.png", colour)
    found = AnalogyFolder(tmp_path)[0]
    assert (_corner(found.a_prime), _corner(found.b_prime)) == ((0, 128, 0), (255, 255, 255))
    assert found.caption == ""


def test_relations_as_they_are_downloaded(tmp_path):
    group = tmp_path / "make_old" / "Group1"
    rows = []
    for k, colour in enumerate(("red", "green", "blue")):
        both = Image.new("RGB", (64, 32), colour)
        both.paste("white", (32, 0, 64, 32))
        group.mkdir(parents=True, exist_ok=True)
        both.save(group / f"{k}.png")
        rows.append({"img_name": f"{k}.png", "edit_instruction": f"say {k}"})
    (group / "labels.json").write_text(json.dumps(rows))
    folder = AnalogyFolder(tmp_path)
    assert folder.captions == ["say 1", "say 2", "say 2"]
    found = folder[2]
    assert (_corner(found.a), _corner(found.b)) == ((0, 128, 0), (0, 0, 255))
    assert (_corner(found.a_prime), found.a.size, found.task) == ((255,) * 3, (32, 32), "make_old")


def test_everything_that_is_missing_is_said_at_once(tmp_path):
    for side in ("a", "a_prime", "b", "target"):
        for name in ("x", "y"):
            if (side, name) not in {("b", "x"), ("target", "y")}:
                _picture(tmp_path / side / f"{name}.png", "red")
    with pytest.raises(InputError, match="are not complete: b/x is missing; target/y is missing"):
        AnalogyFolder(tmp_path)


def test_missing_relations_are_said_too(tmp_path):
    group = tmp_path / "task"
    group.mkdir()
    (group / "labels.json").write_text(json.dumps([{"img_name": "1.png"}, {"img_name": "2.png"}]))
    with pytest.raises(InputError, match=r"task/1\.png is missing; task/2\.png is missing"):
        AnalogyFolder(tmp_path)
    (group / "labels.json").write_text("{")
    with pytest.raises(InputError, match=r"task/labels\.json cannot be read"):
        AnalogyFolder(tmp_path)


@pytest.mark.parametrize(("side", "said"), [("a_prime", "x: a and a"), ("target", "x: b and b")])
def test_pictures_of_different_sizes_are_refused(tmp_path, side, said):
    for other in ("a", "a_prime", "b", "target"):
        _picture(tmp_path / other / "x.png", "red", (48, 32) if other == side else (32, 32))
    with pytest.raises(InputError, match=f"{said}.* have different sizes"):
        AnalogyFolder(tmp_path)[0]


def test_what_is_no_folder_of_analogies(tmp_path):
    with pytest.raises(InputError, match="There is no folder of analogies"):
        AnalogyFolder(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no analogies"):
        AnalogyFolder(tmp_path)
    (tmp_path / "control").mkdir()
    (tmp_path / "target").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        AnalogyFolder(tmp_path)
    _picture(tmp_path / "control" / "x.png", "red", (95, 32))
    _picture(tmp_path / "target" / "x.png", "red")
    with pytest.raises(InputError, match="no strip a"):
        AnalogyFolder(tmp_path)[0]
