"""The distilled guidance that suits edits, where none is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import EditStack
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.models.protocol import FlowModel

#: With which FLUX.1-Kontext is usually sampled, and the built-in edit model follows instructions.
GUIDANCE = 2.5


def own_guidance(stack: EditStack, model: FlowModel | None = None) -> float:
    """The distilled guidance of a sum's parts. That of an instruction, which was not trained,
    counts only where nothing was.

    Args:
        stack: the edits.
        model: that they are used on. One that takes no guidance has 0. What an edit says counts
            only on models of the family that it was learned on, as it means something else to
            others: there the model's default takes its place.

    Raises:
        UsageError: it differs between parts that have an effect.
    """
    if model is not None and not model.takes_guidance:
        return 0.0
    acting = [edit for edit, scale in stack.parts if scale != 0] or [stack.parts[0][0]]
    active = [edit.info for edit in [e for e in acting if e.layers] or acting]
    found = [(info.name, _on(info, model)) for info in active]
    if len({guidance for _, guidance in found}) > 1:
        raise UsageError(
            "The edits were trained with different guidance",
            got=", ".join(f"{name} {guidance:g}" for name, guidance in found),
            next_step="Say which to use (guidance=…, or --guidance)",
        )
    return found[0][1]


def instruction_guidance(model: FlowModel) -> float:
    """The distilled guidance with which a model follows an instruction: what Kontext is usually
    sampled with, the default of a model to which guidance means something else, or 0 for one that
    takes none."""
    if not model.takes_guidance:
        return 0.0
    from pairedit_sdk.models.families import guidance_differs  # takes torch along

    return model.default_guidance if guidance_differs("", model.architecture) else GUIDANCE


def _on(info: EditInfo, model: FlowModel | None) -> float:
    """The guidance that an edit says, or that of the model, if the edit's means something else."""
    if model is None or info.base_fingerprint == model.fingerprint:
        return info.guidance
    from pairedit_sdk.models.families import guidance_differs  # takes torch along

    differs = guidance_differs(info.architecture, model.architecture)
    return model.default_guidance if differs else info.guidance
