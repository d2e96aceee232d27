"""Guidance that is asked for: what a model can be given, and what classifier-free guidance needs.

A distilled guidance is an input that some models have, and means something else to each family. It
is not the scale of classifier-free guidance (``cfg``), which any model can be used with.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, SupportsFloat

from pairedit_sdk.edits.edit_words import acting
from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.models.protocol import FlowModel

_log = logging.getLogger("pairedit_sdk")
_noted: set[str] = set()


def cfg_scale(value: object) -> float:
    """A scale of classifier-free guidance.

    Raises:
        UsageError: it is no number of at least 1.
    """
    scale = float(value) if isinstance(value, SupportsFloat) else math.nan
    if not 1 <= scale < math.inf:
        raise UsageError(
            f"cfg is {value!r}", expected="a number of at least 1, which is no guidance"
        )
    return scale


def check_guidance(model: FlowModel, guidance: float | None, cfg: float) -> None:
    """Refuse a distilled guidance that is asked for, where the model takes none; 0 is none. Log,
    once for a model, that classifier-free guidance is not meant for it.

    Raises:
        UsageError: naming the model.
    """
    if guidance and not model.takes_guidance:
        raise UsageError(
            f"Model {model.name} takes no distilled guidance",
            got=f"guidance {guidance:g}",
            next_step="Leave it out (--guidance)"
            if model.is_distilled
            else "Leave it out, or use classifier-free guidance (cfg=…, --cfg), which takes a "
            "second pass in every step",
        )
    if cfg != 1 and model.is_distilled and model.name not in _noted:
        _noted.add(model.name)
        _log.warning(
            "Model %s was distilled to do without classifier-free guidance, and cfg %g is not "
            "meant for it. Leave it out, or use the model that it was distilled from.",
            model.name,
            cfg,
        )


def check_cfg(stack: EditStack, options: EditOptions) -> None:
    """Refuse classifier-free guidance where no instruction acts: the prompt is the empty one then,
    and so is the negative one.

    Raises:
        UsageError: saying so.
    """
    if options.cfg == 1:
        return
    empty = "the empty prompt, which is also the negative one"
    if options.method != "flowedit":
        raise UsageError(
            f"cfg {options.cfg:g} would change nothing: the method {options.method} uses no "
            f"instructions, but {empty}",
            expected="the method flowedit, with an instruction, or with an edit that carries one",
            next_step="Leave cfg out (--cfg), or the method (--method)",
        )
    if options.words and any(acting(edit.info) for edit, _ in stack.parts):
        return
    raise UsageError(
        f"cfg {options.cfg:g} would change nothing: these edits act without words, with {empty}",
        expected="an instruction, or an edit that carries one",
        next_step="Leave cfg out (--cfg), and change the edit's scale",
    )


def check_edit_guidance(model: FlowModel, stack: EditStack, options: EditOptions) -> None:
    """Refuse guidance that the model or the edits cannot use.

    Raises:
        UsageError: see :func:`check_guidance` and :func:`check_cfg`.
    """
    check_cfg(stack, options)
    check_guidance(model, options.guidance, options.cfg)
