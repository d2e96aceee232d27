"""What ``pairedit bench speed --shape`` times: the SDK's own steps, on random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.bench.edit_types import training_faces
from pairedit_sdk.bench.naive import naive_training
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.editing.flowedit import flowedit
from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import last_state, last_steps
from pairedit_sdk.lora.adapters import attached, detach_all, set_scales
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.pairs.pair_set import PairSet
from pairedit_sdk.training.branches import Branches
from pairedit_sdk.training.loop import make_optimizer, optimizer_step
from pairedit_sdk.training.processes import accelerating
from pairedit_sdk.training.trainer import PairTask

if TYPE_CHECKING:
    from pairedit_sdk.models.pipeline_model import PipelineModel
    from pairedit_sdk.training.config import TrainConfig

Unit = Callable[[], object]
RANK = 16
#: Of a learned basis, as LoRWeB has it.
ELEMENTS, ELEMENT_RANK = 32, 4
#: Steps with which a picture is drawn from noise.
DRAWING = 28


def pairs_of(side: int) -> PairSet:
    """One drawn pair of that size: the autoencoder and the pictures' readers have real work."""
    return PairSet.from_images(
        [(before.draw(side), after.draw(side)) for before, after in training_faces("glasses")[:1]]
    )


def naive_step(model: PipelineModel, pairs: PairSet, config: TrainConfig) -> Callable[..., object]:
    """A step of :mod:`pairedit_sdk.bench.naive`."""

    @contextmanager
    def work() -> Iterator[Unit]:
        with naive_training(model, pairs, config) as training:
            yield training.step

    return work


def our_step(model: PipelineModel, pairs: PairSet, config: TrainConfig) -> Callable[..., object]:
    """A step of :func:`pairedit_sdk.train`."""

    @contextmanager
    def work() -> Iterator[Unit]:
        latents = encode_pairs(model, pairs, config.resolution)
        try:
            task = PairTask(Branches(model, config, model.condition("")), latents)
            optimizer = make_optimizer(task)
            model.set_gradient_checkpointing(config.gradient_checkpointing)
            steps = count()
            with accelerating(model.device) as accelerator:
                yield lambda: optimizer_step(task, optimizer, accelerator, next(steps))
        finally:
            model.set_gradient_checkpointing(False)
            detach_all(model.transformer)

    return work


def random_layers(model: PipelineModel, rank: int = RANK) -> dict[str, LoraLayer]:
    """A LoRA on the attention layers, with a small effect."""
    layers = {}
    for name in model.lora_targets("attention"):
        module = model.transformer.get_submodule(name)
        wide, high = int(module.in_features), int(module.out_features)  # type: ignore[arg-type]
        layers[name] = LoraLayer(
            torch.randn(rank, wide, device=model.device, dtype=model.dtype) * 0.01,
            torch.randn(high, rank, device=model.device, dtype=model.dtype) * 0.01,
        )
    return layers


def edited_picture(
    model: PipelineModel, layers: Mapping[str, LoraLayer], side: int, steps: int, n_avg: int
) -> Callable[..., object]:
    """FlowEdit of a picture's latents with a LoRA attached, as ``pairedit edit`` does it."""
    info = EditInfo(
        "random",
        base=model.name,
        base_fingerprint=model.fingerprint,
        resolution=side,
        editor=EditorSettings(steps, n_avg),
    )
    edit, x = Edit(dict(layers), info), _latents(model, side)
    return _repeated(lambda: edit_latents(model, x, edit))


def edited_picture_without_lora(
    model: PipelineModel, side: int, steps: int, n_avg: int
) -> Callable[..., object]:
    """The same rows through the bare transformer: what they cost if the LoRA were in the weights.

    A floor: FlowEdit's plain rows need it out of them.
    """
    x = _latents(model, side)
    sigmas = model.sigmas(steps, *model.image_size(x))
    conditioned = ConditionedModel(model, model.condition(""), model.default_guidance)

    def both(
        edited: torch.Tensor, plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        v = conditioned.velocity(torch.cat([edited, plain]), sigma)
        return v[: len(edited)], v[len(edited) :]

    def unit() -> torch.Tensor:
        with torch.no_grad():
            return last_state(
                flowedit(x, sigmas, both, noise_source(x, 0), n_max=last_steps(steps), n_avg=n_avg)
            )

    return _repeated(unit)


def attached_pass(
    model: PipelineModel, layers: Mapping[str, LoraLayer], side: int, rows: int
) -> Callable[..., object]:
    """One forward pass of some rows with a LoRA attached, half of them with it switched off."""
    x = _latents(model, side).expand(rows, -1, -1, -1)
    sigma = torch.tensor(0.5, device=model.device)
    condition = model.condition("")
    scales = (torch.arange(rows, device=model.device) < (rows + 1) // 2).float()

    @contextmanager
    def work() -> Iterator[Unit]:
        with torch.no_grad(), attached(model.transformer, {"edit": layers}):
            set_scales(model.transformer, {"edit": scales})
            yield lambda: model.velocity(x, sigma, condition, model.default_guidance)

    return work


def autoencoder_round_trip(model: PipelineModel, side: int) -> Callable[..., object]:
    """Encoding a picture and decoding it again."""
    picture = torch.rand(1, 3, side, side, device=model.device) * 2 - 1

    @contextmanager
    def work() -> Iterator[Unit]:
        model.keep_autoencoder(True)
        try:
            yield lambda: model.decode(model.encode(picture))
        finally:
            model.keep_autoencoder(False)

    return work


def random_basis(model: PipelineModel) -> LoRWeBBasis:
    """A LoRWeB basis of the published size on the attention layers, on the model's device."""
    layers = {}
    for name, layer in random_layers(model, ELEMENTS * ELEMENT_RANK).items():
        down = torch.unflatten(layer.down, 0, (ELEMENTS, ELEMENT_RANK))
        up = torch.unflatten(layer.up, 1, (ELEMENTS, ELEMENT_RANK)).transpose(0, 1)
        layers[name] = BasisLayer(down, up)
    width, key = 3 * 768, 128  # three CLIP ViT-L/14 embeddings, and LoRWeB's d
    router = Router(
        torch.randn(len(layers), key, width),
        torch.randn(len(layers), ELEMENTS, key),
        key**0.5,
        normalised=False,
    )
    return LoRWeBBasis(layers, router, LearnedInfo("random"))


def mixing(basis: LoRWeBBasis) -> Callable[..., object]:
    """Routing a query and making one LoRA of the basis, done once for a picture."""
    query = torch.randn(basis.router.projection.shape[-1])
    return _repeated(lambda: basis.mixed(basis.coefficients(query)))


def _latents(model: PipelineModel, side: int) -> torch.Tensor:
    return torch.randn(1, *model.latent_shape(side, side), device=model.device)


def _repeated(unit: Unit) -> Callable[[], AbstractContextManager[Unit]]:
    @contextmanager
    def work() -> Iterator[Unit]:
        yield unit

    return work
