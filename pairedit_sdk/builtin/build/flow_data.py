"""What the flow model is trained on: noisy latents of drawn faces, and captions of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPTextModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.classifier import HIDDEN, labels_of
from pairedit_sdk.builtin.build.loop import on_device
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.builtin.faces.captions import caption_parts
from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.models.tokens import pack, position_ids

EMPTY_CAPTIONS = 0.15
LEAST_PHRASES = (1, 4)  # half of the captions say at least four things: more to learn from each
LONG_TEXT_EVERY = 40  # one step in so many pads its text up to FluxPipeline's default of 512
LONG_TEXTS = (64, 128, 256, 512)
GUIDANCE = (1.0, 5.0)


@dataclass(frozen=True)
class Words:
    """What is drawn of a step beside the noise: rows of B, as arrays.

    Attributes:
        chosen: numbers of the faces, int64 [B].
        told: which attributes the caption names, bool [B, attributes].
        ids: T5's tokens, int64 [B, T].
        clip_ids: CLIP's, int64 [B, ``parts.TEXT_LENGTH``].
    """

    chosen: NDArray[np.int64]
    told: NDArray[np.bool_]
    ids: NDArray[np.int64]
    clip_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """One step's rows: noisy latents x [B, 64, 64], σ [B], the velocity aimed at, the text.

    ``labels`` [B, attributes] are the indices of the values that can be seen, ``named`` those that
    the caption names; others are :data:`HIDDEN`.
    """

    x: torch.Tensor
    sigma: torch.Tensor
    target: torch.Tensor
    ids: torch.Tensor
    pooled: torch.Tensor
    guidance: torch.Tensor
    labels: torch.Tensor
    named: torch.Tensor


class FlowData:
    """Draws training batches from cached latents and the captions of their faces.

    Args:
        latents: normalised, [N, 16, H, W]; ``faces[i]`` is the record behind ``latents[i]``.
        text_encoder: the CLIP text tower that gives the pooled prompt.
    """

    def __init__(
        self,
        latents: torch.Tensor,
        faces: Sequence[Face],
        text_encoder: CLIPTextModel,
        batch: int,
        device: str,
    ) -> None:
        self.faces, self.batch, self.device = faces, batch, device
        # On a GPU as a whole, half a gigabyte for 36,000 faces: nothing is copied in a step.
        self.packed, self.labels = pack(latents).to(device), labels_of(faces).to(device)
        self.weights = even_weights(self.packed, self.labels)
        self.text_encoder = text_encoder.to(device).eval()
        self.clip_tokenizer = parts.tokenizer(begin=True)
        self.t5_tokenizer = parts.tokenizer(begin=False)
        self.image_ids = position_ids(latents.shape[2] // 2, latents.shape[3] // 2).to(device)

    def text(self, captions: list[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """T5 token ids [B, length] and pooled CLIP embeddings [B, P]."""
        ids, clip_ids = self._tokens(captions, length)
        return on_device(ids, self.device), self._pooled(clip_ids)

    def _tokens(
        self, captions: list[str], length: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ids = parts.tokens(captions, self.t5_tokenizer, length)
        return ids.numpy(), parts.tokens(captions, self.clip_tokenizer, parts.TEXT_LENGTH).numpy()

    def _pooled(self, clip_ids: NDArray[np.int64]) -> torch.Tensor:
        with torch.no_grad():
            pooled: torch.Tensor = self.text_encoder(
                input_ids=on_device(clip_ids, self.device)
            ).pooler_output
        return pooled

    def words(self, step: int) -> Words:
        """The faces of a step and their captions; nothing of it touches a GPU."""
        rng = random.Random(f"flow-{step}")
        long_text = step % LONG_TEXT_EVERY == LONG_TEXT_EVERY - 1
        count = max(1, self.batch // 8) if long_text else self.batch
        length = rng.choice(LONG_TEXTS) if long_text else parts.TEXT_LENGTH
        chosen = [rng.randrange(len(self.faces)) for _ in range(count)]
        nothing: tuple[str, frozenset[str]] = ("", frozenset())
        said = [
            nothing
            if rng.random() < EMPTY_CAPTIONS
            else caption_parts(self.faces[i], rng, parts.CAPTION_PHRASES, rng.choice(LEAST_PHRASES))
            for i in chosen
        ]
        told = np.array([[name in names for name in VALUES] for _, names in said])
        return Words(np.array(chosen), told, *self._tokens([text for text, _ in said], length))

    def batch_of(self, words: Words) -> Batch:
        """A step's rows; the noise comes from torch's global generators."""
        count = len(words.chosen)
        chosen = on_device(words.chosen, self.device)
        labels = self.labels[chosen]
        named = labels.where(on_device(words.told, self.device), HIDDEN)
        ids, pooled = on_device(words.ids, self.device), self._pooled(words.clip_ids)
        x_0 = self.packed[chosen]
        noise = torch.randn(x_0.shape, device=self.device)
        # Stratified over σ, so that every batch sees the whole path, and denser in its middle,
        # where the velocity is hardest to predict.
        u = (torch.arange(count) + torch.rand(count)) / count
        sigma = on_device(u + 0.15 * torch.sin(2 * torch.pi * u) / torch.pi, self.device)
        x = (1 - sigma[:, None, None]) * x_0 + sigma[:, None, None] * noise
        guidance = torch.empty(count, device=self.device).uniform_(*GUIDANCE)
        return Batch(x, sigma, noise - x_0, ids, pooled, guidance, labels, named)

    def draw(self, step: int) -> Batch:
        """The batch of a step; see :meth:`words` and :meth:`batch_of`."""
        return self.batch_of(self.words(step))


def even_weights(packed: torch.Tensor, labels: torch.Tensor, share: float = 0.5) -> torch.Tensor:
    """Weights of the velocity's elements that give every attribute its part of the error.

    Lipstick is two tokens of 64, the background forty. The variance between the means of an
    attribute's values says where in the latents it is seen; each attribute's is scaled to mean 1
    and they are averaged. Weights that do not depend on the sample leave the best velocity, the
    conditional mean, what it is; they change only what is learned first.

    Args:
        packed: latents [N, T, C] of faces.
        labels: [N, attributes], see :func:`~.classifier.labels_of`.
        share: how much of the weight goes to the attributes; the rest is uniform.

    Returns:
        [T, C], mean 1.
    """
    maps = []
    for label in labels.unbind(dim=1):
        values = [v for v in torch.unique(label).tolist() if v != HIDDEN]
        if len(values) < 2:
            continue
        counts = torch.tensor([float((label == v).sum()) for v in values], device=packed.device)
        means = torch.stack([packed[label == v].mean(dim=0) for v in values])
        portions = (counts / counts.sum())[:, None, None]
        between = (portions * (means - (portions * means).sum(dim=0)).square()).sum(dim=0)
        if between.mean() > 0:
            maps.append(between / between.mean())
    even = torch.ones_like(packed[0])
    return even if not maps else (1 - share) * even + share * torch.stack(maps).mean(dim=0)
