"""Tables and bars as HTML, in the colours of the page's theme."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairedit_sdk.studio.analogy import parts

if TYPE_CHECKING:
    from pairedit_sdk.basis.answering import AnalogyAnswer
    from pairedit_sdk.studio.basis_work import BasisShown
    from pairedit_sdk.words.finding import FoundWords

#: Phrases that are shown of those that were asked.
PHRASES = 3
_TITLES = ("Edit", "Pairs", "Model", "Recognised")
_SUBDUED = "color:var(--body-text-color-subdued)"
_PLAIN = "border:0;background:none"
_CELL = f"padding:.3rem .9rem .3rem 0;text-align:left;{_PLAIN}"


def basis_html(shown: BasisShown) -> str:
    """The edits of a basis as a table."""
    if not shown.entries:
        return _note("Nothing is placed yet. Analogies choose from the edits that are placed here.")
    rows = [
        (entry.name, str(entry.pairs), shown.model, "yes" if entry.recognised else "no")
        for entry in shown.entries
    ]
    head = _line("th", f"{_CELL};{_SUBDUED};font-weight:400", _TITLES)
    body = "".join(_line("td", _CELL, row) for row in rows)
    style = f"border-collapse:collapse;font-size:.92rem;margin:0;{_PLAIN}"
    note = _note(f"Pictures are looked at with the image encoder {shown.encoder}.")
    return f'<table style="{style}">{head}{body}</table>{note}'


def verdict_html(answer: AnalogyAnswer) -> str:
    """What an analogy was found to mean, in one line and one sentence."""
    if answer.known:
        kind, title = "good", "Found in the basis"
    elif answer.shown is not None:
        kind, title = "good", "Answered by a learned basis"
    elif answer.said is not None:
        kind, title = "good", "Found in words"
    elif answer.stack is not None:
        kind, title = "usable", "Unlike anything here; the nearest edits are mixed anyway"
    else:
        kind, title = "bad", "Unlike anything here"
    said = html.escape(answer.sentence)
    return f'<div><b class="pe-{kind}">{title}</b></div><div>{said}</div>'


def candidates_html(answer: AnalogyAnswer) -> str:
    """The edits that were considered, and the words that were asked for."""
    route = answer.route
    if route is None:
        return "" if answer.found is None else _phrases(answer.found)
    used = parts(answer)[0]
    rows = [
        _Row(
            name,
            similarity,
            f"{similarity:.2f}",
            f"{used[name]:.2f}" if name in used else "",
            similarity >= route.thresholds[name],
            route.thresholds[name],
        )
        for name, similarity in route.similarities.items()
    ]
    chart = _bars(("Edit", "Similarity", "Mix"), rows)
    chart += _note("The line is the similarity from which an edit is found.")
    return chart if answer.found is None else chart + _phrases(answer.found)


@dataclass(frozen=True)
class _Row:
    """A bar.

    Attributes:
        name: what it is of.
        value: how long it is, 0 … 1; what is beyond is cut.
        said: a number beside it.
        more: another one.
        reaches: whether it is long enough.
        mark: where a line crosses it.
    """

    name: str
    value: float
    said: str
    more: str
    reaches: bool
    mark: float | None = None

    def html(self) -> str:
        colour = "var(--primary-500)" if self.reaches else "var(--neutral-400)"
        line = (
            ""
            if self.mark is None
            else (
                f'<div style="position:absolute;left:{min(1.0, self.mark):.1%};top:-.2rem;'
                'bottom:-.2rem;width:2px;background:var(--body-text-color)"></div>'
            )
        )
        bar = (
            '<div style="position:relative;height:.65rem;border-radius:4px;'
            'background:var(--border-color-primary)">'
            f'<div style="width:{min(1.0, max(0.0, self.value)):.1%};height:100%;'
            f'border-radius:4px;background:{colour}"></div>{line}</div>'
        )
        name = f'<div style="overflow-wrap:anywhere">{html.escape(self.name)}</div>'
        return name + bar + _right(self.said) + _right(self.more)


def _phrases(found: FoundWords) -> str:
    rows = []
    for place, one in enumerate(found.phrases[:PHRASES]):
        chosen = place == 0 and not found.none
        said = f"{one.explained:.0%}"
        rows.append(_Row(one.phrase, one.explained, said, "chosen" if chosen else "", chosen))
    return _bars(("Words", "Share of the change", ""), rows)


def _line(cell: str, style: str, said: Iterable[str]) -> str:
    cells = "".join(f'<{cell} style="{style}">{html.escape(one)}</{cell}>' for one in said)
    return f'<tr style="{_PLAIN}">{cells}</tr>'


def _bars(titles: Sequence[str], rows: Iterable[_Row]) -> str:
    name, bar, more = (f'<div style="{_SUBDUED}">{title}</div>' for title in titles)
    return (
        '<div style="display:grid;gap:.35rem .8rem;align-items:center;font-size:.9rem;'
        "grid-template-columns:minmax(4rem,max-content) minmax(4rem,1fr) auto auto;"
        f'margin:.4rem 0;max-width:44rem">{name}{bar}<div></div>{more}'
        + "".join(row.html() for row in rows)
        + "</div>"
    )


def _right(said: str) -> str:
    return f'<div style="text-align:right;font-variant-numeric:tabular-nums">{said}</div>'


def _note(said: str) -> str:
    return f'<div class="pe-note">{html.escape(said)}</div>'
