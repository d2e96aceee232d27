"""Qwen-Image, and Qwen-Image-Edit, which takes references."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from pairedit_sdk.models.families.family import Family
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.models.tokens import pack, unpack

if TYPE_CHECKING:
    from pairedit_sdk.models.text_encoders import LoadedText

#: The empty prompt's tokens after the template's own have been dropped.
EMPTY_TOKENS = 5

_ATTENTION = re.compile(
    r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
)
_MLP = re.compile(r"transformer_blocks\.\d+\.(img|txt)_mlp\.net\.(0\.proj|2)")


class QwenImage(Family):
    """Qwen-Image: a text encoder that sees pictures, and an autoencoder made for videos."""

    transformer_class = "QwenImageTransformer2DModel"
    vae_class = "AutoencoderKLQwenImage"
    encoders: ClassVar[dict[str, str]] = {"text_encoder": "Qwen2_5_VLForConditionalGeneration"}
    # The norms' layers see each row twice in the editing models, so no set has them.
    targets: ClassVar[dict[str, tuple[re.Pattern[str], ...]]] = {
        "attention": (_ATTENTION,),
        "all": (_ATTENTION, _MLP),
        "blocks": (_ATTENTION, _MLP),
    }
    depth = ("num_layers", 60)
    renormalises = True
    fp16_clips = "large activations are clipped, which changes colours"
    recipe = "qwen-image"

    @property
    def architecture(self) -> str:
        return "qwen-image"

    @property
    def idle(self) -> re.Pattern[str]:
        # What the last block makes of the text is not used, and its queries make nothing else.
        last = int(self.configs.transformer.num_layers) - 1
        return re.compile(
            rf"transformer_blocks\.{last}\.(attn\.(add_q_proj|to_add_out)|txt_mlp\..*)"
        )

    @property
    def factor(self) -> int:
        return int(2 ** len(self.configs.vae.temperal_downsample))

    @property
    def channels(self) -> int:
        return int(self.configs.vae.z_dim)

    def encoded(self, vae: nn.Module, images: torch.Tensor) -> torch.Tensor:
        mean, deviation = self._statistics(images)
        frames = images.unsqueeze(2)
        z = vae.encode(frames).latent_dist.mode()[:, :, 0]  # type: ignore[operator]
        latents: torch.Tensor = (z - mean) / deviation
        return latents

    def decoded(self, vae: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        mean, deviation = self._statistics(latents)
        z = (latents * deviation + mean).unsqueeze(2)
        images: torch.Tensor = vae.decode(z).sample[:, :, 0]  # type: ignore[operator]
        return images

    def _statistics(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.configs.vae
        mean, deviation = (
            torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, deviation

    def text_length(self, folder: Path) -> int:
        return EMPTY_TOKENS

    def embedded(self, text: LoadedText, prompt: str, length: int) -> Condition:
        embeds, mask = self.stock(text).encode_prompt(prompt, device=text.device)
        return Condition(embeds, {} if mask is None else {"mask": mask.bool()})

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
        tokens = torch.cat([pack(picture).expand(rows, -1, -1) for picture in pictures], dim=1)
        shapes = [(1, picture.shape[2] // 2, picture.shape[3] // 2) for picture in pictures]
        mask = condition.extras.get("mask")
        v = transformer(
            hidden_states=tokens,
            timestep=self.timesteps(x, sigma),
            encoder_hidden_states=condition.prompt_embeds.expand(rows, -1, -1),
            encoder_hidden_states_mask=None if mask is None else mask.expand(rows, -1),
            img_shapes=[shapes] * rows,
            return_dict=False,
        )[0]
        return unpack(v[:, : height * width // 4], height, width)


class QwenImageEdit(QwenImage):
    """Qwen-Image-Edit. Pictures are references, further tokens behind those of the noisy one.

    In training and editing the prompt is the template's without pictures in it: what is said is the
    same for all pairs then, and the references carry the pictures. The pipeline also shows them to
    the text encoder.
    """

    tokenizers = ("tokenizer",)
    takes_references = True
    recipe = "qwen-image-edit"

    @property
    def architecture(self) -> str:
        return "qwen-image-edit"

    def stock(self, text: LoadedText) -> Any:
        pipeline = super().stock(text)
        pipeline.processor = _TextOnly(text.tokenizers["tokenizer"])
        return pipeline


class _TextOnly:
    """A tokenizer in the place of a processor of texts and pictures, which needs torchvision."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: list[str], images: None, **settings: Any) -> Any:
        return self.tokenizer(text, **settings)
