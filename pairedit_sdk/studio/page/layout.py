"""The page as a whole: its tabs, its look, and what all tabs share."""

from __future__ import annotations

import html
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read as gradio is imported

import gradio as gr

from pairedit_sdk.studio.page import compose_tab, edit_tab, library_tab, train_tab
from pairedit_sdk.studio.page.copies import Copies
from pairedit_sdk.studio.page.look import CSS, theme
from pairedit_sdk.studio.page.shared import PRIVATE, Shared
from pairedit_sdk.studio.view import TABS, View

if TYPE_CHECKING:
    from fastapi import FastAPI

    from pairedit_sdk.studio.service import Service

#: Seconds between two looks at the library, which a shell may change too.
LOOK = 2.0
#: Seconds between two looks at Gradio's own copies of files, and the age at which they go.
CACHED = (3600, 24 * 3600)
#: The address follows what the page shows, without a step in the browser's history for each.
_TO_ADDRESS = """(query) => {
  const said = new URLSearchParams(JSON.parse(query || "{}")).toString();
  history.replaceState(null, "", location.pathname + (said ? "?" + said : ""));
}"""
#: A slider that is moved with the keyboard is released when the key is, and a number that is typed
#: counts when Enter is pressed; Gradio says so only of the mouse and of leaving the field.
_HEAD = """<script>
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches && event.target.matches(".pe-scale input"))
    event.target.blur();
});
document.addEventListener("keyup", (event) => {
  if (event.target.matches && event.target.matches("input[type=range]"))
    event.target.dispatchEvent(new PointerEvent("pointerup", {bubbles: true}));
});
</script>"""


def mounted(app: FastAPI, service: Service, max_bytes: int, local: bool = False) -> FastAPI:
    """See :func:`pairedit_sdk.studio.page.mount_page`."""
    copies = Copies(service.folder / "cache")
    with copies.used():
        page = build_page(service, local)
        mount: FastAPI = gr.mount_gradio_app(
            app,
            page,
            path="/",
            max_file_size=max_bytes,
            footer_links=[],
            # What is made to be downloaded. Pictures of the library are shown as copies.
            allowed_paths=[
                str((service.folder / name).resolve()) for name in ("results", "exports")
            ],
            theme=theme(),
            css=CSS,
            head=_HEAD,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
        )
    serving = mount.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        with copies.served():
            async with serving(app) as state:
                yield state

    mount.router.lifespan_context = lifespan
    return mount


def build_page(service: Service, local: bool = False) -> gr.Blocks:
    """The page.

    Args:
        service: that does its work.
        local: see :func:`pairedit_sdk.studio.page.mount_page`.
    """
    with gr.Blocks(title="PairEdit studio", analytics_enabled=False, delete_cache=CACHED) as page:
        names, stamp, picture = gr.State([]), gr.State(0), gr.State("")
        scales, instructions = gr.State({}), gr.State({})
        run, tab = gr.State(""), gr.State("edit")
        gr.HTML(_heading(service), padding=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            shared = Shared(service, names, stamp, picture, scales, instructions, tabs, tab, local)
            with gr.Tab("Edit", id="edit"):
                edit = edit_tab.build(shared)
            with gr.Tab("Pairs and training", id="train"):
                train_tab.build(shared, run)
            with gr.Tab("Compose and basis", id="compose"):
                compose_tab.build(shared)
            with gr.Tab("Library", id="library"):
                library_tab.build(shared)
        _keep_names(service, page, names, stamp)
        _keep_address(page, shared, run, edit.seed)
    page.queue(max_size=256, default_concurrency_limit=8)
    return page


def _heading(service: Service) -> str:
    model, library = html.escape(service.engine.model_name), html.escape(str(service.library))
    return (
        '<div class="pe-head"><h1>PairEdit studio</h1>'
        f'<span class="pe-model">model <b>{model}</b> · library <b>{library}</b></span></div>'
    )


def _keep_names(service: Service, page: gr.Blocks, names: gr.State, stamp: gr.State) -> None:
    """Look at the library now and then: a training or a shell may have changed it."""

    def look(known: list[str], before: int) -> Any:
        paths = service.library.paths()
        found = [path.stem for path in paths]
        now = max((path.stat().st_mtime_ns for path in paths if path.exists()), default=0)
        return (gr.skip() if found == known else found, gr.skip() if now == before else now)

    for event in (page.load, gr.Timer(LOOK).tick):
        event(look, [names, stamp], [names, stamp], show_progress="hidden", **PRIVATE)


def _keep_address(page: gr.Blocks, shared: Shared, run: gr.State, seed: gr.Number) -> None:
    """What is shown is in the page's address, and taken from there when it is loaded."""
    query = gr.Textbox(visible="hidden")
    shown = [shared.tab, shared.picture, shared.scales, shared.instructions, seed, run]

    def say(*values: Any) -> str:
        return json.dumps(View(*values).query())

    def take(request: gr.Request) -> Any:
        view = View.of_query(dict(request.query_params))
        kept = view.picture if view.picture in shared.service.pictures else ""
        there = shared.service.library.names()
        chosen = {name: scale for name, scale in view.scales.items() if name in there}
        return (
            view.tab,
            kept,
            chosen,
            dict(view.instructions),
            view.seed,
            view.run,
            gr.skip() if view.tab == TABS[0] else gr.Tabs(selected=view.tab),
        )

    def selected(event: gr.SelectData) -> str:
        return TABS[event.index if isinstance(event.index, int) else 0]

    page.load(take, None, [*shown, shared.tabs], show_progress="hidden", **PRIVATE)
    shared.tabs.select(selected, None, shared.tab, show_progress="hidden", **PRIVATE)
    for part in shown:
        part.change(say, shown, query, show_progress="hidden", **PRIVATE)
    query.change(None, query, None, js=_TO_ADDRESS)
