"""The tab on which a picture is edited: sliders, before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

if TYPE_CHECKING:
    from pairedit_sdk.studio.page.shared import Shared


@dataclass(frozen=True)
class EditTab:
    """What other parts of the page need of it.

    Attributes:
        seed: the field of the noise's seed.
        restore: shows what the states say.
        restoring: the inputs and outputs of ``restore``.
    """

    seed: gr.Number
    restore: Callable[..., Any]
    restoring: dict[str, Any]


def build(shared: Shared) -> EditTab:
    """Lay the tab out."""
    seed = gr.Number(0, precision=0, label="Seed")
    return EditTab(seed, lambda key: key, {"inputs": shared.picture, "outputs": shared.picture})
