"""How pictures are edited, as the fields of a form, and the request that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pairedit_sdk.studio.requests import EditRequest, ScaledEdit, ScaledInstruction

_OWN = "the edit's own"


@dataclass(frozen=True)
class EditForm:
    """The fields; :meth:`request` takes their values in this order.

    Attributes:
        seed: of the noise.
        mode: how several edits act together.
        words: whether the instructions that edits carry act.
        steps: of the schedule; 0 is the edits' own.
        n_avg: noises averaged in each step; 0 is the edits' own.
        limit_scale: the scale limit.
        region: the part that is edited.
        detail: whether the picture keeps its own fine detail.
        cfg: classifier-free guidance.
    """

    seed: gr.Number
    mode: gr.Dropdown
    words: gr.Checkbox
    steps: gr.Number
    n_avg: gr.Number
    limit_scale: gr.Dropdown
    region: gr.Dropdown
    detail: gr.Checkbox
    cfg: gr.Number

    @classmethod
    def build(cls) -> EditForm:
        """Lay the fields out."""
        with gr.Row():
            seed = gr.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed")
            mode = gr.Dropdown(
                [("what suits the edits", ""), "guided", "merged", "sequential"],
                value="",
                label="Several edits together",
            )
        with gr.Row():
            steps = gr.Number(
                0, precision=0, minimum=0, maximum=200, label="Steps", info=f"0: {_OWN}"
            )
            n_avg = gr.Number(
                0, precision=0, minimum=0, maximum=16, label="Noises a step", info=f"0: {_OWN}"
            )
            cfg = gr.Number(1, minimum=1, maximum=30, label="CFG", info="1: none")
        with gr.Row():
            limit_scale = gr.Dropdown(
                [(_OWN, ""), ("on", "on"), ("off", "off")], value="", label="Scale limit"
            )
            region = gr.Dropdown(
                [("the whole picture", ""), ("the part that changes", "auto")],
                value="",
                label="Region",
            )
        words = gr.Checkbox(True, label="Words of the edits act")
        detail = gr.Checkbox(True, label="Keep the picture's own fine detail")
        return cls(seed, mode, words, steps, n_avg, limit_scale, region, detail, cfg)

    @property
    def fields(self) -> list[Any]:
        """The fields in order."""
        return [getattr(self, name) for name in self.__dataclass_fields__]


def request_of(
    scales: Mapping[str, float], instructions: Mapping[str, float], *values: Any
) -> EditRequest:
    """The request that a form makes.

    Args:
        scales: of the edits, by name.
        instructions: scales of the instructions, by phrase.
        values: of :attr:`EditForm.fields`.

    Raises:
        pydantic.ValidationError: a value that no field can have.
    """
    seed, mode, words, steps, n_avg, limit_scale, region, detail, cfg = values
    return EditRequest(
        edits=[ScaledEdit(name=name, scale=scale) for name, scale in scales.items()],
        instructions=[
            ScaledInstruction(phrase=phrase, scale=scale) for phrase, scale in instructions.items()
        ],
        seed=int(seed or 0),
        mode=mode or None,
        words=bool(words),
        steps=int(steps or 0) or None,
        n_avg=int(n_avg or 0) or None,
        limit_scale={"on": True, "off": False}.get(limit_scale),
        region=region or None,
        detail="original" if detail else "off",
        cfg=float(cfg or 1),
    )
