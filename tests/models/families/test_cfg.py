"""Classifier-free guidance of every family that has it: stock diffusers' picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from pairedit_sdk.editing.generate import generate
from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.models.loading import load_model
from tests.tiny_families import components

SIDE, STEPS, SCALE = 64, 3, 4.0
PROMPT, NEGATIVE = "a red house", "a cat"
#: How stock pipelines are asked for v_n + 4 (v_c − v_n). FLUX.2-klein has the empty prompt as n.
ASKED: dict[str, dict[str, Any]] = {
    "flux": {"true_cfg_scale": SCALE, "negative_prompt": NEGATIVE, "guidance_scale": 2.5},
    "klein": {"guidance_scale": SCALE},
    "z-image": {"guidance_scale": SCALE - 1, "negative_prompt": NEGATIVE},
    "qwen-image": {"true_cfg_scale": SCALE, "negative_prompt": NEGATIVE},
    "chroma": {"guidance_scale": SCALE, "negative_prompt": NEGATIVE},
}


@pytest.mark.parametrize("name", ASKED)
def test_it_is_that_of_stock_diffusers(name, tiny_family):
    folder = tiny_family(name)
    with no_bars():
        pipeline = DiffusionPipeline.from_pretrained(folder, **components(folder))
        pipeline.set_progress_bar_config(disable=True)
        found = pipeline(
            prompt=PROMPT, height=SIDE, width=SIDE, num_inference_steps=STEPS, output_type="np",
            generator=torch.Generator("cpu").manual_seed(5), **ASKED[name],
        ).images[0]  # fmt: skip
    model = load_model(str(folder), device="cpu", precision="fp32")
    size = {"width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5}
    asked = {"guidance": ASKED[name].get("guidance_scale")} if name == "flux" else {}
    negative = ASKED[name].get("negative_prompt", "")
    plain, guided = (
        np.asarray(generate(model, PROMPT, **size, **asked, **more), np.float64)
        for more in ({}, {"cfg": SCALE, "negative_prompt": negative})
    )
    assert np.abs(guided - 255 * found).max() <= 1
    assert np.abs(plain - guided).max() > 5
