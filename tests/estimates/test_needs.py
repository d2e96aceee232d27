"""What a training needs, told without loading anything, against what it then takes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from pairedit_sdk import TrainConfig, load_base
from pairedit_sdk.estimates.fitting import as_options, that_fit
from pairedit_sdk.estimates.needs import editing_needs, training_needs
from pairedit_sdk.estimates.passes import measured
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.lora.adapters import detach_all
from pairedit_sdk.training.branches import Branches

SMALL = TrainConfig(rank=4, resolution=64)


@pytest.fixture
def configs(tiny_folder, tmp_path):
    """A model's folder as it is before its weights are there."""
    folder = tmp_path / "configs"
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return str(folder)


def stored(module):
    """Bytes of a module's weights, and of the scales beside quantised ones."""
    total = 0
    for weight in module.parameters():
        total += weight.numel() * weight.element_size()
        if getattr(weight, "quant_state", None) is not None:
            total += weight.quant_state.absmax.numel() * 4
        if getattr(weight, "SCB", None) is not None:
            total += weight.SCB.numel() * 4
    return total


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "nf4", "int8"])
def test_the_weights_are_as_large_as_they_then_are(tiny_folder, configs, precision):
    base = load_base(str(tiny_folder), device="cpu", precision=precision)
    needs = training_needs(configs, replace(SMALL, precision=precision), "cpu")
    assert needs.transformer == pytest.approx(stored(base.transformer), rel=0.02)
    base.condition("a person")  # the empty prompt's embeddings are kept, and load nothing
    assert needs.text_encoders == sum(map(stored, base._text.loaded.values()))


@pytest.mark.parametrize("change", [{}, {"batch": 3}, {"gradient_checkpointing": True}])
def test_a_step_takes_what_was_told(tiny_model, configs, change):
    config = replace(SMALL, **change)
    branches = Branches(tiny_model, config, tiny_model.condition(""))
    tiny_model.set_gradient_checkpointing(config.gradient_checkpointing)
    x = torch.randn(config.batch, *tiny_model.latent_shape(64, 64))
    sigma = torch.full((config.batch,), 0.5)

    def step():
        errors = branches.velocities([x, x], sigma, [0.0, 1.0], x)
        torch.autograd.backward([torch.stack([e.square().mean() for e in errors]).sum()])

    real = measured(step, [*tiny_model.transformer.parameters(), x, sigma])
    detach_all(tiny_model.transformer)
    needs = training_needs(configs, config, "cpu")
    assert needs.working == pytest.approx(real.peak, rel=0.01)
    # torch counts no arithmetic for the attention that it uses on a CPU.
    assert real.flops < needs.flops < 1.25 * real.flops


def test_each_saving_saves(configs):
    # With a small batch the encoding would take more than the steps that follow.
    def peak(device="cuda", **changes):
        return training_needs(configs, replace(SMALL, **{"batch": 64, **changes}), device).peak

    assert peak(gradient_checkpointing=True) < peak()
    assert peak(batch=16) < peak(batch=32) < peak()
    assert peak(precision="nf4") < peak(precision="int8") < peak() == peak(precision="bf16")
    assert peak() < peak(precision="fp32")
    assert peak(optimizer="adamw8bit") < peak()
    assert peak(lora_precision="bf16") < peak()
    assert peak(resolution=32) < peak()
    assert peak(content_lora=False) < peak()


def test_editing_needs_less_than_training_and_least_with_offload(configs):
    large = replace(SMALL, resolution=512)
    edit = editing_needs(configs, large, "cuda")
    assert edit.peak < training_needs(configs, large, "cuda").peak
    assert edit.disk == 0
    assert editing_needs(configs, replace(large, offload=True), "cuda").peak <= edit.peak


def test_accumulating_takes_time_and_no_memory(configs):
    one = training_needs(configs, SMALL, "cuda")
    four = training_needs(configs, replace(SMALL, accumulate=4), "cuda")
    assert four.flops == 4 * one.flops
    assert four.peak == one.peak


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_ways_to_fit_do_fit_and_the_gentlest_comes_first(configs, device):
    config = replace(SMALL, batch=8, resolution=256)
    needs = training_needs(configs, config, device)
    ways = that_fit(configs, config, device, needs.peak - 1)
    assert ways[0][0] == {"batch": 1, "accumulate": 8}
    assert 2 <= len(ways) <= 3
    for change, fits in ways:
        assert fits == training_needs(configs, replace(config, **change), device)
        assert fits.peak < needs.peak
    # A little less room, and what only just fitted is named no more.
    tight = that_fit(configs, config, device, min(fits.peak for _, fits in ways))
    assert all(fits.peak <= min(f.peak for _, f in ways) for _, fits in tight)
    assert that_fit(configs, config, device, 0) == []


def test_a_change_is_said_as_options():
    change = {"batch": 1, "gradient_checkpointing": True, "precision": "nf4"}
    assert as_options(change) == (
        "--set batch=1 --set gradient_checkpointing=true --set precision=nf4"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ("mini-kontext", ""), ("mini", ""), ("mini", "batch=16"), ("mini", "resolution=256"),
        ("mini", "resolution=512"), ("mini", "batch=16 resolution=256"),
        ("mini", "batch=16 resolution=256 gradient_checkpointing=true"),
        (
            "mini",
            "objective=pairedit content_lora=true noising=content-preserving lag=0 lead=0 batch=4",
        ),
        ("mini", "precision=nf4"),
    ],
)  # fmt: skip
def test_the_peak_of_a_process_is_within_15_per_cent(tmp_path, base, changes):
    pairs = examples_dir() / "pairs" / "glasses"
    words = ["train", str(pairs), "--name", "x", "--library", str(tmp_path), "-q"]
    settings = [w for s in ["steps=3", *changes.split()] for w in ("--set", s)]
    settings += ["--base", base]
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'pairedit_sdk.cli', *sys.argv[1:]], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    command = [sys.executable, "-c", code, *words, *settings]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    command = [sys.executable, "-m", "pairedit_sdk.cli", "estimate", "--json", *settings]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(said)["peak"] == pytest.approx(peak, rel=0.15)
