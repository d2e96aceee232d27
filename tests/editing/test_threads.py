"""Several threads with one model: every picture is the one that a single thread makes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pairedit_sdk.editing.edit_image import edit_image, sweep
from pairedit_sdk.editing.edit_latents import changed_alone, edit_latents
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.images.image import to_image
from pairedit_sdk.lora.adapters import is_bare
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train

THREADS, EDITS = 8, 3


@pytest.fixture(scope="module")
def model(tiny_folder):
    from pairedit_sdk.models.loading import load_model

    return load_model(str(tiny_folder), device="cpu")


def _edit(model, seed):
    """A random edit that changes much."""
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for name in model.lora_targets("attention"):
        module = model.transformer.get_submodule(name)
        down = torch.randn(2, module.in_features, generator=generator) * 0.3
        layers[name] = LoraLayer(down, torch.randn(module.out_features, 2, generator=generator))
    about = {"base": model.name, "architecture": model.architecture}
    info = EditInfo(name=f"e{seed}", base_fingerprint=model.fingerprint, resolution=32, **about)
    return Edit(layers, info)


@pytest.fixture(scope="module")
def edits(model):
    return [_edit(model, seed) for seed in range(EDITS)]


@pytest.fixture(scope="module")
def picture():
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return to_image(noise * 2 - 1)


def _same(found, wanted):
    return np.array_equal(np.asarray(found), np.asarray(wanted))


@pytest.mark.parametrize("settings", [{"n_max": 2}, {"method": "rf-inversion"}])
def test_eight_threads_get_what_one_gets(model, edits, picture, settings):
    """Glasses were asked for and a hat came back."""

    def edited(edit, seed):
        return edit_image(model, picture, edits[edit], steps=2, seed=seed, **settings)

    alone = {(edit, seed): edited(edit, seed) for edit in range(EDITS) for seed in range(2)}
    assert not _same(alone[0, 0], alone[1, 0])
    asked = [
        [((thread + k) % EDITS, thread % 2) for k in range(EDITS)] for thread in range(THREADS)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda row: [edited(*one) for one in row], asked))
    for row, made in zip(asked, found, strict=True):
        assert all(_same(one, alone[job]) for job, one in zip(row, made, strict=True))
    assert is_bare(model.transformer)


def test_threads_that_do_different_things(model, edits, picture, face_pairs):
    """Editing, drawing, sweeping and training at once, each as if it were alone."""
    x = torch.randn(2, *model.latent_shape(32, 32), generator=torch.Generator().manual_seed(2))
    config = TrainConfig(steps=2, rank=2, sigma_count=4, resolution=32, batch=1)
    pairs = face_pairs({"hat": "beanie"}, 1, size=64)

    def trained():
        edit = train(model, pairs, config, name="hat")
        return torch.cat([layer.up.flatten() for layer in edit.layers.values()])

    jobs = {
        "edit": lambda: edit_image(model, picture, edits[0], steps=2, n_max=2),
        "sweep": lambda: np.stack(
            sweep(model, picture, edits[1], [0.5, 1.0], steps=2, n_max=2)
        ),
        "latents": lambda: edit_latents(model, x, edits[2], steps=2, n_max=2),
        "alone": lambda: changed_alone(model, x[:1], edits[:2]),
        "generate": lambda: generate(model, edits=edits[0], steps=3, width=32, height=32),
        "plain": lambda: generate(model, steps=3, width=32, height=32),
        "train": trained,
    }  # fmt: skip
    alone = {name: job() for name, job in jobs.items()}
    with ThreadPoolExecutor(len(jobs)) as pool:
        begun = {name: pool.submit(job) for name, job in jobs.items()}
        for name, one in begun.items():
            assert _same(one.result(timeout=60), alone[name]), name


def test_a_training_has_the_model_until_it_is_done(model, edits, picture, face_pairs):
    """An edit that is asked for meanwhile waits, and is no part of the training."""
    config = TrainConfig(steps=3, rank=2, sigma_count=4, resolution=32)
    alone = edit_image(model, picture, edits[0], steps=2, n_max=2)
    done, order = [], []
    with ThreadPoolExecutor(1) as pool:

        def step(info):
            if info.step == 1:
                done.append(pool.submit(edit_image, model, picture, edits[0], steps=2, n_max=2))
                done[0].add_done_callback(lambda _: order.append("edited"))
            order.append(info.step)

        pairs = face_pairs({"hat": "beanie"}, 1, size=64)
        train(model, pairs, config, name="hat", on_step=step)
        assert _same(done[0].result(timeout=60), alone)
    assert order == [1, 2, 3, "edited"]
