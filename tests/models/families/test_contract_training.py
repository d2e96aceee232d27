"""What every family keeps of training: an edit is learned, saved and used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.lora.adapters import detach_all
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.pairs.pair_set import PairSet
from pairedit_sdk.training.branches import Branches
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train
from tests.models.families.contract import normal

SIDE = 64
#: Few steps of an objective whose target is far off, so that even random weights learn.
COMMON = {
    "steps": 6, "batch": 4, "resolution": SIDE, "rank": 4, "alpha": None, "lr": 1e-2,
    "objective": "difference", "content_lora": False, "noising": "standard", "sigma_count": 8,
    "sigma_sampling": "stratified", "edit_steps": 4,
}  # fmt: skip


def pair() -> PairSet:
    """Two pictures that differ everywhere in one way, which few steps can teach."""
    before, after = (Image.new("RGB", (SIDE, SIDE), c) for c in ((230, 40, 30), (20, 200, 240)))
    return PairSet.from_images([(before, after)])


@torch.no_grad()
def loss(
    model: PipelineModel, pairs: PairSet, config: TrainConfig, layers: dict[str, LoraLayer]
) -> float:
    """The training's loss on draws that it has not seen, with these layers or none."""
    latents = encode_pairs(model, pairs, config.resolution)
    branches = Branches(model, config, model.condition(""))
    try:
        for name, layer in layers.items():
            branches.parameters[f"semantic/{name}.lora_A"].copy_(layer.down)
            branches.parameters[f"semantic/{name}.lora_B"].copy_(layer.up)
        return sum(
            float(losses.semantic)
            for draw in range(100, 104)
            for losses in branches.losses(latents, draw)
        )
    finally:
        detach_all(model.transformer)


@pytest.mark.parametrize("reference", ["none", "before"])
def test_training_lowers_the_loss_and_the_edit_edits(
    model: PipelineModel, reference: str, tmp_path: Path
) -> None:
    if reference == "before" and not model.takes_references:
        pytest.skip("it takes no pictures")
    config = TrainConfig(**COMMON, reference=reference)  # type: ignore[arg-type]
    pairs = pair()
    edit = train(model, pairs, config, name="colour")
    assert loss(model, pairs, config, edit.layers) < 0.99 * loss(model, pairs, config, {})
    assert edit.info.architecture == model.architecture
    assert edit.info.editor.reference == (reference == "before")
    again = Edit.load(edit.save(tmp_path / "edit.safetensors"))
    assert set(again.layers) == set(model.lora_targets(config.targets))
    x = model.encode(normal(1, 3, SIDE, SIDE).clamp(-1, 1))
    assert torch.equal(edit_latents(model, x, again @ 0.0), x)
    edited = edit_latents(model, x, again)
    assert edited.shape == x.shape
    assert bool(edited.isfinite().all())
    assert float((edited - x).abs().max()) > 1e-3


def test_training_on_a_distilled_model_is_warned_of(
    model: PipelineModel, caplog: pytest.LogCaptureFixture
) -> None:
    config = TrainConfig(checkpoint_every=0, preview_every=0).with_values(**COMMON | {"steps": 1})
    train(model, pair(), config, name="e")
    assert ("was distilled" in caplog.text) == model.is_distilled
