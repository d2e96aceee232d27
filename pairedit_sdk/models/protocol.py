"""What training and editing need to know of a model, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    import threading


@dataclass(frozen=True)
class Condition:
    """A prompt as the model takes it, and the pictures it refers to.

    Attributes:
        prompt_embeds: token embeddings [1 or B, T, D]: of all rows, or of each its own.
        pooled: the pooled embedding [1 or B, P].
        references: latents of condition images, each [1 or B, C, h, w], of any sizes; only a model
            that takes them may be given any.
    """

    prompt_embeds: torch.Tensor
    pooled: torch.Tensor
    references: tuple[torch.Tensor, ...] = ()


class FlowModel(Protocol):
    """A frozen rectified-flow model with its autoencoder and text encoders.

    Latents are [B, C, h, w], already shifted and scaled: (z − shift) · scale. Images are float32
    [B, 3, H, W] in −1 … 1. Velocities follow v = ε − x_0 at x_σ = (1 − σ) x_0 + σ ε.
    """

    name: str
    architecture: str
    resolution: int
    multiple: int
    device: torch.device
    dtype: torch.dtype
    precision: str
    default_guidance: float
    #: Whether the model sees condition images beside the noisy picture, as edit models do.
    takes_references: bool

    @property
    def transformer(self) -> nn.Module:
        """The network that LoRAs are attached to; its weights are never changed."""

    @property
    def lock(self) -> threading.RLock:
        """:func:`pairedit_sdk.lora.holding.lock_of` the transformer, without moving that. Every
        method that computes, moves or changes something holds it; so may whoever wants several of
        them in a row, without another thread's in between."""

    @property
    def fingerprint(self) -> str:
        """A short hash that tells this transformer and autoencoder from any other."""

    @property
    def text_fingerprint(self) -> str:
        """The same for the text encoders, and how prompts are given to them."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Latents of images, the posterior's mode, in ``dtype``."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Images of latents, clamped to −1 … 1, float32."""

    def keep_autoencoder(self, on: bool) -> None:
        """Whether the autoencoder stays on the device beside the transformer."""

    def condition(self, prompt: str) -> Condition:
        """The prompt's embeddings, cached; computing a new one needs the text encoders."""

    def knows(self, prompt: str) -> bool:
        """Whether the prompt's embeddings are in memory."""

    def remember(self, prompt: str, condition: Condition) -> None:
        """Take a prompt's embeddings from a cache."""

    def forget(self, prompt: str) -> None:
        """Drop a prompt's embeddings from memory."""

    def release_text_encoders(self) -> None:
        """Free the text encoders; prompts seen before stay available."""

    def sigmas(self, steps: int, height: int, width: int) -> torch.Tensor:
        """Noise levels float32 [steps + 1], 1 → 0, for an image of this size in pixels."""

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latents of an image of this size in pixels."""

    def image_size(self, latents: torch.Tensor) -> tuple[int, int]:
        """(height, width) in pixels of the image behind latents [B, C, h, w]."""

    def velocity(
        self, x: torch.Tensor, sigma: torch.Tensor, condition: Condition, guidance: float
    ) -> torch.Tensor:
        """v(x, σ): x [B, C, h, w], σ scalar or [B]; of the condition's parts those with one row
        are shared by all rows."""

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether activations are computed again in the backward pass instead of being kept."""

    def lora_targets(self, which: str) -> list[str]:
        """Names of the Linear layers in a set ("attention", "all", …), in the model's order."""
