"""Training of the flow model on cached latents, with its T5, and distillation of the guidance.

The velocity is the base's own, v = ε − x_0 at x_σ = (1 − σ) x_0 + σ ε. A second stage distils
classifier-free guidance into the guidance embedding, as FLUX.1-dev has it: the target becomes
ε − x_0 + (g − 1)(v_caption − v_∅), the difference taken from the first stage's averaged model. With
an empty prompt this is the plain target for every g.

In the first stage two linear probes read the attributes, which are known of a drawn face: one from
the image tokens in the middle of the transformer, one from the text. Much of what a caption names
is small (a mouth, lipstick) and hardly weighs in the velocity's error; the probes make the model
attend to it early. They fade out before the end and are not part of the base.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import nn
from transformers import CLIPTextModel, T5EncoderModel

from pairedit_sdk.bases.mini.attributes import VALUES
from pairedit_sdk.bases.mini.building import parts
from pairedit_sdk.bases.mini.building.classifier import HIDDEN, labels_of, probe_loss
from pairedit_sdk.bases.mini.building.loop import Stage, half_precision, half_products
from pairedit_sdk.bases.mini.faces import Face, caption_parts
from pairedit_sdk.bases.tokens import pack, position_ids

EMPTY_CAPTIONS = 0.15
LEAST_PHRASES = (1, 4)  # half of the captions say at least four things: more to learn from each
LONG_TEXT_EVERY = 40  # one step in so many pads its text up to FluxPipeline's default of 512
GUIDANCE = (1.0, 5.0)
PROBE_WEIGHT = 0.1
PROBES_END = 0.8  # share of the budget at which the probes have faded out


class FlowModel(nn.Module):
    """Transformer and T5 as one module, with the probes; the CLIP text tower is frozen."""

    def __init__(self, transformer: FluxTransformer2DModel, t5: T5EncoderModel) -> None:
        super().__init__()
        self.transformer, self.t5 = transformer, t5
        answers = sum(map(len, VALUES.values()))
        self.image_probe = nn.Linear(transformer.inner_dim, answers)
        self.text_probe = nn.Linear(t5.config.d_model, answers)
        self._middle = self._text = torch.empty(0)
        transformer.transformer_blocks[-1].register_forward_hook(self._keep_middle)

    def _keep_middle(
        self, block: nn.Module, given: object, result: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        self._middle = result[1]  # a joint block returns the text's tokens, then the image's

    def forward(
        self, x: torch.Tensor, sigma: torch.Tensor, ids: torch.Tensor, pooled: torch.Tensor,
        guidance: torch.Tensor, image_ids: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Velocity of packed latents x [B, 64, 64] at sigma [B], token ids [B, T]."""
        text = self._text = self.t5(input_ids=ids).last_hidden_state
        result: torch.Tensor = self.transformer(
            hidden_states=x, timestep=sigma, guidance=guidance, encoder_hidden_states=text,
            pooled_projections=pooled, txt_ids=torch.zeros(ids.shape[1], 3, device=x.device),
            img_ids=image_ids, return_dict=False,
        )[0]  # fmt: skip
        return result

    def forget(self) -> None:
        """Drop what the probes read: a module that holds part of a graph cannot be copied."""
        self._middle = self._text = torch.empty(0)

    def probed(self, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """:meth:`forward`, and the probes' logits from image and text, each [B, all values]."""
        v = self(*given)
        middle, text = self._middle, self._text
        self.forget()
        return v, self.image_probe(middle.mean(dim=1)), self.text_probe(text.mean(dim=1))


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
        self, latents: torch.Tensor, faces: Sequence[Face], text_encoder: CLIPTextModel,
        batch: int, device: str,
    ) -> None:  # fmt: skip
        self.packed, self.faces, self.batch, self.device = pack(latents), faces, batch, device
        self.labels = labels_of(faces)
        self.weights = even_weights(self.packed, self.labels).to(device)
        self.text_encoder = text_encoder.to(device).eval()
        self.clip_tokenizer = parts.tokenizer(begin=True)
        self.t5_tokenizer = parts.tokenizer(begin=False)
        self.image_ids = position_ids(latents.shape[2] // 2, latents.shape[3] // 2).to(device)

    def text(self, captions: list[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """T5 token ids [B, length] and pooled CLIP embeddings [B, P]."""
        ids = parts.tokens(captions, self.t5_tokenizer, length).to(self.device)
        clip_ids = parts.tokens(captions, self.clip_tokenizer, parts.TEXT_LENGTH).to(self.device)
        with torch.no_grad():
            return ids, self.text_encoder(input_ids=clip_ids).pooler_output

    def draw(self, step: int) -> Batch:
        """The batch of a step; the noise comes from torch's global generator."""
        rng = random.Random(f"flow-{step}")
        long_text = step % LONG_TEXT_EVERY == LONG_TEXT_EVERY - 1
        count = max(1, self.batch // 8) if long_text else self.batch
        length = rng.choice([64, 128, 256, 512]) if long_text else parts.TEXT_LENGTH
        chosen = [rng.randrange(len(self.faces)) for _ in range(count)]
        nothing: tuple[str, frozenset[str]] = ("", frozenset())
        said = [
            nothing
            if rng.random() < EMPTY_CAPTIONS
            else caption_parts(self.faces[i], rng, parts.CAPTION_PHRASES, rng.choice(LEAST_PHRASES))
            for i in chosen
        ]
        captions = [caption for caption, _ in said]
        labels = self.labels[chosen].to(self.device)
        told = torch.tensor([[name in names for name in VALUES] for _, names in said])
        named = labels.where(told.to(self.device), HIDDEN)
        ids, pooled = self.text(captions, length)
        x_0 = self.packed[chosen].to(self.device)
        noise = torch.randn(x_0.shape, device=self.device)
        # Stratified over σ, so that every batch sees the whole path, and denser in its middle,
        # where the velocity is hardest to predict.
        u = (torch.arange(count) + torch.rand(count)) / count
        sigma = (u + 0.15 * torch.sin(2 * torch.pi * u) / torch.pi).to(self.device)
        x = (1 - sigma[:, None, None]) * x_0 + sigma[:, None, None] * noise
        guidance = torch.empty(count, device=self.device).uniform_(*GUIDANCE)
        return Batch(x, sigma, noise - x_0, ids, pooled, guidance, labels, named)


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
        values = [v for v in label.unique().tolist() if v != HIDDEN]
        if len(values) < 2:
            continue
        counts = torch.tensor([float((label == v).sum()) for v in values])
        means = torch.stack([packed[label == v].mean(dim=0) for v in values])
        portions = (counts / counts.sum())[:, None, None]
        between = (portions * (means - (portions * means).sum(dim=0)).square()).sum(dim=0)
        if between.mean() > 0:
            maps.append(between / between.mean())
    even = torch.ones_like(packed[0])
    return even if not maps else (1 - share) * even + share * torch.stack(maps).mean(dim=0)


def train_flow(
    model: FlowModel, data: FlowData, folder: Path, *, minutes: float, lr: float = 1e-3,
    compiled: bool = False, parent: str = "",
) -> int:  # fmt: skip
    """Rectified flow; the guidance embedding sees random values that mean nothing yet.

    Args:
        model: trained in place; its averaged weights stay in it.
        data: where the batches come from.
        folder: of the checkpoint.
        minutes: time budget.
        lr: AdamW's; Muon's is twice that.
        compiled: run the usual steps through ``torch.compile``, which needs a C++ compiler.
        parent: see :class:`Stage`.

    Returns:
        The steps trained, earlier runs included.
    """

    def target(batch: Batch) -> torch.Tensor:
        return batch.target

    return _train(model, data, folder, "flow", minutes, lr, target, compiled, parent)


def distil_guidance(
    model: FlowModel, data: FlowData, folder: Path, *, minutes: float, lr: float = 4e-4,
    compiled: bool = False, parent: str = "",
) -> int:  # fmt: skip
    """Teach ``model``, as :func:`train_flow` left it, what its guidance input means.

    The arguments are those of :func:`train_flow`.
    """
    teacher = copy.deepcopy(model).to(data.device).eval().requires_grad_(False)

    def target(batch: Batch) -> torch.Tensor:
        ids, pooled = data.text([""], batch.ids.shape[1])
        with torch.no_grad():
            v = teacher(
                torch.cat([batch.x, batch.x]),
                torch.cat([batch.sigma, batch.sigma]),
                torch.cat([batch.ids, ids.expand_as(batch.ids)]),
                torch.cat([batch.pooled, pooled.expand_as(batch.pooled)]),
                torch.cat([batch.guidance, batch.guidance]),
                data.image_ids,
            ).float()
        with_text, without = v.chunk(2)
        return batch.target + (batch.guidance[:, None, None] - 1) * (with_text - without)

    with half_products(teacher, data.device):
        return _train(model, data, folder, "guidance", minutes, lr, target, compiled, parent)


def _train(
    model: FlowModel, data: FlowData, folder: Path, name: str, minutes: float, lr: float,
    target: Callable[[Batch], torch.Tensor], compiled: bool, parent: str,
) -> int:  # fmt: skip
    model.to(data.device)
    usual = torch.compile(model.probed, dynamic=False) if compiled else model.probed
    probes = PROBE_WEIGHT if name == "flow" else 0.0
    stage = Stage(
        name, model, folder, minutes=minutes, lr=lr, matrix_lr=2 * lr, ema=0.999,
        decay_from=0.2, parent=parent,
    )  # fmt: skip

    def loss(step: int) -> dict[str, torch.Tensor]:
        batch = data.draw(step)
        with half_precision(data.device):
            aim = target(batch)
            # The few steps with long texts have other shapes, not worth a compilation each.
            forward = usual if len(batch.x) == data.batch else model.probed
            v, *read = forward(
                batch.x, batch.sigma, batch.ids, batch.pooled, batch.guidance, data.image_ids
            )
        error = ((v.float() - aim).square() * data.weights).mean()
        image, text = (
            probe_loss(logits.float(), labels)
            for logits, labels in zip(read, (batch.labels, batch.named), strict=True)
        )
        weight = probes * max(0.0, 1 - stage.progress / PROBES_END)
        return {
            "loss": error + weight * (image + text), "error": error, "image": image, "text": text,
        }  # fmt: skip

    with half_products(model, data.device):
        stage.run(loss)
    stage.use_average()
    return stage.step
