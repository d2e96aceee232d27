"""What every family keeps of facts: estimates, quantised layers, names, and shipped shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pairedit_sdk.estimates.needs import editing_needs, training_needs
from pairedit_sdk.estimates.passes import measured
from pairedit_sdk.estimates.weights import transformer_bytes
from pairedit_sdk.jobs.make_edit import recipe_for
from pairedit_sdk.lora.adapters import detach_all
from pairedit_sdk.models import folders
from pairedit_sdk.models.families import ALIASES, FAMILIES, family_class, pipeline_of_architecture
from pairedit_sdk.models.families.family import Configs
from pairedit_sdk.models.kinds import likely_family
from pairedit_sdk.models.meta import model_skeleton
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.models.precision import is_quantizable
from pairedit_sdk.training.branches import Branches
from pairedit_sdk.training.config import TrainConfig
from tests.models.families.contract import GUIDANCE, PROMPT, latents, normal

#: The architecture of every tiny pipeline.
TINY = {
    "flux": "flux-1-mini",
    "flux-kontext": "flux-1-mini-kontext",
    "klein": "flux-2-klein-base-small",
    "klein-distilled": "flux-2-klein-small",
    "flux2-dev": "flux-2-dev",
    "z-image": "z-image",
    "z-image-turbo": "z-image-turbo",
    "qwen-image": "qwen-image",
    "qwen-image-edit": "qwen-image-edit",
    "chroma": "chroma",
}
#: The class of the family, the architecture and the recipe of every alias.
PUBLISHED = {
    "flux-dev": ("Flux1", "flux-1-dev", "flux-dev"),
    "flux-schnell": ("Flux1", "flux-1-schnell", "flux-dev"),
    "kontext-dev": ("Flux1Kontext", "flux-1-kontext", "kontext-dev"),
    "klein-base-4b": ("Klein", "flux-2-klein-base-4b", "klein-4b"),
    "klein-4b": ("Klein", "flux-2-klein-4b", "klein-4b"),
    "klein-base-9b": ("Klein", "flux-2-klein-base-9b", "klein-9b"),
    "klein-9b": ("Klein", "flux-2-klein-9b", "klein-9b"),
    "flux2-dev": ("Flux2Dev", "flux-2-dev", "flux2-dev"),
    "z-image": ("ZImage", "z-image", "z-image"),
    "z-image-turbo": ("ZImage", "z-image-turbo", "z-image"),
    "qwen-image": ("QwenImage", "qwen-image", "qwen-image"),
    "qwen-image-edit": ("QwenImageEdit", "qwen-image-edit", "qwen-image-edit"),
    "chroma": ("Chroma", "chroma", "chroma"),
}
SMALL = TrainConfig(rank=2, resolution=64, edit_steps=4)
SEEING = {
    "objective": "flowedit", "content_lora": False, "noising": "standard", "reference": "before",
}  # fmt: skip


def test_needs_are_told_without_weights(model: PipelineModel, folder: Path) -> None:
    config = replace(SMALL, precision="fp32")
    if model.takes_references:
        config = config.with_values(**SEEING)
    weights = sum(p.numel() * p.element_size() for p in model.transformer.parameters())
    for device in ("cpu", "cuda"):
        training = training_needs(str(folder), config, device)
        editing = editing_needs(str(folder), config, device)
        assert training.transformer == editing.transformer == weights
        for needs in (training, editing):
            assert needs.flops > 0
            assert needs.working > 0
            assert needs.peak > needs.transformer
        assert training.lora > editing.lora > 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_takes_what_was_told(
    model: PipelineModel, folder: Path, checkpointing: bool
) -> None:
    config = replace(SMALL, gradient_checkpointing=checkpointing, precision="fp32")
    config = config.with_values(resolution=256)  # where tables of positions are a small part
    if model.takes_references:
        config = config.with_values(reference="before")
    condition = model.condition("")
    # The tiny tokenizers make more tokens of the templates than the published ones do.
    cut = replace(condition, prompt_embeds=condition.prompt_embeds[:, : model.text_tokens])
    branches = Branches(model, config, cut)
    model.set_gradient_checkpointing(checkpointing)
    x, sigma = normal(1, *model.latent_shape(256, 256)), torch.tensor([0.5])

    def step() -> None:
        errors = branches.velocities([x, x], sigma, [0.0, 1.0], x)
        torch.autograd.backward([torch.stack([e.square().mean() for e in errors]).sum()])

    try:
        real = measured(step, [*model.transformer.parameters(), x, sigma])
    finally:
        detach_all(model.transformer)
        model.set_gradient_checkpointing(False)
    told = training_needs(str(folder), config, "cpu")
    assert told.working == pytest.approx(real.peak, rel=0.1)
    assert told.flops > real.flops > 0  # none is counted of the attention on a CPU


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_quantised_layers_are_those_that_are_estimated(
    model: PipelineModel, folder: Path, precision: str
) -> None:
    quantised = PipelineModel.load(str(folder), device="cpu", precision=precision)
    skeleton = model_skeleton(str(folder), torch.float32)
    blocks = skeleton.family.blocks
    told = {
        name
        for name, module in skeleton.transformer.named_modules()
        if is_quantizable(name, module, blocks)
    }
    held = {
        name
        for name, module in quantised.transformer.named_modules()
        if isinstance(module, nn.Linear) and type(module) is not nn.Linear
    }
    assert held == told
    assert set(model.lora_targets("all")) <= held
    assert transformer_bytes(str(folder), precision, torch.float32)[0] < sum(
        p.numel() * p.element_size() for p in model.transformer.parameters()
    )
    x, condition = latents(model, 2), model.condition(PROMPT)
    with torch.no_grad():
        exact, rounded = (
            one.velocity(x, torch.tensor([0.8, 0.3]), condition, GUIDANCE)
            for one in (model, quantised)
        )
    distance = float((rounded - exact).norm() / exact.norm())
    assert 0 < distance < {"int8": 0.1, "nf4": 0.5}[precision]


def test_the_tiny_pipeline_says_what_it_is(
    model: PipelineModel, folder: Path, family_name: str
) -> None:
    assert model.architecture == TINY[family_name]
    assert model.family.is_small
    kind = pipeline_of_architecture(model.architecture)
    assert kind is not None
    assert family_class(kind) is type(model.family) is likely_family(str(folder))
    assert model.multiple == 16
    assert model.resolution % model.multiple == 0
    assert (model.default_guidance > 0) == model.takes_guidance


def test_every_family_has_a_tiny_pipeline_and_every_alias_a_shape() -> None:
    assert set(PUBLISHED) == set(ALIASES)
    kinds = {folders.pipeline_class(folders.shape_folder(hub_id)) for hub_id in ALIASES.values()}
    assert kinds == set(FAMILIES)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_published_model_is_known_by_its_alias(alias: str) -> None:
    kind, _, recipe = PUBLISHED[alias]
    for name in (alias, ALIASES[alias], f"someone/My-{ALIASES[alias].rpartition('/')[2]}-tuned"):
        family = likely_family(name)
        assert family is not None
        assert family.__name__ == kind
        # Nothing of a stranger's model is known but its name.
        assert recipe_for(name) == (recipe if name in (alias, ALIASES[alias]) else family.recipe)
    folder = folders.shape_folder(ALIASES[alias])
    read = {
        part: json.loads((folder / part).read_text(encoding="utf-8"))
        for part in (
            "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json",
            "model_index.json",
        )
    }  # fmt: skip
    transformer, vae, scheduler, index = read.values()
    made = family_class(folders.pipeline_class(folder))(
        Configs(index, SimpleNamespace(**transformer), SimpleNamespace(**vae), scheduler)
    )
    assert not made.is_small


@pytest.mark.parametrize("alias", ALIASES)
def test_a_published_shape_has_the_layers_of_its_family(alias: str) -> None:
    skeleton = model_skeleton(alias, torch.bfloat16)
    assert skeleton.architecture == PUBLISHED[alias][1]
    assert pipeline_of_architecture(skeleton.architecture) == folders.pipeline_class(
        skeleton.folder
    )
    assert not skeleton.family.is_small
    assert (skeleton.resolution, skeleton.multiple) == (512, 16)
    names = set(dict(skeleton.transformer.named_modules()))
    for which in ("attention", "all", "blocks"):
        targets = skeleton.lora_targets(which)
        assert len(targets) >= 80
        assert set(targets) <= names
    held = [
        name
        for name, module in skeleton.transformer.named_modules()
        if is_quantizable(name, module, skeleton.family.blocks)
    ]
    assert len(held) >= len(skeleton.lora_targets("all"))


def test_models_of_other_templates_share_no_kept_prompts(
    tiny_family: Callable[[str], Path],
) -> None:
    plain, edit = (
        PipelineModel.load(str(tiny_family(name)), device="cpu")
        for name in ("qwen-image", "qwen-image-edit")
    )
    assert plain.text_fingerprint != edit.text_fingerprint
    assert edit.text_fingerprint.endswith("QwenImageEditPlusPipeline")


def test_chroma_is_not_distilled(tiny_family: Callable[[str], Path]) -> None:
    model = PipelineModel.load(str(tiny_family("chroma")), device="cpu")
    assert not model.is_distilled
