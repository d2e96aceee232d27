"""What training a LoRWeB basis needs, told from configurations, against what it then takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pairedit_sdk.errors import BaseModelError, UsageError
from pairedit_sdk.estimates.basis_needs import basis_needs
from pairedit_sdk.estimates.fitting import as_options, needs_of, that_fit
from pairedit_sdk.estimates.passes import measured
from pairedit_sdk.lora.adapters import detach_all
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.mixture import Mixture
from pairedit_sdk.lorweb.recipes import BasisRecipe, load_basis_recipe
from pairedit_sdk.lorweb.rows import AnalogyRows
from pairedit_sdk.lorweb.trainer import BasisTask, _delta_network
from pairedit_sdk.models.encoder_shape import encoder_shape
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.models.meta import model_skeleton, transformer_skeleton
from pairedit_sdk.training.loop import make_optimizer

SMALL = BasisRecipe(
    count=4, rank=2, key_width=8, batch=2, resolution=32, guidance=0, precision="fp32",
    targets="blocks",
)  # fmt: skip


@pytest.fixture
def configs(tiny_family: Callable[[str], Path], tmp_path: Path) -> Callable[[str], str]:
    """A model's folder as it is before its weights are there."""

    def made(name: str) -> str:
        folder = tmp_path / name
        ignored = shutil.ignore_patterns("*.safetensors")
        shutil.copytree(tiny_family(name), folder, ignore=ignored, dirs_exist_ok=True)
        return str(folder)

    return made


@pytest.fixture
def small(tiny_clip_folder: Path) -> BasisRecipe:
    return SMALL.with_values(encoder=str(tiny_clip_folder))


def _task(folder: Path, config: BasisRecipe) -> BasisTask:
    """A training as ``train_basis`` begins it."""
    model = load_model(str(folder), device="cpu", precision="fp32")
    analogies = [
        Analogy(*(Image.new("RGB", (64, 64), colour) for colour in colours), "a")
        for colours in (("red", "green", "blue", "white"), ("white", "red", "green", "blue"))
    ]
    assert config.encoder is not None
    rows = AnalogyRows(model, load_encoder(config.encoder), analogies, config.settings)
    assert len([rows[k] for k in range(len(rows))]) == 2  # encoded now, and not in the step
    said = {prompt: model.condition(prompt) for prompt in ("", "a")}
    delta = _delta_network(rows, said[""])
    return BasisTask(Mixture(model, config.settings, len(rows[0].query), delta), rows, said)


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"layout": "sequence"}, {"layout": "alone", "delta_tokens": 2, "delta_width": 8},
        {"shared": True, "query": "grid", "lora_precision": "bf16"},
        {"gradient_checkpointing": True}, {"count": 0, "delta_tokens": 2, "delta_width": 8},
    ],
    ids=["grid", "sequence", "delta", "shared", "checkpointing", "delta-alone"],
)  # fmt: skip
@pytest.mark.parametrize("family", ["flux-kontext", "klein"])
def test_a_step_takes_what_was_told(
    tiny_family: Callable[[str], Path], configs: Callable[[str], str], small: BasisRecipe,
    family: str, changes: dict[str, Any],
) -> None:  # fmt: skip
    config = small.with_values(**changes)
    needs = basis_needs(configs(family), config, "cpu")
    task = _task(tiny_family(family), config)
    model = task.base
    model.set_gradient_checkpointing(config.gradient_checkpointing)
    try:
        trained = list(task.parameters.values())
        optimizer = make_optimizer(task)

        def step() -> None:
            for losses in task.losses(0, range(config.batch)):
                losses["loss"].backward()

        known = [*model.transformer.parameters(), *trained]
        real = measured(step, known)
        optimizer.step()
        states = [t for state in optimizer.state.values() for t in state.values() if t.numel() > 1]
    finally:
        detach_all(model.transformer)
        model.set_gradient_checkpointing(False)
    kept = sum(p.numel() * p.element_size() for p in trained)
    # One parameter of one number, if there is any, has states of one number.
    assert needs.lora == kept + sum(t.numel() * t.element_size() for t in states)
    assert needs.disk == (config.keep + 1) * needs.lora + 4 * sum(p.numel() for p in trained)
    assert needs.transformer == sum(
        p.numel() * p.element_size() for p in model.transformer.parameters()
    )
    encoder = load_encoder(str(config.encoder))
    assert needs.image_encoder == sum(p.numel() * 4 for p in encoder.model.parameters())
    assert needs.working == pytest.approx(real.peak, rel=0.05)


def test_an_encoder_s_sizes_are_those_of_its_features(tiny_clip_folder: Path) -> None:
    for name in ("mini", str(tiny_clip_folder)):
        whole, patches = load_encoder(name).features([Image.new("RGB", (40, 30))])
        shape = encoder_shape(name)
        assert (shape.embedding, shape.patches, shape.features) == (
            whole.shape[1], *patches.shape[1:],
        )  # fmt: skip
    # CLIP ViT-L/14's, without a network: 304 million weights.
    shape = encoder_shape("openai/clip-vit-large-patch14")
    assert (shape.embedding, shape.patches, shape.features) == (768, 256, 1024)
    assert shape.size == pytest.approx(304e6 * 4, rel=0.01)
    with pytest.raises(BaseModelError, match="The configuration of the image encoder nothing"):
        encoder_shape("nothing/of-this-name")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "layout"),
    [("FLUX.1-Kontext-dev", "grid"), ("FLUX.2-klein-base-4B", "sequence"),
     ("FLUX.2-klein-base-9B", "sequence")],
)  # fmt: skip
def test_the_published_sizes_are_counted_exactly(base: str, layout: str) -> None:
    name = f"black-forest-labs/{base}"
    config = load_basis_recipe("lorweb", [f"layout={layout}"])
    needs = basis_needs(name, config, "cuda")
    model = transformer_skeleton(name)
    layers = [
        model.get_submodule(target)
        for target in model_skeleton(name, torch.bfloat16).lora_targets("blocks")
    ]
    loras = sum(128 * (int(one.in_features) + int(one.out_features)) for one in layers)  # type: ignore[arg-type]
    router = len(layers) * (128 * 3 * 768 + 32 * 128)
    assert needs.lora == 6 * (loras + router)  # 4 bytes each, and 2 of 8-bit AdamW's


def test_each_saving_saves(configs: Callable[[str], str], small: BasisRecipe) -> None:
    name = configs("flux-kontext")

    def peak(device: str = "cuda", **changes: Any) -> int:
        return basis_needs(name, small.with_values(**{"batch": 32, **changes}), device).peak

    assert peak(layout="alone") < peak(layout="sequence") < peak()
    assert peak(batch=8) < peak(batch=16) < peak()
    assert peak(gradient_checkpointing=True) < peak()
    assert peak(precision="nf4") < peak(precision="int8") < peak(precision="bf16") < peak()
    assert peak(optimizer="adamw8bit") < peak()
    one = basis_needs(name, small, "cuda")
    four = basis_needs(name, small.with_values(accumulate=4), "cuda")
    assert (four.flops, four.peak) == (4 * one.flops, one.peak)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_ways_to_fit_do_fit(configs: Callable[[str], str], small: BasisRecipe, device: str) -> None:
    name, config = configs("flux-kontext"), small.with_values(batch=8, resolution=256)
    needs = needs_of(name, config, device)
    ways = that_fit(name, config, device, needs.peak - 1)
    assert ways[0][0] == {"batch": 1, "accumulate": 8}
    for change, fits in ways:
        assert fits == basis_needs(name, config.with_values(**change), device)
        assert fits.peak < needs.peak
    change = {"layout": "sequence", "precision": "nf4"}
    assert as_options(change, BasisRecipe) == "--set layout=sequence --set precision=nf4"


def test_what_does_not_fit_the_model_is_said(
    configs: Callable[[str], str], small: BasisRecipe
) -> None:
    with pytest.raises(BaseModelError, match="takes no condition images"):
        basis_needs(configs("flux"), small, "cpu")
    with pytest.raises(UsageError, match=r"count . rank is 80, above the width"):
        basis_needs(configs("klein"), small.with_values(count=40), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", ["", "layout=sequence lora.targets=attention", "gradient_checkpointing=true"]
)
def test_the_peak_of_a_process_is_within_15_per_cent(tmp_path: Path, changes: str) -> None:
    run = [sys.executable, "-m", "pairedit_sdk.cli"]
    drawn = ("--each", "2", "--change", "hat=beanie", "--change", "style=night", "-q")
    subprocess.run([*run, "lorweb", "draw", str(tmp_path / "data"), *drawn], check=True)
    words = ["count=8", "lora.rank=4", "steps=3", *changes.split()]
    settings = [word for one in words for word in ("--set", one)]
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    train = ["lorweb", "train", str(tmp_path / "data"), "--name", "x", "-q", "--library"]
    command = [sys.executable, "-c", code, *run, *train, str(tmp_path / "edits"), *settings]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    estimate = [*run, "estimate", "--for", "lorweb", "--json", "--device", "cpu", *settings]
    said = subprocess.run(estimate, check=True, capture_output=True, text=True).stdout
    assert json.loads(said)["peak"] == pytest.approx(peak, rel=0.15)
