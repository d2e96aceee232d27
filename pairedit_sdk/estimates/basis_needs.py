"""What training a LoRWeB basis needs: memory on the device, disk, and arithmetic."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch

from pairedit_sdk.estimates.needs import Needs, Work, empty_condition, side_of, together
from pairedit_sdk.estimates.passes import Pass, measured
from pairedit_sdk.estimates.weights import META
from pairedit_sdk.lorweb.delta import DeltaNetwork, DeltaShape, PairFeatures
from pairedit_sdk.lorweb.mixture import Mixture, require_width
from pairedit_sdk.lorweb.recipes import BasisRecipe
from pairedit_sdk.lorweb.rows import require_edit_model
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.encoder_shape import EncoderShape, encoder_shape
from pairedit_sdk.models.image_encoder import encoder_for
from pairedit_sdk.models.meta import model_skeleton
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.models.precision import choose_precision
from pairedit_sdk.models.protocol import Condition, told

#: Pictures of an analogy that the model looks at.
REFERENCES = {"grid": 1, "sequence": 3, "alone": 1}


def basis_needs(name: str, config: BasisRecipe, device: str) -> Needs:
    """What :func:`pairedit_sdk.train_basis` needs with these settings.

    The analogies' latents are not counted: they lie in main memory, at most
    :data:`pairedit_sdk.lorweb.rows.KEPT` pictures.

    Args:
        name: the model; only its configuration is read.
        config: the settings.
        device: "cpu", or "cuda" whether there is a GPU here or not.

    Raises:
        BaseModelError: the model or the image encoder is not there, or the model takes no
            references.
        UsageError: the settings do not fit the model.
    """
    where = torch.device(device)
    dtype = choose_precision(config.precision, where)[1]
    side = side_of(name, dtype, config.resolution)
    drawn = 2 * side if config.layout == "grid" else side
    shape = encoder_shape(config.encoder or encoder_for(name))
    step, trained = _basis_step(name, dtype, drawn, _step_settings(config), shape)
    lora_size = 2 if config.lora.precision == "bf16" else 4
    # The router and the delta network are kept in float32.
    kept = trained.loras * lora_size + trained.others * 4
    eight = 2 * (trained.loras + trained.others)
    state = eight if config.optimizer == "adamw8bit" else 2 * kept
    lora = kept + state
    disk = (config.keep + 1) * lora + (trained.loras + trained.others) * 4
    flops = step.flops * config.accumulate
    return together(name, config, where, Work(lora, step.peak, disk, flops, drawn, shape.size))


class Trained(NamedTuple):
    """Numbers of parameters: of all LoRAs, and of the router and the delta network."""

    loras: int
    others: int


def _step_settings(config: BasisRecipe) -> BasisSettings:
    """Of the settings those that decide a step's memory and arithmetic."""
    plain = BasisSettings()
    free = ("steps", "accumulate", "seed", "track", "optim", "checkpointing", "encoder")
    return config.settings.with_values(**{name: getattr(plain, name) for name in free})


class _Unborn(Mixture):
    """A mixture without numbers: those of all keys and projections would take their memory."""

    def _router_start(
        self, width: int, generator: torch.Generator
    ) -> dict[str, torch.nn.Parameter]:
        settings = self.settings
        count = 1 if settings.shared else len(self.weights)
        shapes = {
            "keys": (count, settings.count, settings.key_width),
            "projection": (count, settings.key_width, width),
        }
        return {n: torch.nn.Parameter(torch.empty(s, device=META)) for n, s in shapes.items()}


@lru_cache(maxsize=64)
def _basis_step(
    name: str, dtype: torch.dtype, side: int, settings: BasisSettings, encoder: EncoderShape
) -> tuple[Pass, Trained]:
    """A step's pass forward and back, and what is trained.

    Args:
        name: the model.
        dtype: that it computes in.
        side: of what is drawn, in pixels.
        settings: of the training.
        encoder: the image encoder's sizes.
    """
    model = model_skeleton(name, dtype)
    require_edit_model(model)
    require_width(model, settings)
    rows = settings.batch
    said = _rows_of(empty_condition(model), rows)
    width = encoder.embedding * (1 if settings.query == "grid" else 3)
    mixture = _Unborn(model, settings, width, _delta(model, settings, encoder))
    numbers = {n: p.numel() for n, p in mixture.parameters.items()}
    loras = sum(count for n, count in numbers.items() if n.endswith((".lora_A", ".lora_B")))
    trained = Trained(loras, sum(numbers.values()) - loras)
    model.set_gradient_checkpointing(settings.gradient_checkpointing)
    latent = (rows, *model.latent_shape(side, side))
    x = torch.empty(latent, device=META)
    references = tuple(torch.empty(latent, device=META) for _ in range(REFERENCES[settings.layout]))
    queries, sigma = torch.empty(rows, width, device=META), torch.empty(rows, device=META)
    features = PairFeatures(
        torch.empty(rows, 2, encoder.embedding, device=META),
        torch.empty(rows, 2, encoder.patches, encoder.features, device=META),
    )

    def step() -> None:
        condition = replace(said, references=references)
        if mixture.delta is not None:
            condition = told(condition, *mixture.delta(features))
        mixture.mix(queries)
        v = model.velocity(x, sigma, condition, settings.guidance)
        torch.autograd.backward([(v.float() - x).square().mean()])

    known = [*model.transformer.parameters(), x, sigma, queries, *references]
    return measured(step, [*known, *mixture.parameters.values()]), trained


def _rows_of(said: Condition, rows: int) -> Condition:
    """A prompt's tensors for each row: captions differ."""
    return Condition.from_tensors(
        {
            name: torch.empty((rows, *tensor.shape[1:]), dtype=tensor.dtype, device=META)
            for name, tensor in said.tensors().items()
        }
    )


def _delta(
    model: PipelineModel, settings: BasisSettings, encoder: EncoderShape
) -> DeltaNetwork | None:
    if not settings.delta.tokens:
        return None
    text = model.text_shapes()
    shape = DeltaShape(
        tokens=settings.delta.tokens,
        width=settings.delta.width,
        layers=settings.delta.layers,
        embedding=encoder.embedding,
        patches=encoder.patches,
        features=encoder.features,
        prompt=text["prompt_embeds"][-1],
        pooled=text["pooled"][-1] if "pooled" in text else 0,
    )
    with META:
        return DeltaNetwork(shape)
