"""Where and how a model is held."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from pairedit_sdk import TrainConfig, train
from pairedit_sdk.errors import BaseModelError, UsageError
from pairedit_sdk.lora.adapters import is_bare
from pairedit_sdk.models import precision
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.training.processes import gradient_scale


@pytest.fixture
def cudnn_attention():
    """Switched on, and afterwards as it was."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield torch.backends.cuda.cudnn_sdp_enabled
    torch.backends.cuda.enable_cudnn_sdp(before)


def test_cudnn_attention_is_switched_off_for_gpus_alone(cudnn_attention):
    precision.avoid_cudnn_attention(torch.device("cpu"))
    assert cudnn_attention()
    precision.avoid_cudnn_attention(torch.device("cuda:1"))
    assert not cudnn_attention()


@pytest.mark.parametrize(
    ("gpus", "several", "expected"),
    [(False, True, "cpu"), (True, False, "cuda"), (True, True, "cuda:3")],
)
def test_a_process_of_several_has_a_gpu_of_its_own(monkeypatch, gpus, several, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setenv("WORLD_SIZE", "4" if several else "1")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(precision.choose_device(None)) == expected


@pytest.mark.parametrize("method", ["torchao", "gguf", "bitsandbytes"])
@pytest.mark.parametrize("asked", ["auto", "nf4"])
def test_weights_that_are_quantised_already_are_refused(tiny_folder, tmp_path, method, asked):
    folder = tmp_path / "quantised"
    shutil.copytree(tiny_folder, folder)
    path = folder / "transformer" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": method}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BaseModelError, match=rf"stored quantised, by {method}.*--precision nf4"):
        PipelineModel.load(str(folder), device="cpu", precision=asked)


#: How far the velocity of a model with random weights may be from that in 32 bits, relative.
CLOSE = {"fp32": 0.0, "bf16": 0.05, "fp16": 0.005, "int8": 0.03, "nf4": 0.2}


@pytest.fixture(scope="module")
def exact(tiny_folder):
    return velocity(PipelineModel.load(str(tiny_folder), device="cpu"))


def velocity(base):
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return base.velocity(x, torch.tensor(0.5), base.condition(""), 3.5).float()


@pytest.mark.parametrize("name", CLOSE)
def test_a_base_in_every_precision_is_close_to_the_one_in_32_bits(tiny_folder, exact, name):
    base = PipelineModel.load(str(tiny_folder), device="cpu", precision=name)
    assert base.precision == name
    off = float((velocity(base) - exact).norm() / exact.norm())
    assert off <= CLOSE[name]
    assert off > 0 or name == "fp32"
    quantized = sum(
        type(m).__module__.startswith("bitsandbytes") for m in base.transformer.modules()
    )
    assert (quantized > 0) == (name in precision.QUANTIZED)
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.isfinite(base.decode(base.encode(picture))).all()


@pytest.mark.parametrize("name", CLOSE)
def test_an_edit_can_be_learned_in_every_precision(tiny_folder, face_pairs, name):
    base = PipelineModel.load(str(tiny_folder), device="cpu", precision=name)
    config = TrainConfig(steps=3, rank=2, resolution=32)
    pairs = face_pairs({"glasses": "round"}, 1, size=32)
    losses = []
    edit = train(
        base, pairs, config, name="x", on_step=lambda s: losses.append(s.semantic_loss)
    )  # fmt: skip
    assert edit.info.precision == name
    assert all(layer.up.abs().max() > 0 for layer in edit.layers.values())
    assert is_bare(base.transformer)


@pytest.mark.parametrize("name", precision.QUANTIZED)
def test_a_pass_without_gradients_takes_none_from_those_that_follow(tiny_folder, name):
    base = PipelineModel.load(str(tiny_folder), device="cpu", precision=name)
    before = velocity(base)
    x = torch.randn(1, 16, 8, 8, requires_grad=True)
    base.velocity(x, torch.tensor(0.5), base.condition(""), 3.5).sum().backward()
    assert x.grad.abs().max() > 0
    assert torch.equal(velocity(base), before)


def test_an_unknown_precision_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match="one of auto, fp32, bf16, fp16, nf4, int8"):
        precision.choose_precision("fp8", torch.device("cpu"))


def test_a_lora_can_be_learned_in_16_bits(tiny_model, face_pairs):
    pairs = face_pairs({"glasses": "round"}, 1, size=32)
    config = TrainConfig(steps=3, rank=2, resolution=32)
    found = {
        kind: train(tiny_model, pairs, replace(config, lora_precision=kind), name="x")
        for kind in ("fp32", "bf16")
    }
    for name, layer in found["bf16"].layers.items():
        # alpha / rank is a power of two, so what was bf16 still is.
        assert torch.equal(layer.up, layer.up.bfloat16().float())
        assert not torch.equal(layer.up, found["fp32"].layers[name].up)


def test_gradients_are_larger_in_fp16_and_the_same_everywhere_else():
    assert gradient_scale(torch.float16, 65536) == 65536
    assert gradient_scale(torch.float16, 100) == 64
    assert gradient_scale(torch.bfloat16, 65536) == gradient_scale(torch.float32, 65536) == 1
