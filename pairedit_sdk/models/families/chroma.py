"""Chroma: FLUX.1's transformer without its pooled prompt and guidance, and a mask of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from pairedit_sdk.models.families.family import Family
from pairedit_sdk.models.families.flux1 import Flux1, image_tokens
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.models.tokens import unpack

if TYPE_CHECKING:
    from pairedit_sdk.models.text_encoders import LoadedText

#: Arguments of a block of the single stream in a step with gradient checkpointing.
_WITHOUT_MASK = 3


class Chroma(Flux1):
    """Chroma1. The text's tokens, and the first of the padding, have 1 in the mask.

    As in diffusers it is added to the attention's logits, so what has 0 counts less, but counts.
    """

    transformer_class = "ChromaTransformer2DModel"
    encoders: ClassVar[dict[str, str]] = {"text_encoder": "T5EncoderModel"}
    tokenizers = ("tokenizer",)
    recipe = "chroma"
    small_recipe = ""

    @property
    def architecture(self) -> str:
        return "chroma"

    @property
    def takes_guidance(self) -> bool:
        return False

    def text_length(self, folder: Path) -> int:
        return 512

    def text_version(self) -> str:
        return Family.text_version(self)

    @property
    def is_distilled(self) -> bool:
        return False

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "prompt_embeds": (-1, int(self.configs.transformer.joint_attention_dim)),
            "mask": (-1,),
        }

    def embedded(self, text: LoadedText, prompt: str, length: int) -> Condition:
        embeds, _, mask, *_ = self.stock(text).encode_prompt(
            prompt,
            device=text.device,
            do_classifier_free_guidance=False,
            max_sequence_length=length,
        )
        return Condition(embeds, {"mask": mask.bool()})

    def velocity(
        self,
        transformer: nn.Module,
        x: torch.Tensor,
        sigma: torch.Tensor,
        condition: Condition,
        guidance: float,
    ) -> torch.Tensor:
        rows, _, height, width = x.shape
        tokens, ids = image_tokens(x, condition)
        embeds = condition.prompt_embeds.expand(rows, -1, -1)
        said = condition.extras["mask"].expand(rows, -1).to(x.dtype)
        mask = F.pad(said, (0, tokens.shape[1]), value=1.0)
        with _masked_checkpoints(transformer, mask):
            v = transformer(
                hidden_states=tokens,
                timestep=self.timesteps(x, sigma),
                encoder_hidden_states=embeds,
                txt_ids=torch.zeros(embeds.shape[1], 3, device=x.device, dtype=x.dtype),
                img_ids=ids.to(x.device, x.dtype),
                attention_mask=mask,
                return_dict=False,
            )[0]
        return unpack(v[:, : height * width // 4], height, width)


@contextmanager
def _masked_checkpoints(transformer: nn.Module, mask: torch.Tensor) -> Iterator[None]:
    """Give the mask to the blocks of the single stream too, where gradients are checkpointed.

    diffusers leaves it out there, so that a step would train another model than the one that is
    used.
    """
    checkpoint: Callable[..., Any] | None = getattr(
        transformer, "_gradient_checkpointing_func", None
    )
    if checkpoint is None:
        yield
        return

    def masked(block: nn.Module, *given: Any) -> Any:
        more = (mask,) if len(given) == _WITHOUT_MASK else ()
        return checkpoint(block, *given, *more)

    transformer._gradient_checkpointing_func = masked  # type: ignore[assignment]
    try:
        yield
    finally:
        transformer._gradient_checkpointing_func = checkpoint  # type: ignore[assignment]
