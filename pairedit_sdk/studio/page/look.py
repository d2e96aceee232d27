"""The look of the page: light and dark, no font or script of another machine."""

from __future__ import annotations

import gradio as gr

_SANS = ["ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

CSS = """
.gradio-container {
  max-width: 1280px !important; width: 100% !important; margin: 0 auto !important;
}
.pe-head { display: flex; align-items: baseline; gap: .8rem; flex-wrap: wrap; }
.pe-head h1 { font-size: 1.35rem; font-weight: 650; margin: 0; }
.pe-head .pe-model { color: var(--body-text-color-subdued); font-size: .9rem; min-width: 0; }
.pe-head b { overflow-wrap: anywhere; }
.pe-note { color: var(--body-text-color-subdued); font-size: .88rem; }
.pe-good { color: #15803d; } .pe-usable { color: #b45309; } .pe-bad { color: #b91c1c; }
.dark .pe-good { color: #4ade80; } .dark .pe-usable { color: #fbbf24; }
.dark .pe-bad { color: #f87171; }
.pe-thumb img { border-radius: 6px; }
.pe-tight { gap: .4rem; }
.pe-verdict ul { list-style: none; padding: 0; margin: .3rem 0; }
.pe-verdict li, .pe-verdict p { margin: .25rem 0; }
.pe-bar { height: 6px; border-radius: 3px; background: var(--border-color-primary); }
.pe-bar div { height: 100%; border-radius: 3px; background: var(--color-accent); }
.pe-run p { margin: .35rem 0; }
.pe-grid .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(135px, 1fr)) !important;
}
.pe-grid-wide .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)) !important;
}
.pe-grid-wide .thumbnail-lg { aspect-ratio: 2 / 1 !important; }
.pe-grid .grid-wrap, .pe-grid-wide .grid-wrap {
  max-height: none !important; min-height: 0 !important; height: auto !important;
}
.pe-labelled .image-container { padding-top: 2rem; }
.pe-end { align-items: end !important; }
input[type=checkbox] { border: 1px solid var(--neutral-400) !important; }
.pe-card table { width: 100%; border-collapse: collapse; }
.pe-card :is(table, tbody, tr, td) { border: none !important; }
.pe-card td { padding: .15rem .5rem .15rem 0; vertical-align: top; overflow-wrap: anywhere; }
.pe-card td:first-child { color: var(--body-text-color-subdued); white-space: nowrap; width: 7em; }
.pe-card h4 { margin: .6rem 0 .2rem; font-weight: 600; }
#edit-add, #edit-strip-draw { align-self: end; height: 42px; }
footer { display: none !important; }
@media (max-width: 640px) {
  .gradio-container { padding: .5rem !important; }
  .pe-head h1 { font-size: 1.15rem; }
  #edit-view { height: 400px !important; }
}
"""


def theme() -> gr.themes.Base:
    """Gradio's plain theme with the fonts that a machine has."""
    return gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", radius_size="md", font=_SANS, font_mono=_MONO
    )
