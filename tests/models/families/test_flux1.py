"""The model against stock diffusers, and what it says when something is missing."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from pairedit_sdk.editing.generate import generate
from pairedit_sdk.errors import BaseModelError, UsageError
from pairedit_sdk.flow.solvers import euler
from pairedit_sdk.models.loading import load_base
from pairedit_sdk.models.tokens import pack, position_ids, unpack


@pytest.fixture(scope="module")
def pipeline(tiny_folder):
    pipe = FluxPipeline.from_pretrained(tiny_folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _stock(pipeline, prompt, seed, **options):
    return pipeline(
        prompt, height=128, width=128, num_inference_steps=6, guidance_scale=2.5,
        max_sequence_length=32, generator=torch.Generator("cpu").manual_seed(seed), **options,
    ).images  # fmt: skip


def test_generate_gives_stock_diffusers_picture(tiny_model, pipeline):
    prompt = "a person with red hair and round glasses"
    stock = np.asarray(_stock(pipeline, prompt, 3)[0], np.int16)
    ours = np.asarray(generate(tiny_model, prompt, seed=3, steps=6, guidance=2.5), np.int16)
    assert np.abs(stock - ours).max() <= 1


@pytest.mark.parametrize("negative", ["", "a person with a hat"])
def test_classifier_free_guidance_is_the_pipelines(tiny_model, pipeline, monkeypatch, negative):
    prompt = "an old person with round glasses"
    plain = _stock(pipeline, prompt, 7, output_type="latent")
    asked = {"negative_prompt": negative, "true_cfg_scale": 4.0, "output_type": "latent"}
    stock = _stock(pipeline, prompt, 7, **asked)
    drawn = []
    decode = tiny_model.decode
    monkeypatch.setattr(tiny_model, "decode", lambda x: drawn.append(x) or decode(x))
    generate(tiny_model, prompt, seed=7, steps=6, guidance=2.5, cfg=4.0, negative_prompt=negative)
    assert torch.allclose(pack(drawn[0]), stock, atol=1e-5)
    assert not torch.allclose(plain, stock, atol=1e-2)


def test_sigmas_are_the_pipelines_own(tiny_model, pipeline):
    _stock(pipeline, "", 0)
    assert torch.equal(tiny_model.sigmas(6, 128, 128), pipeline.scheduler.sigmas)


def test_velocity_and_euler_give_the_pipelines_latents(tiny_model, pipeline):
    stock = _stock(pipeline, "", 5, output_type="latent")
    x = torch.randn((1, 16, 16, 16), generator=torch.Generator("cpu").manual_seed(5))
    condition = tiny_model.condition("")
    with torch.no_grad():
        ours = euler(
            x, tiny_model.sigmas(6, 128, 128),
            lambda z, sigma, step: tiny_model.velocity(z, sigma, condition, 2.5),
        )  # fmt: skip
    assert torch.allclose(pack(ours), stock, atol=1e-5)


def test_condition_is_the_pipelines_prompt_embedding(tiny_model, pipeline):
    embeds, pooled, _ = pipeline.encode_prompt("an old person", None, max_sequence_length=32)
    condition = tiny_model.condition("an old person")
    assert torch.allclose(condition.prompt_embeds, embeds, atol=1e-5)
    assert torch.allclose(condition.extras["pooled"], pooled, atol=1e-6)


def test_prompts_stay_known_when_the_text_encoders_are_released(tiny_model):
    first = tiny_model.condition("")
    tiny_model.release_text_encoders()
    assert tiny_model._text.loaded is None
    assert tiny_model.condition("") is first
    assert tiny_model._text.loaded is None


def test_packing_is_diffusers_and_reversible():
    latents = torch.randn(2, 16, 6, 4)
    stock = FluxPipeline._pack_latents(latents, 2, 16, 6, 4)
    assert torch.equal(pack(latents), stock)
    assert torch.equal(unpack(pack(latents), 6, 4), latents)
    ids = FluxPipeline._prepare_latent_image_ids(2, 3, 2, "cpu", torch.float32)
    assert torch.equal(position_ids(3, 2), ids)


def test_encode_takes_the_mode_and_the_vaes_shift_and_scale(tiny_model, pipeline):
    images = torch.rand(1, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        z = pipeline.vae.encode(images).latent_dist.mode()
    assert torch.allclose(tiny_model.encode(images), (z - 0.1) * 0.7, atol=1e-5)


def test_the_fingerprint_tells_weights_apart_and_not_precisions(tiny_model, tiny_folder, tmp_path):
    again = load_base(str(tiny_folder), device="cpu", precision="bf16")
    assert again.fingerprint == tiny_model.fingerprint
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    from safetensors.torch import load_file, save_file

    file = next((other / "transformer").glob("*.safetensors"))
    tensors = load_file(file)
    tensors["proj_out.weight"] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    assert load_base(str(other), device="cpu").fingerprint != tiny_model.fingerprint


def test_nf4_on_a_cpu_is_near_the_full_precision(tiny_model, tiny_folder):
    quantised = load_base(str(tiny_folder), device="cpu", precision="nf4")
    x = torch.randn(1, 16, 16, 16)
    with torch.no_grad():
        v, q = (
            b.velocity(x, torch.tensor(0.5), b.condition(""), 3.5) for b in (tiny_model, quantised)
        )
    assert 0 < (v - q).norm() / v.norm() < 0.3
    assert type(quantised.transformer.transformer_blocks[0].attn.to_q).__name__ == "Linear4bit"


def _set(folder, part, **values):
    path = folder / part / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _broken(tiny_folder, tmp_path, change):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder, folder)
    change(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: shutil.rmtree(f / "vae"), "lacks vae"),
        (lambda f: (f / "model_index.json").unlink(), "has no model_index.json"),
        (lambda f: (f / "model_index.json").write_text("{"), "model_index.json is damaged"),
        (
            lambda f: (f / "model_index.json").write_text(
                json.dumps({"_class_name": "StableDiffusionPipeline"})
            ),
            "is a StableDiffusionPipeline. Expected one of FluxPipeline",
        ),
        (
            lambda f: next((f / "transformer").glob("*.safetensors")).write_bytes(b"short"),
            "cannot be loaded",
        ),
        (lambda f: _set(f, "transformer", num_layers="x"), "cannot be loaded"),
        (lambda f: _set(f, "transformer", num_layers=7), "cannot be loaded"),
        (lambda f: _set(f, "vae", sample_size="x"), "cannot be loaded"),
        (
            lambda f: (f / "scheduler" / "scheduler_config.json").write_text(
                '{"use_dynamic_shifting": true, "base_shift": "x"}'
            ),
            "cannot be loaded",
        ),
    ],
)
def test_a_broken_folder_is_named_with_what_to_do(tiny_folder, tmp_path, change, sentence):
    with pytest.raises(BaseModelError, match=sentence):
        load_base(_broken(tiny_folder, tmp_path, change), device="cpu")


def test_missing_weights_say_how_to_get_them_and_that_mini_needs_none():
    with pytest.raises(BaseModelError, match=r"hf download black-forest-labs/FLUX\.1-dev.*mini"):
        load_base("black-forest-labs/FLUX.1-dev")


def test_an_unknown_name_says_what_a_base_is():
    with pytest.raises(BaseModelError, match="There is no model 'minni'"):
        load_base("minni")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "tpu9"}, "'tpu9' is not a device"),
        ({"device": "cuda:7"}, "'cuda:7' is not on this machine"),
        ({"precision": "fp8"}, "Precision 'fp8'"),
    ],
)
def test_a_device_or_precision_that_is_not_there(tiny_folder, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        load_base(str(tiny_folder), **options)
