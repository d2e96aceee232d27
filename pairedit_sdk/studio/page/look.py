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
