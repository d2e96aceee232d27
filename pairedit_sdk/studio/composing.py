"""Several edits of the library, saved as one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pairedit_sdk.edits.edit import Edit

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.studio.engine import Engine
    from pairedit_sdk.studio.requests import ComposeRequest


def compose(engine: Engine, request: ComposeRequest) -> EditInfo:
    """Save the sum of edits, as ``pairedit compose`` does.

    Raises:
        UsageError: a name is taken or unknown.
        EditError: the edits do not go together.
    """
    from pairedit_sdk.lora.compression import compressed

    engine.library.target(request.name, replace=request.replace)
    stack = engine.sum_of(request.edits)
    edit = (stack if request.words else stack.without_words()).merged(request.name)
    if request.rank is not None:
        layers, _ = compressed(edit.layers, request.rank)
        held = max(layer.rank for layer in layers.values())
        edit = Edit(layers, replace(edit.info, rank=held))
    engine.library.save(edit, replace=request.replace)
    return edit.info
