"""What every family keeps of LoRAs: scales row by row, gradients, and files for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.lora.adapters import activate, add_trainable, attached, detach_all, set_scales
from pairedit_sdk.lora.export import export
from pairedit_sdk.lora.reading import read_lora
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.pairs.latents import PairLatents
from pairedit_sdk.training.branches import Branches
from pairedit_sdk.training.config import TrainConfig
from tests.models.families.contract import (
    GUIDANCE,
    PROMPT,
    assert_close,
    drawing,
    latents,
    our_states,
    pictures,
    random_layers,
    seen,
    small_references,
    stock_states,
    text_for,
)

SETS = ("attention", "all", "blocks")
SCALES = torch.tensor([0.0, 1.0, -0.5, 0.25])
#: Forms of LoRA files, and what the architectures begin with that each can be written for.
FORMS = {"diffusers": "", "peft": "", "kohya": "flux-1"}


@pytest.mark.parametrize("which", SETS)
def test_each_row_has_its_own_scale(model: PipelineModel, which: str) -> None:
    x, sigmas = latents(model, 4), torch.tensor([0.9, 0.7, 0.4, 0.2])
    condition = model.condition(PROMPT)

    def velocity(scale: float | torch.Tensor) -> torch.Tensor:
        set_scales(model.transformer, {"lora": scale})
        return model.velocity(x, sigmas, condition, GUIDANCE)

    with torch.no_grad():
        bare = model.velocity(x, sigmas, condition, GUIDANCE)
        with attached(model.transformer, {"lora": random_layers(model, which)}):
            mixed = velocity(SCALES)
            whole = [velocity(scale) for scale in SCALES.tolist()]
    assert torch.equal(whole[0], bare)
    assert float((whole[1] - bare).abs().max()) > 0.01
    for row, expected in enumerate(whole):
        assert_close(mixed[row], expected[row], 1e-6)


def gradients(
    model: PipelineModel, prompt: str, which: str = "all"
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The velocity with a LoRA, and the gradients of its mean square."""
    layers, generator = random_layers(model, which), torch.Generator().manual_seed(0)
    added = add_trainable(model.transformer, "lora", list(layers), 2, generator)
    try:
        for name, layer in layers.items():
            added[f"{name}.lora_B"].data.copy_(layer.up)
        activate(model.transformer, ["lora"])
        x, sigma = latents(model, 2), torch.tensor([0.7, 0.3])
        v = model.velocity(x, sigma, model.condition(prompt), GUIDANCE)
        v.square().mean().backward()
        found = [parameter.grad for parameter in added.values()]
        return v.detach(), [gradient for gradient in found if gradient is not None]
    finally:
        detach_all(model.transformer)


@pytest.mark.parametrize("prompt", ["", PROMPT])
def test_gradient_checkpointing_changes_no_number(
    model: PipelineModel, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompts are short: most tokens are padding where a family masks any."""
    blocks = []
    checkpoint = torch.utils.checkpoint.checkpoint

    def counted(block: Any, *given: Any, **settings: Any) -> Any:
        blocks.append(block)
        return checkpoint(block, *given, **settings)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)
    v, expected = gradients(model, prompt)
    assert blocks == []
    model.set_gradient_checkpointing(True)
    try:
        saving, found = gradients(model, prompt)
    finally:
        model.set_gradient_checkpointing(False)
    assert len(blocks) >= 2
    assert_close(saving, v, 1e-6)
    assert len(found) == len(expected) == 2 * len(model.lora_targets("all"))
    for one, other in zip(found, expected, strict=True):
        assert bool(other.any())
        assert_close(one, other, 1e-6)


@pytest.mark.parametrize("which", SETS)
def test_every_layer_of_a_set_learns(model: PipelineModel, which: str) -> None:
    config = TrainConfig(targets=which, rank=2, batch=2, sigma_count=4, alpha=None)
    pair = PairLatents("pair", latents(model, seed=1), latents(model, seed=2))
    layers = random_layers(model, which)
    branches = Branches(model, config, model.condition(""))
    try:
        # B is zero at first, and nothing would reach A.
        for name, layer in layers.items():
            for branch in ("content", "semantic"):
                branches.parameters[f"{branch}/{name}.lora_B"].data.copy_(layer.up)
        for losses in branches.losses([pair], draw=0):
            losses.total.backward()
        idle = [
            name
            for name, parameter in branches.parameters.items()
            if parameter.grad is None or not bool(parameter.grad.any())
        ]
    finally:
        detach_all(model.transformer)
    assert idle == []
    assert len(branches.parameters) == 4 * len(layers) > 0


@pytest.mark.parametrize("which", SETS)
def test_stock_diffusers_draws_the_same_with_a_saved_edit(
    model: PipelineModel, stock: Any, which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_references(monkeypatch)
    layers = random_layers(model, which)
    path = Edit(layers, EditInfo("edit")).save(tmp_path / "edit.safetensors")
    images = pictures(1 if model.takes_references else 0)
    condition = model.looking_at(PROMPT, seen(model, images))
    given = text_for(stock, condition) | ({"image": images} if images else {})
    pipeline = drawing(stock, len(images))
    bare = our_states(model, condition)[-1]
    with attached(model.transformer, {"edit": layers}):
        ours = our_states(model, condition)[-1]
    with no_bars():
        pipeline.load_lora_weights(path)
    try:
        theirs = stock_states(pipeline, **given)[-1]
    finally:
        pipeline.unload_lora_weights()
    assert_close(ours, theirs, 1e-5)
    assert float((ours - bare).abs().max()) > 0.01
    assert_close(stock_states(pipeline, **given)[-1], bare, 1e-5)  # as it was


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_other_tools_say_the_same(model: PipelineModel, form: str, tmp_path: Path) -> None:
    if not model.architecture.startswith(FORMS[form]):
        pytest.skip("there is no such form for this family")
    layers = random_layers(model, "all")
    suffix = "" if form == "peft" else ".safetensors"
    back = read_lora(export(layers, form, tmp_path / f"lora{suffix}", {}))
    assert (back.forms, back.left_out) == ([form], [])
    assert set(back.layers) == set(layers)
    for name, layer in layers.items():
        assert_close(back.layers[name].up @ back.layers[name].down, layer.up @ layer.down, 1e-6)


@pytest.mark.parametrize("mode", ["guided", "merged"])
def test_two_edits_act_together(model: PipelineModel, mode: str) -> None:
    one, two = (
        Edit(random_layers(model, seed=seed), EditInfo(name)) for seed, name in ((1, "a"), (2, "b"))
    )
    x = latents(model, 2, seed=4)
    guidance = GUIDANCE if model.takes_guidance else 0.0  # any other is refused

    def edited(edits: Any) -> torch.Tensor:
        return edit_latents(model, x, edits, steps=4, n_max=3, mode=mode, guidance=guidance)

    both = edited(one @ 0.7 + two @ 0.5)
    assert both.shape == x.shape
    assert bool(both.isfinite().all())
    alone = [edited(one @ 0.7), edited(two @ 0.5)]
    for other in (x, *alone):
        assert float((both - other).abs().max()) > 1e-3
    if mode == "guided":
        assert_close(both - x, sum(z - x for z in alone), 1e-5)  # type: ignore[arg-type]
    assert torch.equal(edited(one @ 0.0), x)
