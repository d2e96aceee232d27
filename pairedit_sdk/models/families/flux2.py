"""FLUX.2: klein, base and distilled, and dev. All of them take references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from pairedit_sdk.models.families.family import Family
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.models.tokens import position_ids

if TYPE_CHECKING:
    from pairedit_sdk.models.text_encoders import LoadedText

#: The step in position ids from one reference to the next, and the tokens of any text.
REFERENCE, TEXT_TOKENS = 10, 512

_ATTENTION = re.compile(
    r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|single_transformer_blocks\.\d+\.attn\.(to_qkv_mlp_proj|to_out)"
)
_MLP = re.compile(r"transformer_blocks\.\d+\.(ff|ff_context)\.linear_(in|out)")
_OUTSIDE = re.compile(r"(double_stream_modulation_(img|txt)|single_stream_modulation)\.linear")


class Flux2(Family):
    """What klein and dev share. A layer of the single blocks is attention and MLP in one."""

    transformer_class = "Flux2Transformer2DModel"
    vae_class = "AutoencoderKLFlux2"
    targets: ClassVar[dict[str, tuple[re.Pattern[str], ...]]] = {
        "attention": (_ATTENTION,),
        "all": (_ATTENTION, _MLP),
        "blocks": (_ATTENTION, _MLP, _OUTSIDE),
    }
    takes_references = True

    @property
    def factor(self) -> int:
        # A latent is a patch of 2 × 2 of the autoencoder's own.
        return 2 * super().factor

    @property
    def multiple(self) -> int:
        return self.factor  # one token each

    @property
    def channels(self) -> int:
        return 4 * super().channels

    def encoded(self, vae: nn.Module, images: torch.Tensor) -> torch.Tensor:
        z = F.pixel_unshuffle(vae.encode(images).latent_dist.mode(), 2)  # type: ignore[operator]
        mean, deviation = self._statistics(vae)
        return (z - mean) / deviation

    def decoded(self, vae: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        mean, deviation = self._statistics(vae)
        z = F.pixel_shuffle(latents * deviation + mean, 2)
        return vae.decode(z).sample  # type: ignore[operator, no-any-return]

    def _statistics(self, vae: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        norm: Any = vae.bn
        deviation = (norm.running_var + self.configs.vae.batch_norm_eps).sqrt()
        return norm.running_mean.view(1, -1, 1, 1), deviation.view(1, -1, 1, 1)

    def shift(self, tokens: int, steps: int) -> float:
        from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

        return float(compute_empirical_mu(tokens, steps))

    def text_length(self, folder: Path) -> int:
        return TEXT_TOKENS

    def embedded(self, text: LoadedText, prompt: str, length: int) -> Condition:
        encode = self.stock(text).encode_prompt
        return Condition(encode(prompt, text.device, max_sequence_length=length)[0])

    def velocity(
        self,
        transformer: nn.Module,
        x: torch.Tensor,
        sigma: torch.Tensor,
        condition: Condition,
        guidance: float,
    ) -> torch.Tensor:
        rows, _, height, width = x.shape
        pictures = [x, *(picture.to(x.device, x.dtype) for picture in condition.references)]
        tokens = [picture.flatten(2).mT.expand(rows, -1, -1) for picture in pictures]
        places = [
            position_ids(picture.shape[2], picture.shape[3], REFERENCE * number)
            for number, picture in enumerate(pictures)
        ]
        embeds = condition.prompt_embeds.expand(rows, -1, -1)
        text_places = torch.arange(embeds.shape[1], device=x.device)[:, None]
        v: torch.Tensor = transformer(
            hidden_states=torch.cat(tokens, dim=1),
            timestep=self.timesteps(x, sigma),
            guidance=self.guidances(x, guidance),
            encoder_hidden_states=embeds,
            # Of four numbers: (picture, row, column, token).
            txt_ids=F.pad(text_places, (3, 0)),
            img_ids=F.pad(torch.cat(places).to(x.device), (0, 1)),
            return_dict=False,
        )[0]
        return v[:, : height * width].mT.reshape(x.shape)


class Klein(Flux2):
    """FLUX.2-klein: guided by a second pass, or distilled so that none is needed."""

    encoders: ClassVar[dict[str, str]] = {"text_encoder": "Qwen3ForCausalLM"}
    depth = ("num_layers", 5)
    recipe = "klein-4b"
    siblings = tuple(
        frozenset({f"flux-2-klein-base-{size}", f"flux-2-klein-{size}"})
        for size in ("4b", "9b", "small")
    )
    sizes: ClassVar[dict[int, str]] = {7680: "4b", 12288: "9b"}  # by the width of the text

    @classmethod
    def recipe_for(cls, transformer: Mapping[str, Any]) -> str:
        is_9b = cls.sizes.get(int(transformer.get("joint_attention_dim", 0))) == "9b"
        return "klein-9b" if is_9b else super().recipe_for(transformer)

    @property
    def is_distilled(self) -> bool:
        return bool(self.configs.index.get("is_distilled"))

    @property
    def architecture(self) -> str:
        size = self.sizes.get(int(self.configs.transformer.joint_attention_dim), "small")
        return f"flux-2-klein-{size}" if self.is_distilled else f"flux-2-klein-base-{size}"


class Flux2Dev(Flux2):
    """FLUX.2-dev, with a distilled guidance."""

    encoders: ClassVar[dict[str, str]] = {"text_encoder": "Mistral3ForConditionalGeneration"}
    depth = ("num_layers", 8)
    recipe = "flux2-dev"

    architecture = "flux-2-dev"
    default_guidance = 4.0
