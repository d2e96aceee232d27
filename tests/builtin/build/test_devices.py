"""Every part's training step on another device than the CPU, and in half precision.

The other device is torch's "meta", which computes nothing, and so is everywhere. Like a GPU it
refuses to mix its tensors with the CPU's, and it refuses whatever would have to wait for a value.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from pairedit_sdk.builtin.build import (
    autoencoder,
    classifier,
    clip,
    flow,
    flow_data,
    kontext,
    kontext_data,
    loop,
    mini_kontext,
    parts,
    stages,
    text,
    turns,
)
from pairedit_sdk.builtin.build.assemble import text_tower
from pairedit_sdk.builtin.faces.attribute_classifier import AttributeClassifier
from pairedit_sdk.builtin.faces.numbered import change_at, face_at

MINUTE = 1 / 60  # a step, as the clock goes here
PICTURES = np.zeros((8, 128, 128, 3), np.uint8)


@pytest.fixture
def logged(monkeypatch):
    """The terms of the last step of each part, with a clock that advances by a second per look."""
    now = {"t": 0.0}
    terms = {}

    def tick():
        now["t"] += 1.0
        return now["t"]

    monkeypatch.setattr(loop.time, "monotonic", tick)
    monkeypatch.setattr(loop.Stage, "_log", lambda stage, last: terms.update({stage.name: last}))
    return terms


@pytest.fixture
def elsewhere(monkeypatch, logged):
    """Another device; there is no autocast on it, and nothing to be saved."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(loop.Stage, "save", lambda _: None)
    # Once per build, and it asks for values.
    for module in (flow_data, kontext_data):
        monkeypatch.setattr(module, "even_weights", lambda packed, _: torch.ones_like(packed[0]))
    yield "meta"
    for name, terms in logged.items():
        for term in terms.values():
            assert (term.device.type, term.dtype) == ("meta", torch.float32), name


def _faces():
    return [face_at(i) for i in range(8)]


def _changes():
    found = [change_at(i) for i in range(100)]
    pictures = np.zeros((100, 2, 128, 128, 3), np.uint8)
    return clip.Changes(pictures, [(a, b) for _, a, b in found], [name for name, _, _ in found])


def _all_on(module, device):
    return {tensor.device.type for tensor in (*module.parameters(), *module.buffers())} == {device}


def test_the_autoencoder(elsewhere, logged, tmp_path):
    vae = parts.autoencoder()
    for decoder_only in (False, True):
        autoencoder.train_autoencoder(
            vae, PICTURES, tmp_path, minutes=MINUTE, batch=2, device=elsewhere,
            decoder_only=decoder_only,
        )  # fmt: skip
    assert _all_on(vae, elsewhere)
    assert set(logged) == {"autoencoder", "decoder"}


def test_the_text_encoders(elsewhere, logged, tmp_path):
    tower, t5 = text_tower(parts.clip()), parts.t5()
    text.train_text(tower, t5, _faces(), tmp_path, minutes=MINUTE, batch=4, device=elsewhere)
    assert _all_on(tower, elsewhere)
    assert _all_on(t5, elsewhere)
    assert set(logged) == {"text"}


def test_the_image_tower(elsewhere, logged, tmp_path):
    model = parts.clip()
    clip.train_clip(model, _changes(), tmp_path, minutes=MINUTE, kinds=3, device=elsewhere)
    assert _all_on(model, elsewhere)
    assert set(logged) == {"clip"}


def test_the_classifier(elsewhere, logged, tmp_path):
    model, vae = AttributeClassifier(), parts.autoencoder().to(elsewhere)
    classifier.train_classifier(
        model, PICTURES, _faces(), tmp_path, minutes=MINUTE, batch=4, device=elsewhere,
        round_trip=lambda x: vae.decode(vae.encode(x).latent_dist.mode()).sample,
    )  # fmt: skip
    assert _all_on(model, elsewhere)
    assert set(logged) == {"attributes"}


def test_the_flow_model_and_its_guidance(elsewhere, logged, tmp_path):
    model = flow.CaptionedFlow(parts.transformer(64, 1, 1), parts.t5())
    latents, tower = torch.zeros(8, 16, 16, 16), text_tower(parts.clip())
    data = flow_data.FlowData(latents, _faces(), tower, 4, elsewhere)
    flow.train_flow(model, data, tmp_path, minutes=MINUTE)
    flow.distil_guidance(model, data, tmp_path, minutes=MINUTE)
    assert _all_on(model, elsewhere)
    assert _all_on(tower, elsewhere)
    assert set(logged) == {"flow", "guidance"}


@pytest.mark.parametrize("kind", list(turns.ROWS))
def test_the_kontext_model(elsewhere, logged, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(kontext_data, "turn_of", lambda *_: kind)
    model, teacher = (flow.CaptionedFlow(parts.transformer(64, 1, 1), parts.t5()) for _ in range(2))
    latents = torch.zeros(100, 2, 16, 16, 16, dtype=torch.float16)
    data = kontext_data.KontextData(latents, _changes(), text_tower(parts.clip()), 5, elsewhere)
    kontext.train_kontext(model, data, tmp_path, minutes=MINUTE, teacher=teacher)
    assert _all_on(model, elsewhere)
    assert _all_on(teacher, elsewhere)
    assert set(logged["kontext"]) == {"loss", kind}


def _trained(tmp_path):
    """A step of the autoencoder and one of the classifier, with the autoencoder in its way."""
    torch.manual_seed(0)
    pictures = np.random.default_rng(0).integers(0, 255, (8, 128, 128, 3), dtype=np.uint8)
    vae, model = parts.autoencoder(), AttributeClassifier()
    autoencoder.train_autoencoder(vae, pictures, tmp_path, minutes=MINUTE, batch=2)
    classifier.train_classifier(
        model, pictures, _faces(), tmp_path, minutes=MINUTE, batch=4,
        round_trip=lambda x: vae.decode(vae.encode(x).latent_dist.mode()).sample,
    )  # fmt: skip
    return vae, model


def test_half_precision_is_for_the_products_alone(logged, tmp_path, monkeypatch):
    _trained(tmp_path / "exact")
    exact = {
        (name, term): float(value.detach())
        for name, terms in logged.items()
        for term, value in terms.items()
    }
    for module in (autoencoder, classifier):
        monkeypatch.setattr(
            module, "half_precision", lambda _: torch.autocast("cpu", torch.bfloat16)
        )
    for module in _trained(tmp_path / "half"):
        assert {p.dtype for p in module.parameters()} == {torch.float32}
    for (name, term), value in exact.items():
        half = logged[name][term].detach()
        assert half.dtype == torch.float32
        assert float(half) != value
        assert float(half) == pytest.approx(value, rel=0.01)


def test_a_gpu_gets_larger_batches():
    for module in (autoencoder, classifier, text, mini_kontext):
        assert module.GPU_BATCH > module.BATCH
    assert clip.GPU_KINDS > clip.KINDS
    assert stages.GPU_FLOW_BATCH > stages.FLOW_BATCH
    assert [loop.on_cuda(device) for device in ("cuda", "cuda:1", "cpu")] == [True, True, False]
