"""A model together with what all of its velocities share: a condition and a guidance.

Two kinds of guidance have nothing to do with each other. The distilled one is an input of the
network, and costs nothing. Classifier-free guidance runs the model twice, with the condition's
prompt and with a negative one; see :mod:`pairedit_sdk.flow.guidance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pairedit_sdk.flow.guidance import classifier_free, with_token_norms
from pairedit_sdk.lora.adapters import set_scales
from pairedit_sdk.lora.holding import holding

if TYPE_CHECKING:
    import threading

    import torch

    from pairedit_sdk.lora.linear import Scale
    from pairedit_sdk.models.protocol import Condition, FlowModel


@dataclass(frozen=True)
class ConditionedModel:
    """A model with its condition and guidance; what is left to give is a state and a noise level.

    Attributes:
        base: the model, with or without LoRAs attached.
        condition: prompt and references, shared by all rows.
        guidance: distilled guidance, shared by all rows.
        negative: prompt of the second pass of classifier-free guidance; it sees the condition's
            references.
        cfg: scale of classifier-free guidance; at 1 there is one pass, and no guidance.

    Raises:
        ValueError: classifier-free guidance without a negative prompt.
    """

    base: FlowModel
    condition: Condition
    guidance: float
    negative: Condition | None = None
    cfg: float = 1.0

    def __post_init__(self) -> None:
        if self.cfg != 1 and self.negative is None:
            raise ValueError("Classifier-free guidance needs a negative prompt")

    @property
    def lock(self) -> threading.RLock:
        """The model's."""
        return self.base.lock

    @holding
    def velocity(
        self,
        states: torch.Tensor,
        sigma: torch.Tensor,
        row_scales: Mapping[str, Scale] | None = None,
        reference: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """v(x, σ) with each attached LoRA at a scale of its own in every row.

        Rows with different scales share one forward pass: the edited and the plain model, or the
        content and the semantic branch of a training.

        Args:
            states: x [B, C, h, w].
            sigma: σ, a scalar or [B].
            row_scales: by a LoRA's name one number for all rows, or a tensor [B]. A LoRA that is
                not named keeps the scale of the pass before, and 1 if there was none.
            reference: latents of a picture that each row sees beside its state, [B, C, h, w], in
                the place of the condition's own references. Only for a model that takes them.

        Returns:
            v [B, C, h, w], in the model's dtype; for every scale 0 that of the bare model.
        """
        if row_scales is not None:
            set_scales(self.base.transformer, row_scales)
        condition = self.condition
        if reference is not None:
            condition = replace(condition, references=(reference,))
        v = self.base.velocity(states, sigma, condition, self.guidance)
        if self.cfg == 1 or self.negative is None:
            return v
        negative = replace(self.negative, references=condition.references)
        without = self.base.velocity(states, sigma, negative, self.guidance)
        guided = classifier_free(v, without, self.cfg)
        if self.base.renormalises:
            patch = self.base.latent_shape(self.base.multiple, self.base.multiple)[1]
            guided = with_token_norms(guided, v.float(), patch)
        return guided.to(v.dtype)
