"""The part of the training tab that shows how a training is doing."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr

from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio.page.shared import PRIVATE, said, shown
from pairedit_sdk.studio.training_words import UNDER_WAY, headline

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared
    from pairedit_sdk.studio.training_status import TrainingStatus

#: Seconds between two looks at a training under way.
LOOK = 1.0
#: Seconds that a press on Stop waits for the end before the page is answered.
STOPPING = 20.0


def build(shared: Shared, run: gr.State, started: Any) -> None:
    """Lay the part out.

    Args:
        shared: what all tabs have.
        run: state with the name of the training that is shown.
        started: the event after one was started here.
    """
    runs = gr.Dropdown([], label="Training", elem_id="train-runs", interactive=True)
    status = gr.HTML(_NOTHING, elem_id="train-status", padding=False)
    with gr.Row():
        stop = gr.Button("Stop", visible=False, variant="stop", elem_id="train-stop")
        resume = gr.Button("Resume", visible=False, variant="primary", elem_id="train-resume")
    plot = gr.LinePlot(
        x="step",
        y="loss",
        x_axis_format="d",
        height=230,
        label="Loss",
        show_label=False,
        visible=False,
        elem_id="train-loss",
    )
    preview = gr.Image(
        label="What it makes of its own pairs",
        visible=False,
        interactive=False,
        buttons=["fullscreen", "download"],
        elem_id="train-preview",
        elem_classes="pe-labelled",
    )
    command = gr.Textbox(
        label="The same as a command",
        lines=2,
        max_lines=6,
        buttons=["copy"],
        interactive=False,
        visible=False,
        elem_id="train-command",
    )
    timer, seen = gr.Timer(LOOK, active=False), gr.State(None)
    outputs = [status, stop, resume, plot, preview, command, runs, timer, seen]
    _listen(shared, run, started, outputs)


def _listen(shared: Shared, run: gr.State, started: Any, outputs: list[Any]) -> None:
    """Follow the training that is shown, stop it and resume it."""
    _, stop, resume, *_, runs, timer, seen = outputs
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}

    def anew(name: str) -> list[Any]:
        return _shown(shared, name, None)

    def look(name: str, before: Any) -> list[Any]:
        return _shown(shared, name, before)

    def stopped(name: str) -> list[Any]:
        shared.service.trainings.stop(name, STOPPING)
        return anew(name)

    def resumed(name: str) -> list[Any]:
        shared.service.resume(name)
        return anew(name)

    run.change(anew, run, outputs, **quick)
    started(anew, run, outputs, **quick)
    # Others may have been trained meanwhile, here or in a shell.
    shared.names.change(anew, run, outputs, **quick)
    timer.tick(look, [run, seen], outputs, **quick)
    # Through the queue, as all that sets a state that others watch.
    runs.input(lambda name: name or "", runs, run, show_progress="hidden", **PRIVATE)
    stop.click(said(stopped), run, outputs, **PRIVATE)
    resume.click(said(resumed), run, outputs, **PRIVATE)


_NOTHING = '<p class="pe-note">No training is shown. Start one, or choose an earlier one above.</p>'


def _shown(shared: Shared, name: str, before: Any) -> list[Any]:
    """What the part shows of a training.

    Args:
        shared: what all tabs have.
        name: of the training, or "".
        before: what the last look has seen; what is the same is not sent again. ``None`` sends all.
    """
    found = _found(shared, name)
    if found is None:
        hidden = gr.update(visible=False)
        note = f'<p class="pe-note">There is no training {html.escape(name)}.</p>'
        runs = _runs(shared, "")
        off = gr.Timer(active=False)
        return [note if name else _NOTHING, *[hidden] * 5, runs, off, None]
    picture = shown(found.previews[-1]) if found.previews else shared.preview(name)
    now = [found.state, len(found.losses), found.step, picture, found.command]
    old = before if isinstance(before, list) and len(before) == len(now) else [None] * len(now)
    state, curve, drawn, said_command = (before is None or now[k] != old[k] for k in (0, 2, 3, 4))
    active = found.state in UNDER_WAY
    return [
        _status(found),
        gr.update(visible=active) if state else gr.skip(),
        gr.update(visible=found.resumable) if state else gr.skip(),
        _curve(found) if curve else gr.skip(),
        gr.update(value=picture, visible=picture is not None) if drawn else gr.skip(),
        gr.update(value=found.command, visible=bool(found.command)) if said_command else gr.skip(),
        _runs(shared, name) if state else gr.skip(),
        gr.Timer(active=active) if state else gr.skip(),
        now,
    ]


def _found(shared: Shared, name: str) -> TrainingStatus | None:
    try:
        return shared.service.trainings.status(name) if name else None
    except UsageError:
        return None


def _runs(shared: Shared, name: str) -> Any:
    """All trainings, each with its state; the one that is shown is chosen."""
    there = [(f"{one.name} ({one.state})", one.name) for one in shared.service.trainings.all()]
    return gr.update(choices=there, value=name or None)


def _status(found: TrainingStatus) -> str:
    share = found.step / found.steps if found.steps else 0.0
    bar = f'<div class="pe-bar"><div style="width: {min(share, 1):.1%}"></div></div>'
    why = f'<p class="pe-bad">{html.escape(found.message)}</p>' if found.message else ""
    kind = {"failed": " pe-bad", "done": " pe-good"}.get(found.state, "")
    return (
        f'<div class="pe-run" data-state="{found.state}"><p class="{kind.strip()}">'
        f"{html.escape(headline(found))}</p>{bar}{why}</div>"
    )


def _curve(found: TrainingStatus) -> Any:
    import pandas as pd

    rows = pd.DataFrame(list(found.losses), columns=["step", "loss"])
    return gr.update(value=rows, visible=len(found.losses) > 1)
