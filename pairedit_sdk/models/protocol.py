"""What training and editing need to know of a model, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    import threading


@dataclass(frozen=True)
class Condition:
    """A prompt as the model takes it, and the pictures it refers to.

    Attributes:
        prompt_embeds: token embeddings [1 or B, T, D]: of all rows, or of each its own.
        extras: what else the family's text encoders give, by name, each [1 or B, …]: "pooled"
            [1 or B, P], and "mask", boolean [1 or B, T], where only some of the tokens count.
        references: latents of condition images, each [1 or B, C, h, w], of any sizes; only a model
            that takes them may be given any.
    """

    prompt_embeds: torch.Tensor
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)
    references: tuple[torch.Tensor, ...] = ()

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Condition:
        """The same elsewhere. Whole numbers and masks keep their dtype."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        return Condition(
            moved(self.prompt_embeds),
            {name: moved(tensor) for name, tensor in self.extras.items()},
            tuple(moved(picture) for picture in self.references),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The prompt's tensors by name, for a file; see :meth:`from_tensors`."""
        return {"prompt_embeds": self.prompt_embeds, **self.extras}

    @staticmethod
    def from_tensors(tensors: Mapping[str, torch.Tensor]) -> Condition:
        """What :meth:`tensors` gave."""
        extras = {name: tensor for name, tensor in tensors.items() if name != "prompt_embeds"}
        return Condition(tensors["prompt_embeds"], extras)


def stacked(conditions: Sequence[Condition], rows: Sequence[int] | None = None) -> Condition:
    """The prompts of several conditions as those of one batch, without their references.

    Shorter ones are padded with zeros, and a mask says so; a model whose prompts all have one
    length is given none.

    Args:
        conditions: of one model, on one device.
        rows: how often each of them stands; without it once.
    """
    counts = rows or [1] * len(conditions)
    longest = max(one.prompt_embeds.shape[1] for one in conditions)
    ragged = any(one.prompt_embeds.shape[1] != longest for one in conditions)
    whole = [_padded(one, longest) if ragged else one for one in conditions]

    def joined(name: str) -> torch.Tensor:
        parts = [one.tensors()[name] for one in whole]
        return torch.cat(
            [part.expand(count, *part.shape[1:]) for part, count in zip(parts, counts, strict=True)]
        )

    return Condition.from_tensors({name: joined(name) for name in whole[0].tensors()})


def told(
    condition: Condition, tokens: torch.Tensor | None = None, pooled: torch.Tensor | None = None
) -> Condition:
    """A prompt with further tokens after its own, and with its pooled embedding changed.

    Args:
        condition: of one row or of as many as there are tokens for.
        tokens: [1 or B, k, D].
        pooled: to be added, [1 or B, P]; without effect where a prompt has no pooled embedding.
    """
    extras, embeds = dict(condition.extras), condition.prompt_embeds
    if tokens is not None:
        count = max(len(embeds), len(tokens))
        parts = [part.expand(count, -1, -1) for part in (embeds, tokens.to(embeds))]
        embeds = torch.cat(parts, dim=1)
        if "mask" in extras:
            mask = extras["mask"].expand(count, -1)
            extras["mask"] = torch.cat([mask, mask.new_ones(count, tokens.shape[1])], dim=1)
    if pooled is not None and "pooled" in extras:
        extras["pooled"] = extras["pooled"] + pooled.to(extras["pooled"])
    return replace(condition, prompt_embeds=embeds, extras=extras)


def _padded(condition: Condition, length: int) -> Condition:
    embeds = condition.prompt_embeds
    mask = condition.extras.get("mask")
    if mask is None:
        mask = torch.ones(embeds.shape[:2], dtype=torch.bool, device=embeds.device)
    missing = length - embeds.shape[1]
    extras = {**condition.extras, "mask": F.pad(mask, (0, missing))}
    return Condition(F.pad(embeds, (0, 0, 0, missing)), extras)


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
    #: Whether a distilled guidance is an input of the model; one that has none ignores it.
    takes_guidance: bool
    #: Distilled guidance where none is asked for; 0 where the model takes none.
    default_guidance: float
    #: Whether the model was distilled to draw in a few steps without classifier-free guidance.
    is_distilled: bool
    #: Whether classifier-free guidance keeps the norm of the conditional velocity, token by token.
    renormalises: bool
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
