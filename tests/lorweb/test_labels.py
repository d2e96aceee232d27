"""Relation252K's folders as they may be: all that is wrong is said at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PIL import Image

from pairedit_sdk.errors import InputError
from pairedit_sdk.lorweb.analogies import AnalogyFolder


def task(folder: Path, rows: object, names: tuple[str, ...] = (), width: int = 64) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        both = Image.new("RGB", (width, 32), "white")
        both.paste((40 * number, 0, 0), (0, 0, width // 2, 32))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        both.save(folder / name)
    text = rows if isinstance(rows, str) else json.dumps(rows, ensure_ascii=False)
    (folder / "labels.json").write_text(text, encoding="utf-8")


def test_captions_may_be_missing_and_names_be_of_any_script(tmp_path: Path) -> None:
    names = (
        "\N{CJK UNIFIED IDEOGRAPH-56FE}.png",
        "b c.png",
        "sub/\N{LATIN SMALL LETTER E WITH ACUTE}.png",
    )
    rows = [
        {"img_name": names[0], "edit_instruction": None, "more": 3},
        {"img_name": names[1]},
        {"img_name": names[2], "edit_instruction": " mach es älter\n"},
    ]  # fmt: skip
    task(tmp_path / "tür" / "x" / "y", rows, names)
    text = tmp_path / "tür" / "x" / "y" / "labels.json"
    text.write_text("\ufeff" + text.read_text(encoding="utf-8"), encoding="utf-8")
    found = AnalogyFolder(tmp_path)
    said = "mach es älter"
    assert found.captions == ["", said, said]
    assert found[0].task == "tür"
    found.require_readable()


def test_tasks_may_lie_within_each_other_and_at_the_top(tmp_path: Path) -> None:
    names = ("1.png", "2.png")
    rows = [{"img_name": name, "edit_instruction": name} for name in names]
    top = tmp_path / "top"
    task(top, rows, names)
    task(top / "inner", rows, names)
    task(top / "inner" / "deeper", rows, names)
    found = AnalogyFolder(top)
    assert (len(found), [found[k].task for k in range(3)]) == (3, ["inner", "inner", "top"])


def test_the_middle_of_an_odd_width_is_in_neither_half(tmp_path: Path) -> None:
    task(tmp_path / "t", [{"img_name": "1.png"}, {"img_name": "2.png"}])
    for name in ("1.png", "2.png"):
        both = Image.new("RGB", (65, 32), "white")
        both.paste("red", (0, 0, 32, 32))
        both.paste("blue", (32, 0, 33, 32))
        both.save(tmp_path / "t" / name)
    found = AnalogyFolder(tmp_path)[0]
    assert found.a.size == found.a_prime.size == (32, 32)
    assert found.a.getcolors() == [(1024, (255, 0, 0))]
    assert found.a_prime.getcolors() == [(1024, (255, 255, 255))]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"img_name": "1.png"}, {"img_name": "1.png"}], "t/1.png is listed twice"),
        ([{"img_name": "1.png"}, {"name": "2.png"}, "x", 3, None, {"img_name": ["1"]}],
         "entry 2 has no img_name; .*entry 3 has no.*entry 4 has no.*entry 5 has no.*entry 6 has"),
        ([{"img_name": "1.png", "edit_instruction": ["a"]}], "entry 1 has an edit_instruction th"),
        ([{"img_name": "../1.png"}, {"img_name": "/etc/passwd"}, {"img_name": "C:\\x.png"},
          {"img_name": "a\\..\\..\\x.png"}],
         "entry 1 names a picture outside of its folder.*entry 2.*entry 3.*entry 4 names"),
        ([{"img_name": "1\n2.png"}], "entry 1 has an img_name with control characters"),
        ({"img_name": "1.png"}, "t/labels.json is no list of pictures"),
        ("[" * 100_000, r"t/labels.json cannot be read \(RecursionError"),
        ("{", r"t/labels.json cannot be read \(JSONDecodeError"),
        ("9" * 5000, "t/labels.json cannot be read"),
        ([{"img_name": "nowhere.png"}], "t/nowhere.png is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_labels_is_said(tmp_path: Path, rows: object, said: str) -> None:
    task(tmp_path / "t", rows, ("1.png", "2.png"))
    with pytest.raises(InputError, match=said):
        AnalogyFolder(tmp_path)


def test_problems_of_all_tasks_are_said_at_once(tmp_path: Path) -> None:
    task(tmp_path / "one", [{"img_name": "1.png"}, {}], ("1.png",))
    task(tmp_path / "two", "{")
    (tmp_path / "three" / "labels.json").mkdir(parents=True)
    task(tmp_path / "four", [{"img_name": "inner/1.png"}] * 1)
    task(tmp_path / "four" / "inner", [{"img_name": "1.png"}], ("1.png",))
    with pytest.raises(InputError) as error:
        AnalogyFolder(tmp_path)
    for said in ("one/labels.json: entry 2 has no", "two/labels.json cannot", "three/labels.json c",
                 "four/inner/1.png is listed twice"):  # fmt: skip
        assert said in str(error.value)


def test_bytes_that_are_no_text_and_files_that_may_not_be_read(
    tmp_path: Path, refused: Callable[[Path], AbstractContextManager[None]]
) -> None:
    task(tmp_path / "t", [{"img_name": "1.png"}], ("1.png",))
    path = tmp_path / "t" / "labels.json"
    with refused(path), pytest.raises(InputError, match=r"cannot be read \(PermissionError"):
        AnalogyFolder(tmp_path)
    path.write_bytes(b"\xff\xfe[]")
    with pytest.raises(InputError, match=r"cannot be read \(UnicodeDecodeError"):
        AnalogyFolder(tmp_path)


def test_all_unreadable_pictures_are_named_before_anything_is_computed(tmp_path: Path) -> None:
    names = ("1.png", "2.png", "3.png", "4.png")
    task(tmp_path / "t", [{"img_name": name} for name in names], names)
    (tmp_path / "t" / "1.png").write_bytes(b"no picture")
    (tmp_path / "t" / "2.png").write_bytes(b"")
    Image.new("RGB", (1, 32)).save(tmp_path / "t" / "4.png")
    found = AnalogyFolder(tmp_path)
    with pytest.raises(InputError) as error:
        found.require_readable()
    said = str(error.value)
    assert "cannot all be read: t/1.png is not a picture that can be read; t/2.png is empty" in said
    assert "t/4.png is too narrow for two pictures" in said
    assert "t/3.png" not in said
    with pytest.raises(InputError, match="is not a picture that can be read"):
        found[0]


def test_sizes_of_prepared_pictures_are_looked_at_too(tmp_path: Path) -> None:
    for side, size in (("a", (32, 32)), ("a_prime", (32, 48)), ("b", (32, 32)), ("target", (9, 9))):
        (tmp_path / "four" / side).mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / "four" / side / "x.png")
    with pytest.raises(InputError, match=r"a/x and a_prime/x have.*b/x and target/x have differ"):
        AnalogyFolder(tmp_path / "four").require_readable()
    for side, size in (("control", (95, 32)), ("target", (32, 32))):
        (tmp_path / "strip" / side).mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / "strip" / side / "x.png")
    with pytest.raises(InputError, match="control/x is 95 wide, which three do not share"):
        AnalogyFolder(tmp_path / "strip").require_readable()
    # Turned by its EXIF data it is 96 wide.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 96)).save(tmp_path / "strip" / "control" / "x.png", exif=exif)
    AnalogyFolder(tmp_path / "strip").require_readable()
    assert AnalogyFolder(tmp_path / "strip")[0].a.size == (32, 32)
