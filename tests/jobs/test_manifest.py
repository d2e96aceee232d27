"""A manifest is read whole or refused whole, with every problem and its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.jobs.manifest import SHOWN, read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two folders of pairs and a recipe; the pictures are never looked at."""
    for name in ("a", "b", "sub/c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "own.yaml").write_text("base: my/base\nsteps: 7\nrank: 3")
    return tmp_path


def written(folder: Path, *lines: object) -> Path:
    path = folder / "list.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def problems(path: Path, **options: object) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read_manifest(path, **options)  # type: ignore[arg-type]
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f"The manifest {path} has ")
    assert rest[-1].endswith(". Put these right; nothing was trained.")
    return [line.removesuffix(". Put these right; nothing was trained.")[2:] for line in rest]


def test_lines_become_entries_in_their_order(folder: Path) -> None:
    path = written(
        folder, {"name": "two", "pairs": "b", "set": {"steps": 9, "lr": 1e-3}, "licence": "mine"},
        "", {"name": "one", "pairs": str(folder / "sub" / "c"), "recipe": None},
    )  # fmt: skip
    two, one = read_manifest(path)
    assert (two.name, two.pairs, two.licence) == ("two", folder / "b", "mine")
    assert (two.config.steps, two.config.lr, two.config.base) == (9, 1e-3, "mini-kontext")
    assert (one.name, one.pairs, one.licence) == ("one", folder / "sub" / "c", None)
    assert one.config.steps == 150  # that of mini-kontext


def test_settings_come_from_the_recipe_the_command_and_the_line_in_this_order(folder: Path) -> None:
    path = written(
        folder, {"name": "a", "pairs": "a", "recipe": "own.yaml", "set": {"rank": 5}},
        {"name": "b", "pairs": "b", "recipe": "own.yaml"},
    )  # fmt: skip
    a, b = read_manifest(path, overrides=["rank=4", "eta=2"])
    assert [(e.config.steps, e.config.rank, e.config.eta) for e in (a, b)] == [(7, 5, 2), (7, 4, 2)]
    assert {e.config.base for e in (a, b)} == {"my/base"}
    given = read_manifest(written(folder, {"name": "a", "pairs": "a"}), recipe=folder / "own.yaml")
    assert given[0].config.steps == 7


@pytest.mark.parametrize(
    "settings", [{"words.vocabulary": "v.txt"}, {"vocabulary": "v.txt"},
                 {"words": {"vocabulary": "v.txt"}}],
)  # fmt: skip
def test_a_vocabulary_is_looked_for_beside_the_manifest(
    folder: Path, settings: dict[str, object]
) -> None:
    path = written(folder, {"name": "a", "pairs": "a", "set": {"steps": 3, **settings}})
    with pytest.raises(UsageError, match="a problem") as refused:
        read_manifest(path)
    (said,) = refused.value.details
    assert said.startswith(f"line 1: There is no vocabulary {folder / 'v.txt'}")
    (folder / "v.txt").write_text("a hat\na cap")
    (entry,) = read_manifest(path)
    assert (entry.config.steps, entry.config.vocabulary) == (3, "a hat; a cap")


def test_a_base_that_is_given_is_that_of_every_line(folder: Path) -> None:
    path = written(
        folder, {"name": "a", "pairs": "a", "recipe": "own.yaml"}, {"name": "b", "pairs": "b"}
    )
    assert {e.config.base for e in read_manifest(path, base="mini")} == {"mini"}


def test_all_problems_are_said_at_once(folder: Path) -> None:
    path = written(
        folder,
        {"nme": "a", "pairs": "a"},
        {"name": "b/b", "pairs": "no"},
        {"name": "x", "pairs": "a", "set": {"stepz": 3}},
        {"name": "x", "pairs": "a", "recipe": "mimi"},
        "nonsense",
        ["a", "list"],
        {"name": 3, "pairs": "a", "set": "steps=3"},
        {"name": "y", "pairs": "a", "set": {"steps": 0, "lr": 7}},
        {"name": "z", "pairs": "a", "set": {"base": "mini"}},
    )
    assert problems(path) == [
        "line 1: unknown key 'nme' (Did you mean name?)",
        "line 1: name is missing",
        "line 2: 'b/b' cannot be the name of an edit; expected 1 to 64 letters, digits, - and _, "
        "not beginning with -",
        f"line 2: pairs: there is no folder {folder / 'no'}",
        "line 3: Recipe mini-kontext.yaml: unknown key 'stepz' (Did you mean steps)",
        "line 4: the name x is that of line 3 too",
        "line 4: There is no recipe 'mimi' (Did you mean mini?)",
        "line 5: not JSON (Expecting value: line 1 column 1 (char 0))",
        "line 6: expected keys and values in braces, got a list",
        "line 7: name is 3, expected a text",
        "line 7: set is 'steps=3', expected settings by name",
        "line 8: Settings out of range: steps is 0, expected a whole number of at least 1; "
        "optim.lr is 7.0, expected a number above 0 and at most 1",
        "line 9: --set cannot change the model (Give it with --base)",
    ]


def test_a_recipe_of_another_base_is_refused(folder: Path) -> None:
    path = written(
        folder, {"name": "a", "pairs": "a"}, {"name": "b", "pairs": "b", "recipe": "own.yaml"},
        {"name": "c", "pairs": "b", "recipe": "lowmem"},
    )  # fmt: skip
    way_out = "(say which with --base, or make a manifest for each)"
    assert problems(path) == [
        f"line 2: base my/base, but mini-kontext in line 1 {way_out}",
        f"line 3: base black-forest-labs/FLUX.1-dev, but mini-kontext in line 1 {way_out}",
    ]


def test_two_precisions_are_refused(folder: Path) -> None:
    path = written(
        folder, {"name": "a", "pairs": "a", "recipe": "flux-dev"},
        {"name": "b", "pairs": "b", "recipe": "lowmem"},
    )  # fmt: skip
    assert problems(path) == [
        "line 2: precision nf4, but bf16 in line 1 (say which with --precision, or make a manifest "
        "for each)"
    ]
    assert len(read_manifest(path, overrides=["precision=nf4"])) == 2


def test_a_long_list_of_problems_is_cut(folder: Path) -> None:
    lines = [{"name": f"e{k}", "pairs": "gone"} for k in range(SHOWN + 5)]
    said = problems(written(folder, *lines))
    assert len(said) == SHOWN + 1
    assert said[-1] == "and 5 more"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "There is no manifest"), (b"\xff\xfe\x00", "is no manifest"), (b"\n \n", "is empty")],
)
def test_what_is_no_manifest_says_so(folder: Path, content: bytes | None, said: str) -> None:
    path = folder / "list.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_manifest(path)


def test_a_folder_is_no_manifest(folder: Path) -> None:
    with pytest.raises(InputError, match="is no manifest"):
        read_manifest(folder)
