"""What learning or using an edit needs: memory on the device, disk, and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from pairedit_sdk.estimates.passes import Pass, measured
from pairedit_sdk.estimates.weights import META, autoencoder, text_bytes, transformer_bytes
from pairedit_sdk.lora.adapters import activate, add_trainable
from pairedit_sdk.models.meta import model_skeleton
from pairedit_sdk.models.precision import choose_precision
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.training.branches import Branches

if TYPE_CHECKING:
    from pairedit_sdk.models.pipeline_model import PipelineModel
    from pairedit_sdk.training.config import TrainConfig

#: Bytes of what CUDA, its libraries and their kernels take of a GPU, whatever is computed.
CUDA = 600 * 2**20
#: On a CPU the C library's heap grows to so many times what is alive at once: freed pieces lie
#: between others, and are not always large enough for what comes next. The more so with gradient
#: checkpointing, where pieces of all sizes come and go. Measured with glibc.
HEAP, HEAP_CHECKPOINTING = 2.2, 5.0
#: Bytes of what a training brings into a process besides tensors: checks, kernels, pictures.
AROUND = 35 * 2**20


@dataclass(frozen=True)
class Needs:
    """Bytes, unless said otherwise.

    Args:
        transformer: its weights.
        lora: the LoRAs with their optimiser's state.
        working: tensors alive at the worst moment of a training step, or of a pass in editing:
            activations and gradients.
        autoencoder: its weights, and the most it needs to encode or decode a picture.
        text_encoders: their weights. They are gone before the transformer comes to a GPU, and
            where they do not fit there, they work in main memory.
        process: what is taken before there is any model.
        peak: the most that is needed at once, on the GPU or, on a CPU, by the process.
        disk: of a run: checkpoints and the edit.
        flops: floating-point operations of a training step, or of an edited picture.
        image_encoder: weights of a basis's image encoder, which stays beside the model.
    """

    transformer: int
    lora: int
    working: int
    autoencoder: int
    text_encoders: int
    process: int
    peak: int
    disk: int
    flops: int
    image_encoder: int = 0


def training_needs(name: str, config: TrainConfig, device: str) -> Needs:
    """What :func:`pairedit_sdk.train` needs with these settings.

    Args:
        name: the model; only its configuration is read.
        config: the settings.
        device: "cpu", or "cuda" whether there is a GPU here or not.

    Raises:
        BaseModelError: the model is not there.
        UsageError: the settings do not fit the model.
    """
    where = torch.device(device)
    dtype = choose_precision(config.precision, where)[1]
    side = side_of(name, dtype, config.resolution)
    lora_size = 2 if config.lora_precision == "bf16" else 4
    branches = 2 if config.content_lora else 1
    shape = _StepShape(
        config.targets,
        config.rank,
        config.lora_precision,
        config.content_lora,
        config.objective == "slider",
        _has_plain_pass(config),
        config.batch,
        config.gradient_checkpointing,
        config.reference,
    )
    step, parameters = _training_step(name, dtype, side, shape)
    state = 2 if config.optimizer == "adamw8bit" else 2 * lora_size
    lora = parameters * (lora_size + state)
    one = parameters // branches * 4
    disk = (config.keep + 1) * lora + branches * one
    flops = step.flops * config.accumulate
    return together(name, config, where, Work(lora, step.peak, disk, flops, side))


def editing_needs(name: str, config: TrainConfig, device: str) -> Needs:
    """The same for one picture that is edited as ``config`` says, with FlowEdit."""
    where = torch.device(device)
    dtype = choose_precision(config.precision, where)[1]
    side = side_of(name, dtype, config.resolution)
    rows = 2 * config.edit_n_avg
    used = _Lora(config.targets, config.rank, config.reference)
    one, parameters = _editing_pass(name, dtype, used, rows, side)
    lora = parameters * dtype.itemsize
    steps = round(config.edit_steps * 24 / 28)
    return together(name, config, where, Work(lora, one.peak, 0, one.flops * steps, side))


class Held(Protocol):
    """The settings that say how a model is held."""

    @property
    def precision(self) -> str: ...
    @property
    def offload(self) -> bool: ...
    @property
    def gradient_checkpointing(self) -> bool: ...


@dataclass(frozen=True)
class Work:
    """What is done with a model, in bytes but for the arithmetic.

    Args:
        lora: of what is trained or attached, with its optimiser's state.
        working: of a pass.
        disk: of the run.
        flops: floating-point operations.
        beside: of a frozen model that is there all the time.
        side: of the pictures that go through the autoencoder, in pixels.
    """

    lora: int
    working: int
    disk: int
    flops: int
    side: int
    beside: int = 0


def together(name: str, config: Held, where: torch.device, work: Work) -> Needs:
    """All that work with a model needs, by what is there at the same time."""
    precision, dtype = choose_precision(config.precision, where)
    transformer, largest = transformer_bytes(name, precision, dtype)
    # A quantised layer's weight is there in full while it is used.
    working = work.working + largest
    vae, vae_working, _ = autoencoder(name, dtype, work.side)
    text = text_bytes(name, dtype)
    held = transformer + work.lora + work.beside
    if where.type == "cpu":
        process = _process() + AROUND
        heap = HEAP_CHECKPOINTING if config.gradient_checkpointing and work.disk else HEAP
        peak = (
            process
            + transformer
            + vae
            + work.beside
            + max(text, work.lora + int(heap * max(vae_working, working)))
        )
    else:
        process = CUDA
        decoding = vae + vae_working + (0 if config.offload else held)
        peak = process + max(held + working, decoding)
    return Needs(
        transformer,
        work.lora,
        working,
        vae + vae_working,
        text,
        process,
        peak,
        work.disk,
        work.flops,
        work.beside,
    )


@dataclass(frozen=True)
class _StepShape:
    """What of the settings decides a training step's memory and arithmetic."""

    targets: str
    rank: int
    lora_precision: str
    content: bool
    slider: bool
    plain: bool
    batch: int
    checkpointing: bool
    reference: str


@lru_cache(maxsize=64)
def _training_step(name: str, dtype: torch.dtype, side: int, shape: _StepShape) -> tuple[Pass, int]:
    """A step's pass forward and back, and the number of parameters that are trained."""
    from pairedit_sdk.training.config import TrainConfig

    model = model_skeleton(name, dtype)
    config = TrainConfig(
        targets=shape.targets,
        rank=shape.rank,
        lora_precision=shape.lora_precision,
        content_lora=shape.content,
        reference=shape.reference,
    )
    branches = Branches(model, config, empty_condition(model))
    trained = sum(parameter.numel() for parameter in branches.parameters.values())
    model.set_gradient_checkpointing(shape.checkpointing)
    signs = ([0.0] if shape.content else []) + ([1.0, -1.0] if shape.slider else [1.0])
    x = torch.empty(shape.batch, *model.latent_shape(side, side), device=META)
    sigma = torch.empty(shape.batch, device=META)

    def step() -> None:
        if shape.plain:
            with torch.no_grad():
                branches.plain(x, sigma, x)
        errors = branches.velocities([x] * len(signs), sigma, signs, x)
        total = torch.stack([error.square().mean() for error in errors]).sum()
        torch.autograd.backward([total])

    return measured(step, [*model.transformer.parameters(), x, sigma]), trained


def _has_plain_pass(config: TrainConfig) -> bool:
    """Whether the target is made of the plain model's velocity, a pass without gradients."""
    return config.objective == "flowedit" or (
        config.objective == "difference" and not config.content_lora
    )


class _Lora(NamedTuple):
    """An edit's LoRA, and what the model sees with it."""

    targets: str
    rank: int
    reference: str


@lru_cache(maxsize=16)
def _editing_pass(
    name: str, dtype: torch.dtype, lora: _Lora, rows: int, side: int
) -> tuple[Pass, int]:
    model = model_skeleton(name, dtype)
    condition = empty_condition(model)
    added = add_trainable(
        model.transformer,
        "edit",
        model.lora_targets(lora.targets),
        lora.rank,
        torch.Generator(),
        dtype,
    )
    activate(model.transformer, ["edit"])
    x = torch.empty(rows, *model.latent_shape(side, side), device=META)
    sigma = torch.empty((), device=META)
    if lora.reference == "before":
        condition = replace(condition, references=(x,))

    @torch.no_grad()
    def one() -> None:
        model.velocity(x, sigma, condition, model.default_guidance)

    parameters = sum(parameter.numel() for parameter in added.values())
    return measured(one, [*model.transformer.parameters(), x, sigma]), parameters


@lru_cache(maxsize=16)
def side_of(name: str, dtype: torch.dtype, resolution: int | None) -> int:
    """The side of the square with the pictures' area, in pixels."""
    model = model_skeleton(name, dtype)
    side: int = (resolution or model.resolution) // model.multiple * model.multiple
    return side


def empty_condition(model: PipelineModel) -> Condition:
    """An empty prompt's embeddings, without numbers."""
    return Condition.from_tensors(
        {
            name: torch.empty(shape, dtype=model.dtype, device=META)
            for name, shape in model.text_shapes().items()
        }
    )


@lru_cache(maxsize=1)
def _process() -> int:
    """Of this process as it stands when it is first asked: Python, torch, diffusers and the rest.
    What estimating itself leaves behind would make each estimate larger than the one before."""
    import psutil

    return int(psutil.Process().memory_info().rss)
