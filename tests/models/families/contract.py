"""What the contract's tests share: the same run by diffusers' pipelines and by this SDK."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import diffusers
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from PIL import Image

from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.models.protocol import Condition

#: Height and width of what is drawn, not square so that none is taken for the other.
HEIGHT, WIDTH = 64, 96
STEPS = 4
#: Distilled, for the families that take it.
GUIDANCE = 2.5
PROMPT = "a red house"
#: How each pipeline is asked for one pass a step, without classifier-free guidance.
ONE_PASS: dict[str, dict[str, Any]] = {
    "FluxPipeline": {"guidance_scale": GUIDANCE},
    "FluxKontextPipeline": {
        "guidance_scale": GUIDANCE, "max_area": HEIGHT * WIDTH, "_auto_resize": False,
    },
    "Flux2KleinPipeline": {"guidance_scale": 1.0},
    "Flux2Pipeline": {"guidance_scale": GUIDANCE},
    "ZImagePipeline": {"guidance_scale": 0.0},
    "QwenImagePipeline": {"true_cfg_scale": 1.0},
    "QwenImageEditPlusPipeline": {"true_cfg_scale": 1.0},
    "ChromaPipeline": {"guidance_scale": 1.0},
}  # fmt: skip


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def latents(model: PipelineModel, rows: int = 1, seed: int = 0) -> torch.Tensor:
    """Noise [rows, C, h, w] for a picture of :data:`HEIGHT` × :data:`WIDTH`."""
    return normal(rows, *model.latent_shape(HEIGHT, WIDTH), seed=seed)


def pictures(count: int) -> list[Image.Image]:
    """Noisy pictures; the second is as high as the first is wide."""
    made = []
    for number in range(count):
        size = (HEIGHT, WIDTH, 3) if number % 2 == 0 else (WIDTH, HEIGHT, 3)
        pixels = (normal(*size, seed=10 + number) * 60 + 128).clamp(0, 255)
        made.append(Image.fromarray(pixels.to(torch.uint8).numpy()))
    return made


def seen(model: PipelineModel, images: list[Image.Image]) -> tuple[torch.Tensor, ...]:
    """Pictures as the references of a condition."""
    return tuple(model.encode(in_range(image)) for image in images)


def in_range(image: Image.Image) -> torch.Tensor:
    """A picture as [1, 3, H, W] in −1 … 1."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(1, image.height, image.width, 3).permute(0, 3, 1, 2) / 127.5 - 1


@torch.no_grad()
def our_states(model: PipelineModel, condition: Condition, seed: int = 0) -> list[torch.Tensor]:
    """The states [1, C, h, w] after each of :data:`STEPS` Euler steps from noise."""
    x, states = latents(model, seed=seed), []
    for sigma, after in pairwise(model.sigmas(STEPS, HEIGHT, WIDTH)):
        x = x + (after - sigma) * model.velocity(x, sigma, condition, GUIDANCE)
        states.append(x)
    return states


def stock_states(stock: Any, seed: int = 0, **given: Any) -> list[torch.Tensor]:
    """The same by diffusers' pipeline, which also leaves its noise levels in its scheduler.

    Args:
        stock: the pipeline.
        seed: of the noise.
        given: to the pipeline besides: the prompt or its embeddings, and pictures.
    """
    kind = type(stock).__name__
    states: list[torch.Tensor] = []

    def keep(pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        states.append(tensors["latents"])
        return {}

    with no_bars():
        stock(
            height=HEIGHT, width=WIDTH, num_inference_steps=STEPS, output_type="latent",
            generator=torch.Generator().manual_seed(seed), callback_on_step_end=keep,
            **ONE_PASS[kind], **given,
        )  # fmt: skip
    return [_unpacked(stock, state) for state in states]


def _unpacked(stock: Any, state: torch.Tensor) -> torch.Tensor:
    if state.ndim == 4:
        return state
    if type(stock).__name__.startswith("Flux2"):
        return state.mT.unflatten(2, (HEIGHT // 16, WIDTH // 16))
    whole: torch.Tensor = stock._unpack_latents(state, HEIGHT, WIDTH, stock.vae_scale_factor)
    return whole[:, :, 0] if whole.ndim == 5 else whole


def drawing(stock: Any, references: int) -> Any:
    """The pipeline that draws with so many references: Qwen's for edits draws with none only as the
    one without edits."""
    if references or type(stock) is not diffusers.QwenImageEditPlusPipeline:
        return stock
    parts = ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")
    pipeline = diffusers.QwenImagePipeline(**{part: getattr(stock, part) for part in parts})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def text_for(stock: Any, condition: Condition) -> dict[str, Any]:
    """How the pipeline is given the text. That of Qwen's for edits has the pictures in it, so it is
    given this SDK's embeddings."""
    if isinstance(stock, diffusers.QwenImageEditPlusPipeline):
        mask = torch.ones(condition.prompt_embeds.shape[:2], dtype=torch.long)
        return {"prompt_embeds": condition.prompt_embeds, "prompt_embeds_mask": mask}
    return {"prompt": PROMPT}


def small_references(monkeypatch: Any) -> None:
    """Let Qwen's pipeline for edits take pictures in the size that they have here."""
    for area in ("CONDITION_IMAGE_SIZE", "VAE_IMAGE_SIZE"):
        monkeypatch.setattr(edit_plus, area, HEIGHT * WIDTH)


def random_layers(
    model: PipelineModel, which: str = "attention", seed: int = 0, rank: int = 2
) -> dict[str, LoraLayer]:
    """A LoRA on every layer of a set, strong enough to be seen."""
    layers = {}
    for number, name in enumerate(model.lora_targets(which)):
        layer = model.transformer.get_submodule(name)
        wide, tall = int(layer.in_features), int(layer.out_features)  # type: ignore[arg-type]
        down = normal(rank, wide, seed=1000 * seed + 2 * number) / wide**0.5
        layers[name] = LoraLayer(down, normal(tall, rank, seed=1000 * seed + 2 * number + 1) * 0.3)
    return layers


def assert_close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> None:
    """Within a tolerance for each number, larger where the numbers are larger than 1."""
    assert one.shape == other.shape
    difference = float((one - other).abs().max())
    assert difference <= tolerance * max(1.0, float(other.abs().max())), difference
