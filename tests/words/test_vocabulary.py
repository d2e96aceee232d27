"""Vocabularies: from files and command lines, and what models are asked of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pairedit_sdk.builtin.faces.analogies import CHANGES, drawn_analogy
from pairedit_sdk.builtin.faces.instructions import all_instructions
from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.words.vocabulary import (
    Vocabulary,
    as_vocabulary,
    has_phrases,
    is_file_name,
    leaves_open,
    settled_vocabulary,
)

FACES = SimpleNamespace(architecture="flux-1-mini-kontext")
OTHER = SimpleNamespace(architecture="flux-1-kontext")


def test_phrases_are_asked_once_each_in_their_order() -> None:
    assert list(Vocabulary.parse(" monocle;  round   glasses;;monocle; ")) == [
        "monocle",
        "round glasses",
    ]
    assert len(Vocabulary(("a", "b", "a"))) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("v.txt", "# worn\nadd a hat\n\n  # more\nmake it night: dark\n"),
        ("v.json", '["add a hat", "make it night: dark"]'),
        ("v.yaml", '- add a hat\n- "make it night: dark"\n'),
        ("v", "\ufeffadd a hat\r\nmake it night: dark"),
    ],
)
def test_a_file_is_read_by_its_kind(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    for found in (Vocabulary.read(path), Vocabulary.named(str(path), FACES)):  # type: ignore[arg-type]
        assert found.phrases == ("add a hat", "make it night: dark")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.json", '{"a": 1}', "is no list of phrases"),
        ("v.json", '["a", 1]', "a list with other things in it"),
        ("v.json", "[", "is no JSON"),
        ("v.yaml", "a: [", "is no YAML"),
        ("v.txt", "# nothing\n", "has no phrase in it"),
        ("v.txt", "a" * 1001, "is too long"),
    ],
)
def test_a_file_of_no_use_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Vocabulary.read(tmp_path / name)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no vocabulary"):
        Vocabulary.named(str(tmp_path / "absent.txt"), FACES)  # type: ignore[arg-type]
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="no UTF-8 text"):
        Vocabulary.read(tmp_path / "bytes.txt")
    with pytest.raises(InputError, match="cannot be read"):
        Vocabulary.read(tmp_path)
    with pytest.raises(InputError, match="The vocabulary is empty"):
        Vocabulary.parse(" ; ")


def test_a_file_and_phrases_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a")
    assert is_file_name(str(tmp_path / "words"))
    assert is_file_name("absent.YAML")
    assert not is_file_name("add a hat")
    assert not is_file_name("a.txt; b.txt")
    assert not is_file_name("a" * 5000)
    assert not is_file_name('["a", "b.txt"]')
    (tmp_path / "a;b").write_text("a")
    assert is_file_name(str(tmp_path / "a;b"))


@pytest.mark.parametrize(
    ("phrases", "text"),
    [
        (("a hat", "a cap"), "a hat; a cap"),
        (("a hat.txt",), "a hat.txt;"),
        (("red; not blue", "a “cap”"), '["red; not blue", "a “cap”"]'),
        (('["a"]', "b"), '["[\\"a\\"]", "b"]'),
    ],
)
def test_phrases_in_one_line_are_read_as_they_were(phrases: tuple[str, ...], text: str) -> None:
    said = Vocabulary(phrases)
    assert said.text == text
    assert Vocabulary.parse(text) == Vocabulary.named(text, FACES) == said  # type: ignore[arg-type]
    assert settled_vocabulary(text) == text


def test_a_file_is_settled_to_its_phrases(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('["red; not blue", "a cap"]')
    assert settled_vocabulary("v.json", tmp_path) == '["red; not blue", "a cap"]'
    assert settled_vocabulary(str(tmp_path / "v.json")) == '["red; not blue", "a cap"]'
    assert settled_vocabulary("a hat", tmp_path) == "a hat"
    assert settled_vocabulary(None, tmp_path) is None
    for wrong in ("absent.txt", " ; "):
        with pytest.raises(InputError, match=r"no vocabulary|vocabulary is empty"):
            settled_vocabulary(wrong, tmp_path)


def test_the_built_in_edit_model_is_asked_all_that_it_was_taught() -> None:
    own = Vocabulary.of_model(FACES)  # type: ignore[arg-type]
    assert own.phrases == all_instructions()
    assert {"add round glasses", "remove the hat", "make the hair red"} <= set(own)
    assert {drawn_analogy(change, 0).caption for change in CHANGES} <= set(own)


def test_only_hats_that_are_put_on_leave_something_open() -> None:
    found = [phrase for phrase in all_instructions() if leaves_open(FACES.architecture, phrase)]
    assert found == ["add a beanie", "add a cap", "add a top hat"]
    assert not leaves_open(OTHER.architecture, "add a cap")
    assert (has_phrases(FACES.architecture), has_phrases(OTHER.architecture)) == (True, False)


def test_other_models_are_asked_a_few_hundred_common_instructions() -> None:
    common = Vocabulary.of_model(OTHER)  # type: ignore[arg-type]
    assert 300 <= len(common) <= 500
    assert {"add glasses", "make it night", "turn it into a pencil sketch"} <= set(common)


def test_phrases_come_in_any_form(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("a\nb")
    model: Any = FACES
    wanted = Vocabulary(("a", "b"))
    for given in (wanted, "a; b", tmp_path / "v.txt", ["a", "b"], (p for p in "ab")):
        assert as_vocabulary(given, model) == wanted
    assert as_vocabulary(None, model) == Vocabulary.of_model(model)
    for wrong in (7, [1], []):
        with pytest.raises(UsageError, match="of no use"):
            as_vocabulary(wrong, model)  # type: ignore[arg-type]
