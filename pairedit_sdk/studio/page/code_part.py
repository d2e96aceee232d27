"""What was done, to be copied as a command or as Python."""

from __future__ import annotations

import gradio as gr


def build(prefix: str) -> tuple[gr.Code, gr.Code]:
    """Lay the part out.

    Args:
        prefix: of the fields' ids.

    Returns:
        The command, and the Python.
    """
    with gr.Accordion("Copy as command or Python", open=False):
        command = gr.Code(
            label="Command",
            language="shell",
            lines=1,
            wrap_lines=True,
            interactive=False,
            show_line_numbers=False,
            elem_id=f"{prefix}-command",
        )
        python = gr.Code(
            label="Python",
            language="python",
            lines=3,
            wrap_lines=True,
            interactive=False,
            show_line_numbers=False,
            elem_id=f"{prefix}-python",
        )
    return command, python
