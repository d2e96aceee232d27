"""FLUX.1-Kontext, and the built-in model's small one: a FLUX that looks at other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pairedit_sdk.models import folders
from pairedit_sdk.models.families.flux import FluxModel
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.models.tokens import pack, position_ids


def model_class(folder: Path) -> type[FluxModel]:
    """The class for a folder that :func:`~pairedit_sdk.models.folders.check` has passed."""
    return KontextModel if folders.pipeline_class(folder) == folders.KONTEXT else FluxModel


class KontextModel(FluxModel):
    """A frozen FLUX.1-Kontext pipeline behind the same protocol as :class:`FluxModel`.

    Condition images become further tokens behind those of the noisy picture, the k-th with k in
    the place of 0 as the first of its position ids; the velocity is that of the noisy ones alone.
    With one condition image this is what ``FluxKontextPipeline`` does. The pipeline first resizes
    its input to one of its preferred sizes of about a megapixel; this class takes pictures at the
    size that they are given in.
    """

    takes_references = True

    @staticmethod
    def _architecture(kind: str) -> str:
        return "flux-1-mini-kontext" if kind == "mini" else "flux-1-kontext"

    def looking_at(self, prompt: str, references: Sequence[torch.Tensor]) -> Condition:
        """The prompt's embeddings together with condition images.

        Args:
            prompt: an instruction, or nothing.
            references: latents, as :meth:`encode` gives them, each [1 or B, C, h, w].
        """
        return replace(self.condition(prompt), references=tuple(references))

    def _image_tokens(
        self, x: torch.Tensor, condition: Condition
    ) -> tuple[torch.Tensor, torch.Tensor]:
        tokens, ids = [], []
        for number, latents in enumerate((x, *condition.references)):
            packed = pack(latents.to(x.device, x.dtype))
            tokens.append(packed.expand(len(x), -1, -1))
            ids.append(position_ids(latents.shape[2] // 2, latents.shape[3] // 2, number))
        return torch.cat(tokens, dim=1), torch.cat(ids)
