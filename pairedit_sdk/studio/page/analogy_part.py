"""Analogies a : a′ :: b, answered with the user's own edits, or with words."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio import analogy_work
from pairedit_sdk.studio.examples import ANALOGIES, example_analogy
from pairedit_sdk.studio.page import code_part
from pairedit_sdk.studio.page.charts import candidates_html, verdict_html
from pairedit_sdk.studio.page.shared import PRIVATE, said
from pairedit_sdk.studio.requests import AnalogyRequest

if TYPE_CHECKING:
    from pairedit_sdk.studio.analogy_work import Asked
    from pairedit_sdk.studio.page.shared import Shared

_HOW = (
    "What changes from a to a\N{PRIME} is done to b, with edits of the basis, or with words where "
    "no edit makes this change."
)
#: A tab that the server chooses is not said to be selected, so that the address would not follow.
_TO_EDIT = "() => { document.querySelector('#tabs [role=tab]').click(); }"


def build(shared: Shared) -> None:
    """Lay the part out."""
    gr.Markdown("### Analogy")
    gr.Markdown(_HOW, elem_classes="pe-note")
    pictures, answer = _pictures()
    with gr.Row(equal_height=True):
        scale = gr.Slider(
            0,
            2,
            1,
            step=0.05,
            label="Scale of the answer",
            buttons=[],
            min_width=200,
            elem_id="analogy-scale",
        )
        with gr.Column(min_width=200):
            words = gr.Checkbox(
                True, label="Look for words", container=False, elem_id="analogy-words"
            )
            force = gr.Checkbox(
                False, label="Mix the nearest anyway", container=False, elem_id="analogy-force"
            )
    asking = gr.Button("Ask", variant="primary", elem_id="analogy-ask")
    sentence = gr.HTML(elem_id="analogy-sentence", min_height=24)
    chart = gr.HTML(elem_id="analogy-chart")
    take = gr.Button("Take over to the sliders", interactive=False, elem_id="analogy-take")
    command, python = code_part.build("analogy")
    asked: gr.State = gr.State(None)
    outputs = [asked, sentence, chart, answer, take, command, python]
    asking.click(
        said(functools.partial(_asked, shared)),
        [*pictures, scale, force, words],
        outputs,
        show_progress="minimal",
        show_progress_on=[sentence, answer],
        **PRIVATE,
    )
    take.click(
        said(_taken), asked, [shared.picture, shared.scales, shared.instructions], **PRIVATE
    ).success(None, None, None, js=_TO_EDIT)


def _pictures() -> tuple[list[gr.Image], gr.Image]:
    """The three pictures with their examples, and the answer."""
    with gr.Row():
        pictures = [
            gr.Image(
                type="filepath",
                image_mode=None,
                format="png",
                label=label,
                height=230,
                sources=["upload", "clipboard"],
                min_width=140,
                buttons=[],
                elem_id=elem_id,
            )
            for label, elem_id in (
                ("a: before", "analogy-a"),
                ("a\N{PRIME}: after", "analogy-a-prime"),
                ("b: picture", "analogy-b"),
            )
        ]
        answer = gr.Image(
            label="b\N{PRIME}: answer",
            interactive=False,
            height=230,
            min_width=140,
            format="png",
            buttons=["download", "fullscreen"],
            elem_id="analogy-answer",
        )
    with gr.Row():
        for number, name in enumerate(ANALOGIES):
            elem_id = f"analogy-example-{name}" if number else "analogy-example"
            example = gr.Button(
                f"Example: {name}", size="sm", scale=0, min_width=150, elem_id=elem_id
            )
            example.click(said(functools.partial(example_analogy, name)), None, pictures, **PRIVATE)
    return pictures, answer


def _asked(
    shared: Shared,
    a: str | None,
    a_prime: str | None,
    b: str | None,
    scale: float,
    force: bool,
    words: bool,
) -> Iterator[Any]:
    """What the analogy means, and then the picture, which takes longer."""
    request = AnalogyRequest(scale=scale, force=force, words=words, find_words=words)
    asked = analogy_work.ask(shared.service, (a, a_prime, b), request)
    found = asked.answer
    yield (
        asked,
        verdict_html(found),
        candidates_html(found),
        None,
        gr.Button(interactive=any(asked.mix())),
        *analogy_work.code(shared.service, asked),
    )
    skipped = [gr.skip()] * 3
    yield (*skipped, analogy_work.picture(shared.service, asked), *skipped)


def _taken(asked: Asked | None) -> tuple[Any, ...]:
    """Picture b and what answers the analogy, for the tab Edit."""
    if asked is None or not any(asked.mix()):
        raise UsageError(
            "There is no answer to be taken over",
            expected="an analogy that edits or instructions answer",
            next_step="Ask an analogy first",
        )
    return (asked.key, *asked.mix())
