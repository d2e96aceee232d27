from __future__ import annotations

from pathlib import Path

import pytest

from pairedit_sdk.cli import values
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("glasses", ("glasses", 1.0)),
        ("glasses=0.8", ("glasses", 0.8)),
        ("glasses=-.5", ("glasses", -0.5)),
        ("a/b.safetensors", ("a/b.safetensors", 1.0)),
        ("a=b/c.safetensors=2", ("a=b/c.safetensors", 2.0)),
    ],
)
def test_edit_and_scale(text: str, expected: tuple[str, float]) -> None:
    assert values.edit_and_scale(text) == expected


def test_a_file_may_hold_an_equals_sign(tmp_path: Path) -> None:
    path = tmp_path / "a=0.5"
    path.touch()
    assert values.edit_and_scale(str(path)) == (str(path), 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("add round glasses", ("add round glasses", 1.0)),
        ("add round glasses=1.2", ("add round glasses", 1.2)),
        ("make a=b", ("make a=b", 1.0)),
        ("make a=b=-0.5", ("make a=b", -0.5)),
        ("add glasses=", ("add glasses=", 1.0)),
    ],
)
def test_instruction_and_scale(text: str, expected: tuple[str, float]) -> None:
    assert values.instruction_and_scale(text) == expected


def test_edits_and_instructions_are_one_sum() -> None:
    stack = values.load_stack([], [("add a hat", 0.5), ("smile", 1.0)])
    assert stack.words == {"add a hat": 0.5, "smile": 1.0}
    with pytest.raises(UsageError, match="no edits"):
        values.load_stack([])


@pytest.mark.parametrize("text", ["nan", "-inf", "1e999", "", "half", "0,5"])
def test_only_finite_numbers(text: str) -> None:
    with pytest.raises(UsageError, match=r"^The scale cannot be used\. Expected finite numbers\. "):
        values.finite(text, "The scale")


def test_the_same_edit_may_come_twice_and_the_order_is_kept(tmp_path: Path) -> None:
    for name in ("glasses", "hat"):
        (tmp_path / f"{name}.safetensors").touch()
    glasses, hat = tmp_path / "glasses.safetensors", tmp_path / "hat.safetensors"
    given = ["hat=0.5", f"{glasses}=2", "hat=-1"]
    found = values.edits_and_scales(given, EditLibrary(tmp_path))
    assert found == [(hat, 0.5), (glasses, 2.0), (hat, -1.0)]


def test_scales() -> None:
    assert values.scales("0, .25,1,-2") == [0, 0.25, 1, -2]


@pytest.mark.parametrize(
    ("text", "expected"), [(None, (None, None)), ("512x384", (512, 384)), ("64X64", (64, 64))]
)
def test_size(text: str | None, expected: tuple[int | None, int | None]) -> None:
    assert values.size(text) == expected


@pytest.mark.parametrize("text", [None, "cpu", "cuda", "cuda:1", "mps"])
def test_device(text: str | None) -> None:
    assert values.device(text) == text
