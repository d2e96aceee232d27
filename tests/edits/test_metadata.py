"""A description that a file brings along is believed only as far as it can be true."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.metadata import (
    EditDirection,
    EditInfo,
    EditorSettings,
    description,
    read_description,
    shareable,
)
from pairedit_sdk.errors import BaseModelError, EditError
from pairedit_sdk.models import folders

ROOT = Path(__file__).resolve().parents[2]
INFO = EditInfo(
    "one", "mini", pairs=["a"], parts=[("x", 0.5)], settings={"eta": 4.0}, guidance=2,
    editor=EditorSettings(7, 2, 0.1, True), direction=EditDirection([0.6, 0.8], 0.25, "mini"),
)  # fmt: skip


def _read(text: str) -> EditInfo:
    return read_description({"pairedit": text}, 4, Path("one.safetensors"))


def _written(**changes: object) -> str:
    return json.dumps({**json.loads(description(INFO)), **changes})


def test_as_written() -> None:
    assert _read(_written()) == INFO
    assert _read(_written(new="of a later version")) == INFO
    assert read_description({}, 4, Path("far.safetensors")) == EditInfo("far", rank=4)


def test_what_version_0_1_wrote() -> None:
    old = Path(__file__).parent / "data" / "written-by-0.1.safetensors"
    info = Edit.read_info(old)
    assert info.editor == EditorSettings(5, 2, 0.15, limit_scale=True)
    assert info.direction == EditDirection([0.6, 0.8], 0.25, "mini")
    assert Edit.load(old).info == info


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "edits").glob("*.safetensors")), ids=lambda p: p.stem
)
def test_the_shipped_edits(path: Path) -> None:
    info = Edit.read_info(path)
    assert info.editor.limit_scale
    assert info.direction is not None
    assert (len(info.direction.direction), info.direction.encoder) == (128, "mini")


def test_version_0_1_reads_what_is_written() -> None:
    """It refuses another schema, and in these two any other key."""
    said = json.loads(description(INFO))
    assert said["schema"] == 1
    assert said["editor"] == {"steps": 7, "n_avg": 2, "threshold": 0.1, "even": True}
    assert said["shown"] == {"encoder": "mini", "direction": [0.6, 0.8], "size": 0.25}
    assert json.loads(description(EditInfo("plain")))["shown"] is None
    new = {field.name for field in fields(EditInfo)} - said.keys()
    assert new == {"direction", "words"}


def test_the_newer_spelling_is_read() -> None:
    """A later version may write it."""
    said = json.loads(_written(editor={"steps": 7, "n_avg": 2, "threshold": 0.1,
                                       "limit_scale": True}))  # fmt: skip
    shown = said.pop("shown")
    said["direction"] = {"encoder": "mini", "magnitude": shown["size"],
                         "direction": shown["direction"]}  # fmt: skip
    assert _read(json.dumps({**said, "revision": 4})) == INFO


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 3}, {"base": None}, {"rank": "4"}, {"steps": 1.5}, {"guidance": "strong"},
        {"guidance": float("nan")}, {"guidance": -1}, {"unit_scale": float("inf")},
        {"resolution": 10**9}, {"pairs": "a"}, {"pairs": [1]}, {"settings": []}, {"parts": [["x"]]},
        {"parts": [["x", 10**400]]}, {"rank": True}, {"editor": []}, {"editor": {"x": 1}},
        {"editor": {"steps": 0}}, {"editor": {"steps": 10**6}}, {"editor": {"n_avg": 1.5}},
        {"editor": {"threshold": 2}}, {"editor": {"threshold": "0"}}, {"editor": {"even": 1}},
        {"editor": {"even": True, "limit_scale": True}}, {"direction": None},
        {"shown": []}, {"shown": {"encoder": "mini"}},
        {"shown": {"encoder": 1, "direction": [1.0], "size": 1.0}},
        {"shown": {"encoder": "mini", "direction": [], "size": 1.0}},
        {"shown": {"encoder": "mini", "direction": "x", "size": 1.0}},
        {"shown": {"encoder": "mini", "direction": ["1"], "size": 1.0}},
        {"shown": {"encoder": "mini", "direction": [float("nan")], "size": 1.0}},
        {"shown": {"encoder": "mini", "direction": [1.0], "size": 0.0}},
    ],
)  # fmt: skip
def test_values_of_another_kind_or_out_of_range(changes: dict[str, object]) -> None:
    with pytest.raises(EditError, match=r"^one\.safetensors: its description is damaged \(.+\)"):
        _read(_written(**changes))


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '{"name": "x"}'])
def test_no_description_at_all(text: str) -> None:
    with pytest.raises(EditError, match="its description is damaged"):
        _read(text)


def test_another_schema_is_refused_with_what_to_do() -> None:
    with pytest.raises(EditError, match=r"Expected schema 1\. Got schema 2\. Update"):
        _read(_written(schema=2))


@pytest.mark.parametrize(
    ("stored", "shared"),
    [
        ("/home/anna/models/my-flux", "my-flux"),
        ("/home/anna/models/my-flux/", "my-flux"),
        ("C:\\Users\\anna\\my-flux", "my-flux"),
        ("~/my-flux", "my-flux"),
        ("./my-flux", "my-flux"),
        ("../x/my-flux", "my-flux"),
        ("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-dev"),
        ("mini", "mini"),
        ("/m/mini", "./mini"),
        ("/m/chroma", "./chroma"),
        ("D:\\m\\z-image", "./z-image"),
        ("./chroma", "./chroma"),
        ("", ""),
    ],
)
def test_what_is_shared_names_no_folders_of_this_machine(stored, shared):
    seen = EditDirection([1.0], 0.5, stored)
    settings = {"base": stored, "encoder": None, "steps": 3}
    info = EditInfo("hat", base=stored, settings=settings, direction=seen, base_fingerprint="f")
    found = shareable(info)
    assert (found.base, found.settings["base"]) == (shared, shared)
    assert found.direction == EditDirection([1.0], 0.5, shared)
    assert (found.base_fingerprint, found.settings["steps"]) == ("f", 3)
    assert shareable(found) == found
    assert info.base == stored


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"words": [EditWords("a", ratio=math.nan)]}, "words"),
        ({"words": [EditWords("a", math.inf)]}, "words"),
        ({"guidance": math.nan, "settings": {"lr": [math.inf]}}, "guidance, settings"),
    ],
)
def test_a_number_that_could_not_be_read_again_is_not_written(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(EditError, match=f"edit one cannot be written.*nan or inf in {named}"):
        description(replace(INFO, **changes))


def test_words_are_kept(tmp_path: Path) -> None:
    words = [EditWords("add round glasses", 0.6, 0.21, 0.4), EditWords("add a smile", 0.0)]
    made = EditInfo("x", words=words)
    assert read_description({"pairedit": description(made)}, 1, tmp_path / "x").words == words
    assert '"words"' not in description(EditInfo("x"))


@pytest.mark.parametrize(
    "words",
    [
        {"phrase": ""}, {"phrase": 3}, {"phrase": "x" * 1001}, {"phrase": "a", "scale": True},
        {"phrase": "a", "scale": math.inf}, {"phrase": "a", "ratio": "b"}, {"spoken": "a"}, [1],
        "a",
    ],
)  # fmt: skip
def test_words_are_not_taken_for_granted(words: object) -> None:
    with pytest.raises(EditError, match="damaged"):
        _read(_written(words=[words]))


@pytest.mark.parametrize("words", [{"phrase": "a"}, "a", None, 3])
def test_words_that_are_no_list_are_said_to_be_none(words: object) -> None:
    with pytest.raises(EditError, match="the words are no list"):
        _read(_written(words=words))


def test_what_a_later_version_says_of_words_is_left_out() -> None:
    said = {"phrase": "add a hat", "scale": 0.5, "ratio": None, "lora": 1.0, "spoken": "slowly"}
    assert _read(_written(words=[said])).words == [EditWords("add a hat", 0.5)]
    with pytest.raises(EditError, match="some words have no phrase"):
        _read(_written(words=[{"spoken": "slowly"}]))


@pytest.mark.parametrize("said", ["chroma", "z-image", "klein-4b"])
def test_a_short_name_in_a_file_is_no_model_on_the_hub(said: str) -> None:
    """Earlier versions wrote a folder's last part alone."""
    base = _read(_written(base=said)).base
    assert base == f"./{said}"
    with pytest.raises(BaseModelError, match=f"There is no model '{base}'"):
        folders.resolve(base)
    for name in ("mini", "lodestones/Chroma1-HD", "/m/chroma"):
        assert _read(_written(base=name)).base == name
