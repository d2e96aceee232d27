from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.metadata import EditDirection, EditInfo, EditorSettings
from pairedit_sdk.sharing.edit_card import card, lines
from pairedit_sdk.training.config import load_recipe

LEARNED = EditInfo(
    "hat",
    base="mini",
    architecture="flux-1-mini",
    base_fingerprint="f36b271fec80d511",
    precision="fp32",
    resolution=128,
    rank=16,
    steps=300,
    pairs=["anna", "ben"],
    settings=load_recipe("mini", ["steps=300"]).as_dict(),
    unit_scale=1.5,
    editor=EditorSettings(5, 2, 0.15, limit_scale=True),
    direction=EditDirection([1.0], 0.5, "mini"),
    created="2026-11-25T18:16:47+00:00",
    licence="CC0",
    sdk_version="0.1.0",
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (EditWords("add a hat", 0.6, 0.214), '"add a hat", acts at scale 0.6, loss ratio 0.21'),
        (EditWords("add a hat", 0.0), '"add a hat", a description only'),
    ],
)
def test_words_say_whether_they_act(path: Path, words: EditWords, said: str) -> None:
    shown = lines(card(path, replace(LEARNED, words=[words])), 400)
    assert f"  words         {said}" in shown


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 1.2 MB."""
    path = tmp_path / "hat.safetensors"
    path.write_bytes(bytes(1_234_567))
    return path


def test_a_learned_edit_in_groups(path: Path) -> None:
    path.with_suffix(".png").touch()
    assert lines(card(path, LEARNED), 400) == [
        "What it is",
        "  name          hat",
        "  model         mini (flux-1-mini, f36b271fec80d511)",
        "  rank          16",
        "  size          1.2 MB",
        "",
        "How it was learned",
        "  pairs         2 (anna, ben)",
        "  steps         300",
        "  objective     flowedit",
        "  recipe        mini, with steps=300",
        "  resolution    128 x 128 pixels",
        "  precision     fp32",
        "",
        "How it is applied",
        "  schedule      5 steps, 2 noises in each",
        "  threshold     0.15",
        "  scale limit   on (image encoder mini)",
        "  guidance      3.5",
        "  unit scale    1.5, in the weights already: use scale 1",
        "",
        "Its file",
        f"  path          {path}",
        f"  preview       {path.with_suffix('.png')}",
        "  licence       CC0",
        "  created       2026-11-25 18:16 UTC",
        "  made with     pairedit-sdk 0.1.0",
    ]


def test_a_lora_from_elsewhere_has_only_what_is_known(path: Path) -> None:
    groups = card(path, EditInfo("lora", rank=4))
    assert [heading for heading, _ in groups] == [
        "What it is", "How it is applied", "Its file",
    ]  # fmt: skip
    assert ("model", "not stated") in groups[0][1]
    assert groups[2][1] == [("path", str(path)), ("licence", "not stated")]


def test_a_sum_says_what_it_is_made_of(path: Path) -> None:
    info = EditInfo("both", base="mini", rank=32, parts=[("hat", 1.0), ("glasses", -0.5)])
    assert ("made of", "hat @ 1, glasses @ -0.5") in card(path, info)[0][1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warp": 9}, "1 setting, see --json"),
        ({"lr": [], "rank": {}}, "2 settings, see --json"),
        ({"objective": ["x"]}, "1 setting, see --json"),
    ],
)
def test_settings_that_are_not_understood_are_counted(
    path: Path, settings: dict[str, object], said: str
) -> None:
    rows = dict(card(path, replace(LEARNED, settings=settings))[1][1])
    assert rows["recipe"] == said
    assert "objective" not in rows


def test_long_lists_wrap_under_their_label_and_names_stay_whole(path: Path) -> None:
    names = [f"a-person-with-a-long-name-{k}" for k in range(6)]
    groups = card(path, replace(LEARNED, pairs=names, created="long ago"))
    shown = lines(groups, 60)
    at = shown.index(next(line for line in shown if line.startswith("  pairs")))
    assert shown[at + 1].startswith(" " * 16 + "a-person")
    assert all(len(line) <= 60 for line in shown if str(path) not in line)
    assert " ".join(" ".join(shown).split()).count("a-person-with-a-long-name-") == 6
    assert "  created       long ago" in shown
