"""What a training would take, rehearsing one, and running out of memory."""

import json
import re

import pytest
import torch

SMALL = ("--set", "rank=2", "--set", "resolution=32")


def test_an_estimate_is_a_table_and_a_time(pairedit, tiny_folder):
    result = pairedit("estimate", "--base", str(tiny_folder), *SMALL, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    rows = dict(line.rsplit("   ", 1) for line in result.stdout.splitlines() if "   " in line)
    assert {name.strip() for name in rows} == {
        "Transformer's weights", "LoRAs and optimiser", "Activations and gradients",
        "Autoencoder at work", "Text encoders, before the rest", "Before there is a model",
        "Memory at the peak", "Disk for the run",
    }  # fmt: skip
    assert "a step on this machine's cpu" in result.stdout


def test_an_estimate_for_a_gpu_needs_none(pairedit, tiny_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ("estimate", "--base", str(tiny_folder), *SMALL, "--device", "cuda")
    assert "TFLOP a step; no GPU is here that could be timed." in pairedit(*words).stdout
    said = json.loads(pairedit(*words, "--json", "--precision", "nf4").stdout)
    assert said["device"] == "cuda"
    assert said["seconds"] is None
    whole = json.loads(pairedit(*words, "--json").stdout)
    assert said["transformer"] < whole["transformer"]
    edit = json.loads(pairedit(*words, "--json", "--for", "edit").stdout)
    assert (edit["for"], edit["disk"]) == ("edit", 0)


def test_an_estimate_of_a_shipped_shape_needs_no_network_and_no_weights(pairedit):
    result = pairedit("estimate", "--base", "random/tiny", *SMALL, "--device", "cuda", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["peak"] > 0
    result = pairedit("estimate", "--base", "someone/another-model", *SMALL)
    assert result.exit_code == 2
    assert "Give a folder with model_index.json, the config.json of each part" in result.stderr


def test_a_rehearsal_says_what_it_took_and_keeps_nothing(pairedit, pairs, tiny_folder, tmp_path):
    there = sorted(tmp_path.rglob("*"))
    words = ("train", str(pairs), "--name", "glasses", "--base", str(tiny_folder), *SMALL)
    result = pairedit(*words, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "2 pairs" in result.stdout
    assert "2 steps went through" in result.stdout
    assert "Nothing was kept." in result.stdout
    said = json.loads(pairedit(*words, "--dry-run", "--json").stdout)
    assert said["peak"] > 0
    assert said["seconds_per_step"] > 0
    assert said["disk"] < said["disk_free"]
    assert sorted(tmp_path.rglob("*")) == there


def test_a_rehearsal_asks_for_no_words_and_says_that_a_training_will(
    pairedit, pairs, tiny_kontext_folder, monkeypatch
):
    def asked(*given, **named):
        raise AssertionError("words were asked for")

    monkeypatch.setattr("pairedit_sdk.training.words.words_of_latents", asked)
    words = ("train", str(pairs), "--name", "glasses", "--recipe", "mini-kontext", *SMALL)
    own = (*words, "--base", str(tiny_kontext_folder), "--dry-run")
    result = pairedit(*own, "--words", "a hat; a cap")
    assert result.exit_code == 0, result.stderr
    assert "Words:  2 phrases to ask, on top of that time." in result.stdout
    assert json.loads(pairedit(*own, "--no-words", "--json").stdout)["phrases"] == 0


def test_a_rehearsal_refuses_what_a_training_would(pairedit, pairs, tiny_folder, monkeypatch):
    words = ("train", str(pairs), "--name", "glasses", "--base", str(tiny_folder), "--dry-run")
    result = pairedit(*words, "--set", "rank=5000")
    assert result.exit_code == 2
    assert "rank is 5000, above the width of layer" in result.stderr
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    result = pairedit(*words, *SMALL)
    assert result.exit_code == 1
    assert "The run needs" in result.stderr
    assert "0 MB are free" in result.stderr


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_who_runs_out_of_memory_is_told_what_fits(pairedit, pairs, rooms, monkeypatch, error):
    def fail():
        raise error

    rooms.on_train = fail
    from pairedit_sdk.estimates import fitting
    from pairedit_sdk.estimates.needs import training_needs
    from pairedit_sdk.training.config import load_recipe

    settings = ["batch=8", "resolution=256"]
    needed = training_needs("mini", load_recipe("mini", settings), "cpu").peak
    monkeypatch.setattr(fitting, "total_memory", lambda device: int(needed * 0.95))
    given = [word for setting in settings for word in ("--set", setting)]
    result = pairedit("train", str(pairs), "--name", "new", *given)
    assert result.exit_code == 1
    assert "The machine ran out of memory. Expected about" in result.stderr
    assert "What fits: --set batch=1 --set accumulate=8 (" in result.stderr
    assert len(re.findall(r"[0-9.]+ [MG]B\)", result.stderr)) == 3
    monkeypatch.setattr(fitting, "total_memory", lambda device: 1000)
    result = pairedit("train", str(pairs), "--name", "new", *given)
    assert "Nothing smaller fits here" in result.stderr
