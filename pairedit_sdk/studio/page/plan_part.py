"""The part of the training tab with name, recipe, settings, estimate and the start."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.errors import PairEditError
from pairedit_sdk.models.kinds import is_edit_model
from pairedit_sdk.studio.page.shared import PRIVATE, said
from pairedit_sdk.studio.training_form import TrainingForm
from pairedit_sdk.studio.training_plan import fitting_recipes, usual

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.pairs_part import PairsPart
    from pairedit_sdk.studio.page.shared import Shared


@dataclass(frozen=True)
class PlanPart:
    """What the other parts need of it.

    Attributes:
        started: the event after a training was started, whose name is in the state by then.
    """

    started: Any


def build(shared: Shared, pairs: PairsPart, run: gr.State) -> PlanPart:
    """Lay the part out."""
    model = shared.service.engine.model_name
    recipes = fitting_recipes(model)
    own = next(iter(recipes))
    known = usual(model, own)
    name = gr.Textbox(
        label="Name of the edit", placeholder="glasses", max_lines=1, elem_id="train-name"
    )
    with gr.Accordion("Settings", open=False, elem_id="train-settings"):
        recipe = gr.Dropdown(
            list(recipes), value=own, label="Recipe", info=recipes[own], elem_id="train-recipe"
        )
        with gr.Row():
            numbers = [
                gr.Number(
                    value,
                    label=label,
                    minimum=least,
                    precision=0 if least else None,
                    step=None if least else 1e-4,
                    min_width=90,
                    elem_id=f"train-{key}",
                )
                for key, label, value, least in (
                    ("steps", "Steps", known.steps, 1),
                    ("rank", "Rank", known.rank, 1),
                    ("rate", "Learning rate", known.rate, 0),
                )
            ]
        find = gr.Checkbox(
            known.find_words,
            label="Find the words that describe the change",
            info="They act in the edit, too.",
            visible=is_edit_model(model),
            elem_id="train-words",
        )
        place = gr.Checkbox(
            False, label="Place it in the basis, so that analogies find it", elem_id="train-place"
        )
        force = gr.Checkbox(
            False, label="Replace an edit or a training of this name", elem_id="train-force"
        )
        skip = gr.Checkbox(
            False, label="Train even on pairs that the check advises against", elem_id="train-skip"
        )
    expected = gr.HTML("", elem_id="train-estimate", padding=False)
    start = gr.Button("Start the training", variant="primary", elem_id="train-start")
    fields = [*pairs.fields, name, recipe, *numbers, find, place, force, skip]
    _listen(shared, fields, expected)

    def begin(*values: Any) -> str:
        return TrainingForm(*values).begin(shared.service, local=shared.local).name

    return PlanPart(start.click(said(begin), fields, run, **PRIVATE).success)


def _listen(shared: Shared, fields: list[Any], expected: gr.HTML) -> None:
    """Show a recipe's own values where it is chosen, and what the training will take."""
    model = shared.service.engine.model_name
    recipe, numbers, find = fields[6], fields[7:10], fields[10]

    def of_recipe(chosen: str) -> list[Any]:
        known = usual(model, chosen)
        about = fitting_recipes(model)[chosen]
        return [gr.update(info=about), known.steps, known.rank, known.rate, known.find_words]

    def estimated(*values: Any) -> str:
        form = TrainingForm(*values)
        if form.is_empty:
            return ""
        try:
            found = form.estimated(shared.service)
        except PairEditError as error:
            found = str(error)
        return f'<p class="pe-note">{html.escape(found)}</p>'

    recipe.input(
        said(of_recipe),
        recipe,
        [recipe, *numbers, find],
        queue=False,
        show_progress="hidden",
        **PRIVATE,
    )
    gr.on(
        [part.change for part in (*fields[:4], recipe, *numbers, find)],
        said(estimated),
        fields,
        expected,
        show_progress="hidden",
        trigger_mode="always_last",
        **PRIVATE,
    )
