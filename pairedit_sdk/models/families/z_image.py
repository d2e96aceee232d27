"""Z-Image, base and Turbo: its transformer packs latents by itself and takes lists of rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from pairedit_sdk.models.families.family import Family
from pairedit_sdk.models.protocol import Condition

if TYPE_CHECKING:
    from pairedit_sdk.models.text_encoders import LoadedText

#: The schedule's shift of the base model; the distilled one's is 3.
BASE_SHIFT = 6.0
#: The empty prompt's tokens, all of them the chat template's.
EMPTY_TOKENS = 8

_ATTENTION = re.compile(r"layers\.\d+\.attention\.(to_[qkv]|to_out\.0)")
_MLP = re.compile(r"layers\.\d+\.feed_forward\.w[123]")
_NORM = re.compile(r"layers\.\d+\.adaLN_modulation\.0")


class ZImage(Family):
    """LoRAs are on ``layers`` alone; the refiners before them see only text, or only the picture.

    The model's time runs from noise to picture, and its output is −v.
    """

    transformer_class = "ZImageTransformer2DModel"
    encoders: ClassVar[dict[str, str]] = {"text_encoder": "Qwen3Model"}
    targets: ClassVar[dict[str, tuple[re.Pattern[str], ...]]] = {
        "attention": (_ATTENTION,),
        "all": (_ATTENTION, _MLP),
        "blocks": (_ATTENTION, _MLP, _NORM),
    }
    blocks = ("layers.", "noise_refiner.", "context_refiner.")
    depth = ("n_layers", 30)
    fp16_fails = "its activations overflow and the pictures are black"
    recipe = "z-image"
    siblings = (frozenset({"z-image", "z-image-turbo"}),)

    @property
    def is_distilled(self) -> bool:
        return float(self.configs.scheduler.shift) < BASE_SHIFT

    @property
    def architecture(self) -> str:
        return "z-image-turbo" if self.is_distilled else "z-image"

    def text_length(self, folder: Path) -> int:
        return EMPTY_TOKENS

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"prompt_embeds": (-1, int(self.configs.transformer.cap_feat_dim))}

    def embedded(self, text: LoadedText, prompt: str, length: int) -> Condition:
        (embeds,), _ = self.stock(text).encode_prompt(
            prompt, device=text.device, do_classifier_free_guidance=False
        )
        return Condition(embeds[None])

    def velocity(
        self,
        transformer: nn.Module,
        x: torch.Tensor,
        sigma: torch.Tensor,
        condition: Condition,
        guidance: float,
    ) -> torch.Tensor:
        embeds = condition.prompt_embeds.expand(len(x), -1, -1)
        mask = condition.extras.get("mask")
        said = list(embeds)
        if mask is not None:
            said = [row[keep] for row, keep in zip(embeds, mask.expand(len(x), -1), strict=True)]
        time = (1000 - sigma.float() * 1000) / 1000
        out = transformer(
            list(x.unsqueeze(2).unbind(0)), time.reshape(-1).expand(len(x)), said, return_dict=False
        )[0]
        return -torch.stack(list(out)).squeeze(2)
