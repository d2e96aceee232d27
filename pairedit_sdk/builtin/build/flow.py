"""Training of the flow model on cached latents, with its T5, and distillation of the guidance.

The velocity is the model's own, v = ε − x_0 at x_σ = (1 − σ) x_0 + σ ε. A second stage distils
classifier-free guidance into the guidance embedding, as FLUX.1-dev has it: the target becomes
ε − x_0 + (g − 1)(v_caption − v_∅), the difference taken from the first stage's averaged model. With
an empty prompt this is the plain target for every g.

In the first stage two linear probes read the attributes, which are known of a drawn face: one from
the image tokens in the middle of the transformer, one from the text. Much of what a caption names
is small (a mouth, lipstick) and hardly weighs in the velocity's error; the probes make the model
attend to it early. They fade out before the end and are not part of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import nn
from transformers import T5EncoderModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.ahead import Ahead, workers_for
from pairedit_sdk.builtin.build.classifier import probe_loss
from pairedit_sdk.builtin.build.flow_data import LONG_TEXTS, Batch, FlowData
from pairedit_sdk.builtin.build.loop import Rates, Stage, half_precision
from pairedit_sdk.builtin.faces.attribute_classifier import VALUES
from pairedit_sdk.models.half_products import half_products

PROBE_WEIGHT = 0.1
PROBES_END = 0.8  # share of the budget at which the probes have faded out


class CaptionedFlow(nn.Module):
    """Transformer and T5 as one module, with the probes; the CLIP text tower is frozen."""

    def __init__(self, transformer: FluxTransformer2DModel, t5: T5EncoderModel) -> None:
        super().__init__()
        self.transformer, self.t5 = transformer, t5
        answers = sum(map(len, VALUES.values()))
        self.image_probe = nn.Linear(transformer.inner_dim, answers)
        self.text_probe = nn.Linear(t5.config.d_model, answers)
        self._middle = self._text = torch.empty(0)
        transformer.x_embedder.register_forward_hook(_keep_float)
        transformer.transformer_blocks[-1].register_forward_hook(self._keep_middle)

    def _keep_middle(
        self, block: nn.Module, given: object, result: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        self._middle = result[1]  # a joint block returns the text's tokens, then the image's

    def forward(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor,
        ids: torch.Tensor,
        pooled: torch.Tensor,
        guidance: torch.Tensor,
        image_ids: torch.Tensor,
    ) -> torch.Tensor:
        """Velocity of packed latents x [B, 64, 64] at sigma [B], token ids [B, T]."""
        text = self._text = self.t5(input_ids=ids).last_hidden_state
        result: torch.Tensor = self.transformer(
            hidden_states=x,
            timestep=sigma,
            guidance=guidance,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            txt_ids=torch.zeros(ids.shape[1], 3, device=x.device),
            img_ids=image_ids,
            return_dict=False,
        )[0]
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


def _keep_float(layer: nn.Module, given: object, result: torch.Tensor) -> torch.Tensor:
    """Under autocast, keep the tokens float32 from the first layer on.

    FLUX rounds the timestep to their type, and in bfloat16 that leaves 128 of σ's values between
    a half and one; a model in float32 is later asked for all of them.
    """
    return result.float()


def train_flow(
    model: CaptionedFlow,
    data: FlowData,
    folder: Path,
    *,
    minutes: float,
    lr: float = 1e-3,
    compiled: bool = False,
    parent: str = "",
) -> int:
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

    stage = _stage("flow", model.to(data.device), folder, minutes, lr, parent)
    return _train(model, data, stage, lambda batch: batch.target, PROBE_WEIGHT, compiled)


def distil_guidance(
    model: CaptionedFlow,
    data: FlowData,
    folder: Path,
    *,
    minutes: float,
    lr: float = 4e-4,
    compiled: bool = False,
    parent: str = "",
) -> int:
    """Teach ``model``, as :func:`train_flow` left it, what its guidance input means.

    The arguments are those of :func:`train_flow`.
    """
    teacher = copy.deepcopy(model).to(data.device).eval().requires_grad_(False)
    nothing = {length: data.text([""], length) for length in (parts.TEXT_LENGTH, *LONG_TEXTS)}

    def target(batch: Batch) -> torch.Tensor:
        ids, pooled = nothing[batch.ids.shape[1]]
        with torch.no_grad():
            v: torch.Tensor = teacher(
                torch.cat([batch.x, batch.x]),
                torch.cat([batch.sigma, batch.sigma]),
                torch.cat([batch.ids, ids.expand_as(batch.ids)]),
                torch.cat([batch.pooled, pooled.expand_as(batch.pooled)]),
                torch.cat([batch.guidance, batch.guidance]),
                data.image_ids,
            ).float()
        with_text, without = v.chunk(2)
        return batch.target + (batch.guidance[:, None, None] - 1) * (with_text - without)

    stage = _stage("guidance", model.to(data.device), folder, minutes, lr, parent)
    with half_products(teacher, data.device):
        return _train(model, data, stage, target, 0.0, compiled)


def _stage(
    name: str, model: CaptionedFlow, folder: Path, minutes: float, lr: float, parent: str
) -> Stage:
    rates = Rates(lr=lr, matrix_lr=2 * lr, ema=0.999, decay_from=0.2)
    return Stage(name, model, folder, minutes=minutes, rates=rates, parent=parent)


def _train(
    model: CaptionedFlow,
    data: FlowData,
    stage: Stage,
    target: Callable[[Batch], torch.Tensor],
    probes: float,
    compiled: bool,
) -> int:
    """Run a stage; ``target`` is what the velocity aims at, ``probes`` the weight of their loss."""
    usual = torch.compile(model.probed, dynamic=False) if compiled else model.probed

    def loss(step: int) -> dict[str, torch.Tensor]:
        batch = data.batch_of(words(step))
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
            "loss": error + weight * (image + text),
            "error": error,
            "image": image,
            "text": text,
        }

    ahead = Ahead(data.words, stage.step, workers_for(data.device))
    with half_products(model, data.device), ahead as words:
        stage.run(loss)
    stage.use_average()
    return stage.step
