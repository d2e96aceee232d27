"""One slider for each chosen edit and instruction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.studio.page.shared import LIVE, PRIVATE, said
from pairedit_sdk.studio.requests import MOST_PARTS

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared

LEAST, MOST, STEP = -2.0, 2.0, 0.05


@dataclass(frozen=True)
class Moving:
    """What happens when a slider is moved.

    Attributes:
        draft: gives the draft, from the session, the values of ``picture``, the scales of edits
            and of instructions, and the values of ``fields``.
        picture: the states of the picture and its mask.
        fields: of the form.
        outputs: of the draft.
        full: the event that makes the whole picture.
    """

    draft: Callable[..., Any]
    picture: list[Any]
    fields: list[Any]
    outputs: list[Any]
    full: dict[str, Any]


class Sliders:
    """The chosen edits with their sliders, and how others are chosen.

    Args:
        shared: whose scales are moved.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        #: What the sliders stand at, so that what was set elsewhere is told from a slider's move.
        self.stands = gr.State(({}, {}))
        #: Counts what was set elsewhere; then the sliders are drawn anew.
        self.revision = gr.State(0)

    def build_choice(self) -> None:
        """What gets a slider: edits of the library, and instructions."""
        self._build_edits()
        self._build_instructions()

    def _build_edits(self) -> None:
        shared = self.shared
        names = gr.Dropdown(
            [],
            multiselect=True,
            max_choices=MOST_PARTS,
            label="Edits",
            elem_id="edit-names",
            info="Those of the library that are chosen get a slider.",
        )

        def choose(chosen: list[str], scales: Mapping[str, float]) -> dict[str, float]:
            return {name: scales.get(name, 1.0) for name in chosen}

        def listed(there: list[str], chosen: list[str], scales: Mapping[str, float]) -> Any:
            # What is not sent does not disturb somebody who is choosing.
            now = [name for name in scales if name in there]
            listed = gr.Dropdown(choices=there, **({} if now == chosen else {"value": now}))
            # An edit that is gone takes its slider along.
            return listed, gr.skip() if len(now) == len(scales) else {n: scales[n] for n in now}

        def set_elsewhere(there: list[str], chosen: list[str], scales: Mapping[str, float]) -> Any:
            now = [name for name in scales if name in there]
            return gr.skip() if now == chosen else gr.Dropdown(choices=there, value=now)

        state = [shared.names, names, shared.scales]
        names.input(choose, [names, shared.scales], shared.scales, **PRIVATE)
        shared.names.change(
            listed, state, [names, shared.scales], show_progress="hidden", **PRIVATE
        )
        shared.scales.change(set_elsewhere, state, names, show_progress="hidden", **PRIVATE)

    def _build_instructions(self) -> None:
        said_ones = self.shared.instructions
        with gr.Row():
            phrase = gr.Textbox(
                label="Instruction",
                placeholder="add round glasses",
                scale=4,
                max_lines=1,
                max_length=1000,
                elem_id="edit-phrase",
            )
            add = gr.Button("Add", scale=0, min_width=80, elem_id="edit-add")
        chosen = gr.Dropdown(
            [],
            multiselect=True,
            show_label=False,
            container=False,
            visible=False,
            elem_id="edit-told",
        )

        def say(phrase: str, instructions: Mapping[str, float]) -> tuple[str, Any]:
            told = " ".join(phrase.split())
            return "", {**instructions, told: 1.0} if told else gr.skip()

        def shown(kept: list[str], instructions: Mapping[str, float]) -> Any:
            now = list(instructions)
            same = {} if now == kept else {"value": now}
            return gr.Dropdown(choices=now, visible=bool(now), **same)

        def unsay(kept: list[str], instructions: Mapping[str, float]) -> dict[str, float]:
            return {phrase: instructions[phrase] for phrase in kept if phrase in instructions}

        inputs = [phrase, said_ones]
        gr.on([add.click, phrase.submit], say, inputs, inputs, **PRIVATE)
        chosen.input(unsay, [chosen, said_ones], said_ones, **PRIVATE)
        said_ones.change(shown, [chosen, said_ones], chosen, show_progress="hidden", **PRIVATE)

    def build_sliders(self, moving: Moving) -> None:
        """The sliders, drawn anew when others are chosen.

        Args:
            moving: what happens when one is moved.
        """
        states = [self.shared.scales, self.shared.instructions]

        def moved(scales: Any, instructions: Any, stands: Any, revision: int) -> Any:
            now = (dict(scales), dict(instructions))
            same = (list(now[0]), list(now[1]), *now) == (list(stands[0]), list(stands[1]), *stands)
            return (gr.skip(), gr.skip()) if same else (now, revision + 1)

        gr.on(
            [state.change for state in states],
            moved,
            [*states, self.stands, self.revision],
            [self.stands, self.revision],
            show_progress="hidden",
            **PRIVATE,
        )
        self.revision.change(**moving.full)

        @gr.render(inputs=self.stands, triggers=[self.revision.change])  # type: ignore[untyped-decorator]
        def drawn(stands: tuple[Mapping[str, float], Mapping[str, float]]) -> None:
            scales, phrases = stands
            parts = [self._slider(name, scale, True) for name, scale in scales.items()]
            parts += [self._slider(phrase, scale, False) for phrase, scale in phrases.items()]
            self._listen(parts, list(scales), list(phrases), moving)

    def _listen(
        self, parts: list[gr.Slider], names: list[str], phrases: list[str], moving: Moving
    ) -> None:
        """A draft while one is dragged, and the whole picture when it is let go."""

        def split(values: tuple[Any, ...]) -> tuple[dict[str, float], dict[str, float]]:
            numbers = [float(value) for value in values]
            return (
                dict(zip(names, numbers[: len(names)], strict=True)),
                dict(zip(phrases, numbers[len(names) :], strict=True)),
            )

        def drafted(request: gr.Request, key: str, mask: str, *values: Any) -> Any:
            if not key:
                return gr.skip(), "Choose a picture."
            count = len(parts)
            session = str(request.session_hash)
            return moving.draft(session, key, mask, *split(values[:count]), *values[count:])

        def settled(*values: Any) -> Any:
            now = split(values)
            return *now, now

        states = [self.shared.scales, self.shared.instructions, self.stands]
        for slider in parts:
            slider.input(
                said(drafted), [*moving.picture, *parts, *moving.fields], moving.outputs, **LIVE
            )
            slider.release(settled, parts, states, show_progress="hidden", **PRIVATE).then(
                **moving.full
            )

    def _slider(self, label: str, scale: float, is_edit: bool) -> gr.Slider:
        preview = self.shared.preview(label) if is_edit else None
        with gr.Row(equal_height=True):
            if preview is not None:
                gr.Image(
                    preview,
                    show_label=False,
                    container=False,
                    height=84,
                    width=84,
                    min_width=84,
                    scale=0,
                    interactive=False,
                    buttons=[],
                    elem_classes="pe-thumb",
                )
            slider = gr.Slider(
                min(LEAST, floor(scale)),
                max(MOST, ceil(scale)),
                scale,
                step=STEP,
                interactive=True,  # in gr.render nothing else says so
                scale=4,
                min_width=160,
                label=label if is_edit else f"“{label}”",
                elem_classes="pe-scale",
                buttons=[],
            )
        taken = slider.preprocess
        # The number is empty for a moment when somebody types another. A class of our own would
        # make Gradio write a file beside this one.
        slider.preprocess = lambda value: taken(0 if value is None else value)
        return slider
