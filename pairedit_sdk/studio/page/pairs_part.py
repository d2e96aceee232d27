"""The part of the training tab where pairs are chosen and checked."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.errors import InputError
from pairedit_sdk.pairs.folder import EXTENSIONS
from pairedit_sdk.studio.chosen_pairs import (
    EXAMPLE,
    FOLDER,
    UPLOADED,
    Checked,
    check_chosen,
    chosen,
    example_names,
)
from pairedit_sdk.studio.page.shared import PRIVATE, said

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

_HINT = (
    "One to three pairs are usual: the same picture before and after one change. Pictures of equal "
    "names belong together, and so do NAME_before and NAME_after; others go by their order."
)


@dataclass(frozen=True)
class PairsPart:
    """What the other parts need of it.

    Attributes:
        fields: the components, as :class:`pairedit_sdk.studio.training_form.TrainingForm` begins.
    """

    fields: list[Any]


def build(shared: Shared) -> PairsPart:
    """Lay the part out."""
    sources = [("My pictures", UPLOADED), ("Example pairs", EXAMPLE)]
    sources += [("A folder of this machine", FOLDER)] if shared.local else []
    kind = gr.Radio(sources, value=UPLOADED, label="Pairs", elem_id="train-source")
    with gr.Column(elem_classes="pe-tight") as own:
        gr.HTML(f'<p class="pe-note">{_HINT}</p>', padding=False)
        with gr.Row():
            befores, afters = (
                gr.File(
                    label=side.capitalize(),
                    file_count="multiple",
                    file_types=sorted(EXTENSIONS),
                    height=132,
                    min_width=150,
                    elem_id=f"train-{side}",
                )
                for side in ("before", "after")
            )
    example = gr.Dropdown(
        example_names(), value=None, label="Example", visible=False, elem_id="train-example"
    )
    folder = gr.Textbox(
        label="Folder",
        placeholder="with source/ and target/, or NAME_before and NAME_after pictures",
        visible=False,
        elem_id="train-folder",
    )
    check = gr.Button("Check the pairs", elem_id="train-check")
    verdict = gr.HTML("", elem_id="train-verdict", padding=False)
    results = gr.Gallery(
        label="Before, and after with what changes tinted",
        show_label=False,
        columns=2,
        object_fit="contain",
        height="auto",
        visible=False,
        interactive=False,
        buttons=["fullscreen"],
        elem_id="train-checked",
        elem_classes="pe-grid-wide",
    )
    fields = [kind, befores, afters, example, folder]
    _listen(shared, fields, (own, example, folder), check, [verdict, results])
    return PairsPart(fields)


def _listen(
    shared: Shared, fields: list[Any], parts: Any, check: gr.Button, outputs: list[Any]
) -> None:
    kind, befores, afters, example, _ = fields

    def show(which: str) -> list[Any]:
        return [gr.update(visible=which == wanted) for wanted in (UPLOADED, EXAMPLE, FOLDER)]

    def checked(*values: Any, asked: bool = True) -> Any:
        which, one, two, *named = values
        places = [place or "" for place in named]
        try:
            found = chosen(which, one or (), two or (), *places, local=shared.local)
        except InputError as error:
            if asked:
                raise
            there = bool(one or two) and which == UPLOADED
            note = html.escape(error.what) if there else ""
            return f'<p class="pe-note">{note}</p>', gr.update(value=None, visible=False)
        result = check_chosen(found.pairs())
        pictures = [(pair.picture, pair.caption) for pair in result.pairs]
        return _verdict(result), gr.update(value=pictures, visible=True)

    def by_itself(*values: Any) -> Any:
        if values[0] == FOLDER or (values[0] == EXAMPLE and not values[3]):
            return "", gr.update(value=None, visible=False)
        return checked(*values, asked=False)

    kind.change(show, kind, list(parts), queue=False, show_progress="hidden", **PRIVATE)
    check.click(said(checked), fields, outputs, **PRIVATE)
    gr.on(
        [kind.change, befores.change, afters.change, example.change],
        said(by_itself),
        fields,
        outputs,
        show_progress="hidden",
        trigger_mode="always_last",
        **PRIVATE,
    )


def _verdict(found: Checked) -> str:
    """What was found, as HTML."""
    rows = "".join(
        f'<li><b>{html.escape(pair.report.name)}</b>, <span class="pe-{pair.report.verdict}">'
        f"{pair.report.verdict}</span>: {html.escape(pair.sentence)}</li>"
        for pair in found.pairs
    )
    kind = "good" if found.worth_training else "bad"
    more = "".join(f"<p>{html.escape(advice)}</p>" for advice in found.advice)
    return (
        f'<div class="pe-verdict"><p class="pe-{kind}">{html.escape(found.sentence)}</p>'
        f'<ul>{rows}</ul>{more}<p class="pe-note">What changes is tinted.</p></div>'
    )
