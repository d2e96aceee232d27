"""The documentation: pages made of the code say what it says, and every link leads somewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

import pairedit_sdk
from docs._tools import models_table, settings_table
from docs._tools.roles import to_markdown
from pairedit_sdk.models.families import ALIASES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
EXPERIMENTS = [p for p in sorted((DOCS / "experiments").glob("*.md")) if p.name != "index.md"]

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_OUTSIDE = re.compile(r"[a-z]+:")


@cache
def prose(page: Path) -> str:
    """The page without fenced code, in which "](" and "#" mean something else."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What ``page#…`` may name: headings as GitHub writes them, and names of the API."""
    found = set(re.findall(r"^::: (\S+)", prose(page), re.MULTILINE))
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def links(page: Path) -> Iterator[str]:
    for target in _LINK.findall(prose(page)):
        if not _OUTSIDE.match(target):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_an_anchor(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_a_broken_anchor_would_be_found() -> None:
    assert "the-words-of-the-tables" in anchors(DOCS / "experiments" / "index.md")
    assert "the-papers-ablations" in anchors(DOCS / "experiments" / "published-recipe.md")
    assert "no-such-heading" not in anchors(DOCS / "method.md")


def test_no_page_is_left_out_of_the_site() -> None:
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


def test_the_settings_page_is_that_of_the_dataclasses() -> None:
    assert settings_table.PAGE.read_text(encoding="utf-8") == settings_table.page(), (
        "docs/settings.md is out of date: run python -m docs._tools.settings_table"
    )


def test_the_first_rows_of_the_tables_of_models_are_what_is_estimated() -> None:
    said = models_table.PAGE.read_text(encoding="utf-8")
    first = models_table.MODELS[0]
    rows = [models_table.about(first), *models_table.peaks(first)]
    assert [row for row in rows if f"\n{row}\n" not in said] == [], (
        "docs/models.md is out of date: run python -m docs._tools.models_table"
    )


def test_the_tables_of_models_have_every_short_name() -> None:
    rows = models_table.MODELS
    assert {name for row in rows for name in (row.train, *row.use)} == set(ALIASES)


@pytest.mark.slow
def test_the_tables_of_models_are_what_is_estimated() -> None:
    said = models_table.PAGE.read_text(encoding="utf-8")
    assert said == models_table.page(said)


@dataclass(frozen=True)
class _Inner:
    """A part.

    Attributes:
        depth: how deep, see :func:`pairedit_sdk.load_base`; ``None`` is
            shallow | flat.
    """

    depth: float | None = None


@dataclass(frozen=True)
class _Outer:
    """Settings.

    Args:
        on: whether.
        name: η of it.
        inner: not shown.
    """

    on: bool = False
    name: str = "x"
    inner: _Inner = field(default_factory=_Inner)


def test_rows_of_settings_descend_into_dataclasses() -> None:
    assert list(settings_table.rows(_Outer())) == [
        ("on", "false", "Whether."),
        ("name", "x", "η of it."),
        ("inner.depth", "null", r"How deep, see `load_base`; `null` is shallow \| flat."),
    ]


def test_a_setting_without_a_word_is_refused() -> None:
    @dataclass(frozen=True)
    class Silent:
        """Settings."""

        mystery: int = 1

    with pytest.raises(ValueError, match=r"Silent\.mystery: the docstring says nothing"):
        list(settings_table.rows(Silent()))


def test_roles_become_code_and_links() -> None:
    text = "See :func:`~pairedit_sdk.train`, :data:`.LAYOUTS` and ``x``."
    assert to_markdown(text) == "See `train`, `LAYOUTS` and `x`."
    linked = to_markdown(text, lambda name: name if name.endswith("train") else None)
    assert linked == "See [`train`][pairedit_sdk.train], `LAYOUTS` and `x`."


def test_the_api_page_has_every_public_name_once() -> None:
    named = re.findall(r"^::: pairedit_sdk\.(\w+)$", prose(DOCS / "api.md"), re.MULTILINE)
    assert sorted(named) == sorted(set(pairedit_sdk.__all__) - {"__version__"})


def test_the_api_page_has_every_error() -> None:
    def below(cls: type) -> Iterator[str]:
        for inner in cls.__subclasses__():
            if inner.__module__ == pairedit_sdk.PairEditError.__module__:
                yield inner.__name__
                yield from below(inner)

    named = re.findall(r"^\| `(\w+Error)` \|", prose(DOCS / "api.md"), re.MULTILINE)
    assert sorted(named) == sorted(below(pairedit_sdk.PairEditError))


@pytest.mark.parametrize("page", EXPERIMENTS, ids=lambda p: p.stem)
def test_an_experiment_begins_with_what_came_of_it_in_three_sentences(page: Path) -> None:
    title, came, *_ = page.read_text(encoding="utf-8").split("\n\n")
    assert title.startswith("# ")
    assert len(re.findall(r"[.!?](?=\s|$)", came)) == 3


@pytest.mark.parametrize("page", EXPERIMENTS, ids=lambda p: p.stem)
def test_every_table_of_an_experiment_has_a_caption(page: Path) -> None:
    blocks = prose(page).split("\n\n")
    bare = [
        table.splitlines()[0]
        for above, table in pairwise(blocks)
        if table.startswith("|") and not re.fullmatch(r"\*\*.+\.\*\*", above.strip(), re.DOTALL)
    ]
    assert not bare
