"""FLUX.1: dev, schnell, Kontext, and the built-in models, which are small ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from pairedit_sdk.models.families.family import Family
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.models.tokens import pack, position_ids, unpack

if TYPE_CHECKING:
    from pairedit_sdk.models.text_encoders import LoadedText

_ATTENTION = re.compile(
    r"(single_)?transformer_blocks\.\d+\.attn\."
    r"(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
)
_MLP = re.compile(
    r"transformer_blocks\.\d+\.(ff|ff_context)\.net\.(0\.proj|2)"
    r"|single_transformer_blocks\.\d+\.(proj_mlp|proj_out)"
)
_NORM = re.compile(r"(single_)?transformer_blocks\.\d+\.norm\d?(_context)?\.linear")


class Flux1(Family):
    """FLUX.1-dev and -schnell: CLIP's pooled prompt, T5's tokens, and a distilled guidance."""

    transformer_class = "FluxTransformer2DModel"
    encoders: ClassVar[dict[str, str]] = {
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "T5EncoderModel",
    }
    tokenizers: ClassVar[tuple[str, ...]] = ("tokenizer", "tokenizer_2")
    targets: ClassVar[dict[str, tuple[re.Pattern[str], ...]]] = {
        "attention": (_ATTENTION,),
        "all": (_ATTENTION, _MLP),
        "blocks": (_ATTENTION, _MLP, _NORM),
    }
    depth = ("num_layers", 19)
    recipe = "flux-dev"
    small_recipe = "mini"

    @property
    def architecture(self) -> str:
        if self.is_small:
            return "flux-1-mini"
        return "flux-1-dev" if self.takes_guidance else "flux-1-schnell"

    @property
    def default_guidance(self) -> float:
        return 3.5 if self.takes_guidance else 0.0

    @property
    def is_distilled(self) -> bool:
        return not self.takes_guidance  # schnell

    def text_length(self, folder: Path) -> int:
        path = folder / "tokenizer_2" / "tokenizer_config.json"
        longest = json.loads(path.read_text(encoding="utf-8")).get("model_max_length")
        most = self._most_tokens()
        return min(most, int(longest or most))

    def text_version(self) -> str:
        return str(self._most_tokens())

    def _most_tokens(self) -> int:
        # FLUX.1-schnell was taught with shorter texts.
        return 512 if self.takes_guidance else 256

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            **super().text_shapes(),
            "pooled": (int(self.configs.transformer.pooled_projection_dim),),
        }

    def embedded(self, text: LoadedText, prompt: str, length: int) -> Condition:
        clip, t5 = (text.encoders[part] for part in self.encoders)
        clip_tokenizer, t5_tokenizer = (text.tokenizers[part] for part in self.tokenizers)
        ids = _ids(clip_tokenizer, prompt, clip_tokenizer.model_max_length).to(text.device)
        pooled = clip(ids, output_hidden_states=False).pooler_output
        ids = _ids(t5_tokenizer, prompt, min(length, t5_tokenizer.model_max_length)).to(text.device)
        return Condition(t5(ids, output_hidden_states=False)[0], {"pooled": pooled})

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
        v = transformer(
            hidden_states=tokens,
            timestep=self.timesteps(x, sigma),
            guidance=self.guidances(x, guidance),
            pooled_projections=condition.extras["pooled"].expand(rows, -1),
            encoder_hidden_states=embeds,
            txt_ids=torch.zeros(embeds.shape[1], 3, device=x.device, dtype=x.dtype),
            img_ids=ids.to(x.device, x.dtype),
            return_dict=False,
        )[0]
        return unpack(v[:, : height * width // 4], height, width)


class Flux1Kontext(Flux1):
    """FLUX.1-Kontext, which looks at other pictures.

    Condition images become further tokens behind those of the noisy picture, the k-th with k in
    the place of 0 as the first of its position ids; the velocity is that of the noisy ones alone.
    With one condition image this is what ``FluxKontextPipeline`` does. The pipeline first resizes
    its input to one of its preferred sizes of about a megapixel; here pictures are taken at the
    size that they are given in.
    """

    takes_references = True
    recipe = "kontext-dev"
    small_recipe = "mini-kontext"

    @property
    def architecture(self) -> str:
        return "flux-1-mini-kontext" if self.is_small else "flux-1-kontext"


def image_tokens(x: torch.Tensor, condition: Condition) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [B, T, 4C] of states x and of references, x's own first, and their ids [T, 3]."""
    tokens, ids = [], []
    for number, latents in enumerate((x, *condition.references)):
        packed = pack(latents.to(x.device, x.dtype))
        tokens.append(packed.expand(len(x), -1, -1))
        ids.append(position_ids(latents.shape[2] // 2, latents.shape[3] // 2, number))
    return torch.cat(tokens, dim=1), torch.cat(ids)


def _ids(tokenizer: Any, prompt: str, length: int) -> torch.Tensor:
    encoded = tokenizer(
        [prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = encoded.input_ids
    return ids
