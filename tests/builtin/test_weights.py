"""The shipped base: stock diffusers runs it, it is small, and it knows what it draws."""

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from pairedit_sdk import Edit, edit_image, generate, load_base
from pairedit_sdk.builtin.build.autoencoder import reconstruction_psnr
from pairedit_sdk.builtin.build.report import caption_hits
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.builtin.faces.numbered import face_at, pictures_of
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.models.folders import mini_folder

PROMPT = "a person with red hair and round glasses"


@pytest.fixture(scope="module")
def base():
    return load_base("mini", device="cpu")


@pytest.fixture(scope="module")
def pipeline():
    pipe = FluxPipeline.from_pretrained(mini_folder(), dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _difference(one, two):
    return np.abs(np.asarray(one, np.int16) - np.asarray(two, np.int16)).max()


def test_all_weights_together_are_small():
    assert sum(f.stat().st_size for f in mini_folder().rglob("*") if f.is_file()) <= 32e6


def test_stock_diffusers_generates_the_same_picture(base, pipeline):
    stock = pipeline(
        PROMPT, height=128, width=128, num_inference_steps=28, guidance_scale=3.5,
        max_sequence_length=32, generator=torch.Generator("cpu").manual_seed(4),
    ).images[0]  # fmt: skip
    assert _difference(stock, generate(base, PROMPT, seed=4)) <= 1


def test_the_shipped_edit_in_stock_diffusers(base, pipeline):
    path = examples_dir() / "edits" / "hat.safetensors"
    pipeline.load_lora_weights(path, adapter_name="hat")

    def switch(pipe, step, timestep, kwargs):
        pipe.set_adapters("hat", adapter_weights=0.9 if step + 1 >= 14 else 0.0)
        return kwargs

    pipeline.set_adapters("hat", adapter_weights=0.0)
    stock = pipeline(
        PROMPT, height=128, width=128, num_inference_steps=28, guidance_scale=3.5,
        max_sequence_length=32, generator=torch.Generator("cpu").manual_seed(4),
        callback_on_step_end=switch,
    ).images[0]  # fmt: skip
    pipeline.unload_lora_weights()
    ours = generate(base, PROMPT, Edit.load(path) @ 0.9, seed=4)
    assert _difference(stock, ours) <= 2
    assert _difference(ours, generate(base, PROMPT, seed=4)) > 20


def test_new_faces_survive_the_autoencoder(pipeline):
    faces = [face_at(i, "test") for i in range(32)]
    assert reconstruction_psnr(pipeline.vae, pictures_of(faces)) >= 32


def test_an_edit_changes_a_face_and_scale_0_does_not(base):
    face = face_at(3, "test").with_(mouth="neutral", beard="none").draw()
    hat = Edit.load(examples_dir() / "edits" / "hat.safetensors")
    assert edit_image(base, face, hat @ 0).tobytes() == face.tobytes()
    assert _difference(face, edit_image(base, face, hat)) > 20


def test_prompts_are_followed(base):
    """Far above chance, which is about 1.5 of 8; the goal itself is a slow test."""
    classifier = load_attribute_classifier()
    right = 0
    for seed, (prompt, attribute, value) in enumerate(
        [
            ("a person with a blue background", "background", "blue"),
            ("a person with a yellow background", "background", "yellow"),
            ("a person with round glasses", "glasses", "round"),
            ("a person with sunglasses", "glasses", "sunglasses"),
            ("a person with dark skin", "skin", "dark"),
            ("a person with a red shirt", "shirt_color", "red"),
            ("a person with a bald head", "hair_style", "bald"),
            ("a pencil sketch of a person", "style", "sketch"),
        ]
    ):
        image = generate(base, prompt, seed=seed, steps=14)
        right += classifier.predict(to_tensor(image))[attribute][0] == value
    assert right >= 6


@pytest.mark.slow
def test_the_base_reaches_its_goals(base, pipeline):
    """32 dB on new faces, and nine of ten attributes that 64 random captions name are right."""
    faces = [face_at(i, "test") for i in range(96)]
    assert reconstruction_psnr(pipeline.vae, pictures_of(faces)) >= 32
    every = [hit for hits in caption_hits(base, 64)[0].values() for hit in hits]
    assert sum(every) / len(every) >= 0.9
