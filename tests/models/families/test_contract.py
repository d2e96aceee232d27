"""What every family keeps: its model does what diffusers' own pipeline does, row by row."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift

from pairedit_sdk.errors import UsageError
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.models.protocol import stacked
from tests.models.families.contract import (
    GUIDANCE,
    HEIGHT,
    PROMPT,
    STEPS,
    WIDTH,
    assert_close,
    drawing,
    in_range,
    latents,
    normal,
    our_states,
    pictures,
    seen,
    small_references,
    stock_states,
    text_for,
)

#: Pipelines whose own method makes a picture's latents. For the rest it is FLUX.1-Kontext's: their
#: families' own pipelines for pictures normalise as it does, but draw from the posterior.
ENCODING = {
    "Flux2KleinPipeline": diffusers.Flux2KleinPipeline,
    "Flux2Pipeline": diffusers.Flux2Pipeline,
    "QwenImagePipeline": diffusers.QwenImageEditPlusPipeline,
    "QwenImageEditPlusPipeline": diffusers.QwenImageEditPlusPipeline,
}
SHORT, LONG = "a cat", "a red house by the sea, in the light of the evening"


@pytest.mark.parametrize("references", [0, 1, 2])
def test_euler_from_noise_is_the_stock_pipeline(
    model: PipelineModel, stock: Any, references: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same noise levels, the same states after each step, the text embedded by each side."""
    most = {"FluxKontextPipeline": 1}.get(type(stock).__name__, 2 if model.takes_references else 0)
    if references > most:
        pytest.skip("diffusers' pipeline takes no such pictures")
    small_references(monkeypatch)
    images = pictures(references)
    condition = model.looking_at(PROMPT, seen(model, images))
    pipeline = drawing(stock, references)
    given = text_for(stock, condition) | ({"image": images} if references else {})
    theirs = stock_states(pipeline, seed=3, **given)
    assert torch.equal(model.sigmas(STEPS, HEIGHT, WIDTH), pipeline.scheduler.sigmas)
    ours = our_states(model, condition, seed=3)
    assert len(ours) == len(theirs) == STEPS
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine, other, 1e-5)
    assert float((ours[-1] - latents(model, seed=3)).abs().max()) > 0.1


@pytest.mark.parametrize("size", [(256, 256), (512, 768), (1024, 1024)])
@pytest.mark.parametrize("steps", [4, 28])
def test_the_shift_of_larger_pictures_is_the_stock_one(
    model: PipelineModel, stock: Any, size: tuple[int, int], steps: int
) -> None:
    """Dynamic shifts depend on the number of tokens, and FLUX.2's on the number of steps too."""
    tokens = (size[0] // 16) * (size[1] // 16)
    config = stock.scheduler.config
    mu = (
        compute_empirical_mu(tokens, steps)
        if type(stock).__name__.startswith("Flux2")
        else calculate_shift(
            tokens,
            config.base_image_seq_len,
            config.max_image_seq_len,
            config.base_shift,
            config.max_shift,
        )
    )
    start = torch.linspace(1.0, 1 / steps, steps, dtype=torch.float64).tolist()
    stock.scheduler.set_timesteps(sigmas=start, mu=mu)
    assert_close(model.sigmas(steps, *size), stock.scheduler.sigmas, 1e-6)


def test_encoding_is_the_stock_pipelines_and_decoding_its_inverse(
    model: PipelineModel, stock: Any
) -> None:
    images = torch.cat([in_range(picture) for picture in pictures(3)[::2]])
    kind = ENCODING.get(type(stock).__name__, diffusers.FluxKontextPipeline)
    frames = images.unsqueeze(2) if kind is diffusers.QwenImageEditPlusPipeline else images
    stock.latent_channels = stock.vae.config.get("z_dim")
    with torch.no_grad():
        theirs = kind._encode_vae_image(stock, frames, None).flatten(2)
        trip = stock.vae.decode(stock.vae.encode(frames).latent_dist.mode()).sample
    ours = model.encode(images)
    assert_close(ours.flatten(2), theirs, 1e-5)
    # Latents that are divided and multiplied by their deviations are rounded on the way.
    assert_close(model.decode(ours), trip.reshape(images.shape).clamp(-1, 1), 3e-5)


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (128, 32)])
def test_sizes_of_latents_are_those_that_encoding_gives(
    model: PipelineModel, size: tuple[int, int]
) -> None:
    encoded = model.encode(normal(2, 3, *size).clamp(-1, 1))
    assert tuple(encoded.shape) == (2, *model.latent_shape(*size))
    assert model.image_size(encoded) == size
    assert model.decode(encoded).shape == (2, 3, *size)


def test_rows_of_a_batch_know_nothing_of_each_other(model: PipelineModel) -> None:
    x, sigmas = latents(model, 3), torch.tensor([0.9, 0.5, 0.1])
    condition = model.condition(PROMPT)
    count = 2 if model.takes_references else 0
    each = [latents(model, 3, seed=k) for k in range(5, 5 + count)]

    def velocity(rows: slice) -> torch.Tensor:
        looking = replace(condition, references=tuple(picture[rows] for picture in each))
        with torch.no_grad():
            return model.velocity(x[rows], sigmas[rows], looking, GUIDANCE)

    together = velocity(slice(None))
    alone = torch.cat([velocity(slice(k, k + 1)) for k in range(3)])
    assert_close(together, alone, 1e-5)
    assert float((together[0] - together[1]).abs().max()) > 0.01


@pytest.mark.parametrize("references", [0, 1])
def test_prompts_of_a_batch_know_nothing_of_each_other(
    model: PipelineModel, references: int
) -> None:
    if references and not model.takes_references:
        pytest.skip("it takes no pictures")
    prompts = [SHORT, LONG, ""]
    conditions = [model.condition(prompt) for prompt in prompts]
    ragged = len({one.prompt_embeds.shape[1] for one in conditions}) > 1
    assert ragged == model.architecture.startswith(("z-image", "qwen"))
    x, sigma = latents(model, 4), torch.tensor([0.8, 0.5, 0.3, 0.2])
    look = (latents(model, seed=9),) * references
    with torch.no_grad():
        together = model.velocity(
            x, sigma, replace(stacked(conditions, [1, 2, 1]), references=look), GUIDANCE
        )
        alone = [
            model.velocity(x[k, None], sigma[k, None], replace(one, references=look), GUIDANCE)
            for k, one in enumerate([conditions[0], conditions[1], conditions[1], conditions[2]])
        ]
    assert_close(together, torch.cat(alone), 1e-5)
    with torch.no_grad():
        other = model.velocity(x[:1], sigma[:1], replace(conditions[1], references=look), GUIDANCE)
    assert float((other - alone[0]).abs().max()) > 1e-4  # the prompt matters


def test_a_condition_has_the_tensors_that_estimates_are_made_of(model: PipelineModel) -> None:
    tensors = model.condition("").tensors()
    shapes = model.text_shapes()
    assert set(shapes) <= set(tensors)
    for name, shape in shapes.items():
        assert len(shape) == tensors[name].ndim
        if not model.architecture.startswith(("z-image", "qwen")):  # the tiny tokenizer's are more
            assert tuple(tensors[name].shape) == shape


def test_nothing_needs_torchvision(model: PipelineModel) -> None:
    with torch.no_grad():
        model.velocity(latents(model), torch.tensor(0.5), model.condition(PROMPT), GUIDANCE)
    assert "torchvision" not in sys.modules


def test_float16_is_refused_or_warned_of_where_it_fails(
    folder: Path, model: PipelineModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pairedit_sdk"):
        if model.architecture.startswith("z-image"):
            with pytest.raises(UsageError, match=r"does not work in fp16.*black.*bf16"):
                PipelineModel.load(str(folder), device="cpu", precision="fp16")
            return
        half = PipelineModel.load(str(folder), device="cpu", precision="fp16")
    warned = [record.getMessage() for record in caplog.records if record.name == "pairedit_sdk"]
    assert half.dtype == torch.float16
    assert len(warned) == model.architecture.startswith("qwen")
    assert all("in fp16: large activations are clipped" in message for message in warned)


def test_parts_that_move_give_the_same(folder: Path, model: PipelineModel) -> None:
    """As on a GPU, with main memory in its place."""
    moving = PipelineModel.load(str(folder), device="cpu", offload=True)
    moving._placement._moves = True
    moving._placement._ready = moving._placement._vae_ready = False
    results = []
    for one in (model, moving):
        condition = one.condition(PROMPT)
        z = one.encode(in_range(pictures(1)[0]))
        with torch.no_grad():
            v = one.velocity(z, torch.tensor(0.5), condition, GUIDANCE)
        results.append(one.decode(z + v))
    assert torch.equal(*results)
    assert moving._text.loaded is None  # gone before the transformer came
