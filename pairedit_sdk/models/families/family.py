"""What tells one family of models from another: facts, and a few functions of tensors.

Everything else (loading, placement, caches, schedules, quantisation) is shared, in
:mod:`pairedit_sdk.models.pipeline_model`. Nothing outside this package names a family.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from pairedit_sdk.flow.schedule import schedule_shift
from pairedit_sdk.models.precision import diffusers_class
from pairedit_sdk.models.protocol import Condition

if TYPE_CHECKING:
    from pathlib import Path

    from pairedit_sdk.models.text_encoders import LoadedText


@dataclass(frozen=True)
class Configs:
    """The configurations of a pipeline's parts, as diffusers reads them.

    Attributes:
        index: of ``model_index.json``.
        transformer: attributes of the transformer's configuration.
        vae: of the autoencoder's.
        scheduler: of the scheduler's.
    """

    index: Mapping[str, Any]
    transformer: Any
    vae: Any
    scheduler: Any


class Family(ABC):
    """One model's facts; a subclass is a family.

    Args:
        configs: of the model's parts.

    Attributes of a class:
        transformer_class: in ``diffusers``.
        vae_class: in ``diffusers``.
        encoders: text encoders by their folder, and their classes in ``transformers``.
        tokenizers: folders of tokenizers, or of processors.
        targets: patterns of the full names of the Linear layers in each set of LoRA targets.
        blocks: what the names of the layers begin with that a quantised model holds in fewer bits.
        depth: the transformer's setting that counts its blocks, and the fewest that a published
            model has.
        takes_references: whether it sees pictures beside the noisy one.
        renormalises: whether classifier-free guidance keeps the norm of the conditional velocity,
            token by token.
        fp16_fails: why float16 does not work, or nothing.
        fp16_clips: what float16 does to the pictures, or nothing.
        recipe: that suits it where none is asked for.
        small_recipe: the same for a model smaller than any published one, if it differs.
        siblings: sets of architectures whose edits work on each other, such as a model and what
            was distilled from it.
    """

    transformer_class: ClassVar[str]
    vae_class: ClassVar[str] = "AutoencoderKL"
    encoders: ClassVar[Mapping[str, str]]
    tokenizers: ClassVar[Sequence[str]] = ("tokenizer",)
    targets: ClassVar[Mapping[str, tuple[re.Pattern[str], ...]]]
    blocks: ClassVar[tuple[str, ...]] = ("transformer_blocks.", "single_transformer_blocks.")
    depth: ClassVar[tuple[str, int]] = ("num_layers", 1)
    takes_references: ClassVar[bool] = False
    renormalises: ClassVar[bool] = False
    fp16_fails: ClassVar[str] = ""
    fp16_clips: ClassVar[str] = ""
    recipe: ClassVar[str]
    small_recipe: ClassVar[str] = ""
    siblings: ClassVar[tuple[frozenset[str], ...]] = ()

    def __init__(self, configs: Configs) -> None:
        self.configs = configs

    @classmethod
    def parts(cls) -> tuple[str, ...]:
        """The folders that a whole pipeline has."""
        return ("transformer", "vae", "scheduler", *cls.tokenizers, *cls.encoders)

    @classmethod
    def recipe_for(cls, transformer: Mapping[str, Any]) -> str:
        """The recipe that suits a model where none is asked for.

        Args:
            transformer: its transformer's settings, as far as they are known.
        """
        name, fewest = cls.depth
        small = int(transformer.get(name, fewest)) < fewest
        return (cls.small_recipe or cls.recipe) if small else cls.recipe

    @property
    def is_small(self) -> bool:
        """Whether it has fewer blocks than any published model of the family."""
        name, fewest = self.depth
        return int(getattr(self.configs.transformer, name)) < fewest

    @property
    @abstractmethod
    def architecture(self) -> str:
        """The model's kind, as in the modelspec standard."""

    @property
    def idle(self) -> re.Pattern[str] | None:
        """Layers of the targets whose output is not used, so that a LoRA there learns nothing."""
        return None

    @property
    def is_distilled(self) -> bool:
        """Whether it was taught to need few steps and no second pass."""
        return False

    @property
    def takes_guidance(self) -> bool:
        """Whether a distilled guidance is an input of the transformer."""
        return bool(getattr(self.configs.transformer, "guidance_embeds", False))

    @property
    def default_guidance(self) -> float:
        """Distilled guidance, where the model takes any; otherwise 0."""
        return 0.0

    @property
    def factor(self) -> int:
        """Pixels of a latent's side."""
        return int(2 ** (len(self.configs.vae.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """Pixels of a token's side; pictures' sides are multiples of it."""
        return 2 * self.factor

    @property
    def channels(self) -> int:
        """Of latents."""
        return int(self.configs.vae.latent_channels)

    def encoded(self, vae: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w] of images [B, 3, H, W] in −1 … 1: the posterior's mode, shifted and
        scaled."""
        config = self.configs.vae
        z = vae.encode(images).latent_dist.mode()  # type: ignore[operator]
        latents: torch.Tensor = (z - config.shift_factor) * config.scaling_factor
        return latents

    def decoded(self, vae: nn.Module, latents: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, H, W] of latents, not clamped."""
        config = self.configs.vae
        z = latents / config.scaling_factor + config.shift_factor
        images: torch.Tensor = vae.decode(z).sample  # type: ignore[operator]
        return images

    def shift(self, tokens: int, steps: int) -> float | None:
        """μ of a schedule that depends on the number of tokens, or nothing."""
        config = self.configs.scheduler
        if not config.use_dynamic_shifting:
            return None
        return schedule_shift(
            tokens,
            config.base_image_seq_len,
            config.max_image_seq_len,
            config.base_shift,
            config.max_shift,
        )

    @abstractmethod
    def text_length(self, folder: Path) -> int:
        """How many token embeddings an empty prompt has.

        Args:
            folder: the pipeline's.
        """

    def text_version(self) -> str:
        """What decides a prompt's embeddings beside the encoders' and the tokenizers' files: the
        pipeline class, whose template may differ where those are the same."""
        return str(self.configs.index["_class_name"])

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of a condition's tensors without the number of rows; tokens are −1."""
        return {"prompt_embeds": (-1, int(self.configs.transformer.joint_attention_dim))}

    @abstractmethod
    def embedded(self, text: LoadedText, prompt: str, length: int) -> Condition:
        """The embeddings of a prompt, on the device of the encoders.

        Args:
            text: the loaded text encoders.
            prompt: any text; longer ones are cut.
            length: see :meth:`text_length`.
        """

    def timesteps(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """σ of each row of x, [B], rounded where the pipelines round it, so that both agree in bf16
        too."""
        return ((sigma.float() * 1000).to(x.dtype) / 1000).reshape(-1).expand(len(x))

    def guidances(self, x: torch.Tensor, guidance: float) -> torch.Tensor | None:
        """The distilled guidance of each row of x, float32 [B], for a model that takes it."""
        if not self.takes_guidance:
            return None
        return torch.full((len(x),), guidance, device=x.device, dtype=torch.float32)

    def stock(self, text: LoadedText) -> Any:
        """diffusers' own pipeline with nothing but the text side in it, which knows the templates
        that a model was taught with."""
        kind = diffusers_class(self.configs.index["_class_name"])
        names = kind._get_signature_keys(kind)[0]
        loaded: dict[str, Any] = {**text.encoders, **text.tokenizers}
        return kind(**{name: loaded.get(name) for name in names})

    @abstractmethod
    def velocity(
        self,
        transformer: nn.Module,
        x: torch.Tensor,
        sigma: torch.Tensor,
        condition: Condition,
        guidance: float,
    ) -> torch.Tensor:
        """v [B, C, h, w] = ε − x_0 at x [B, C, h, w].

        Args:
            transformer: on the device of x.
            x: states, in the model's dtype.
            sigma: float32, a scalar or [B].
            condition: what is said and seen.
            guidance: distilled, for a model that takes it.
        """
