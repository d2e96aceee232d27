"""The tiny pipelines that other tests use are whole: stock diffusers loads and uses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as edit_plus
from PIL import Image

from pairedit_sdk.io.quiet import no_bars
from tests.tiny_families import MAKERS, components, klein

SIDE = 64
#: Megabytes that a folder may have.
MOST = 2


@pytest.fixture(params=MAKERS)
def folder(request: pytest.FixtureRequest, tiny_family: Callable[[str], Path]) -> Path:
    return tiny_family(request.param)


def loaded(folder: Path) -> Any:
    with no_bars():
        pipeline = DiffusionPipeline.from_pretrained(folder, **components(folder))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(
    pipeline: Any, prompt: str, monkeypatch: pytest.MonkeyPatch, reference: str = "orange"
) -> np.ndarray:
    """Pixels, 0 … 1, float [h, w, 3], of two steps from the same noise.

    ``reference`` is the colour of the picture that a pipeline for edits sees.
    """
    settings: dict[str, Any] = {"height": SIDE, "width": SIDE, "num_inference_steps": 2}
    kind = type(pipeline).__name__
    if kind in ("FluxKontextPipeline", "QwenImageEditPlusPipeline"):
        settings["image"] = Image.new("RGB", (SIDE, SIDE), reference)
    if kind == "FluxKontextPipeline":
        settings |= {"max_area": SIDE**2, "_auto_resize": False}
    for area in ("CONDITION_IMAGE_SIZE", "VAE_IMAGE_SIZE"):  # 1024² takes a CPU too long
        monkeypatch.setattr(edit_plus, area, SIDE**2)
    noise = torch.Generator().manual_seed(1)
    with no_bars():
        result = pipeline(prompt=prompt, generator=noise, output_type="np", **settings)
    picture: np.ndarray = result.images[0]
    return picture


def test_stock_diffusers_draws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = loaded(folder)
    picture = drawn(pipeline, "a red house", monkeypatch)
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.std() > 0.01
    assert (drawn(pipeline, "a red house", monkeypatch) == picture).all()
    assert np.abs(drawn(pipeline, "a cat", monkeypatch) - picture).max() > 1e-3


@pytest.mark.parametrize("name", ["flux-kontext", "qwen-image-edit"])
def test_edits_see_the_picture(
    name: str, tiny_family: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = loaded(tiny_family(name))
    orange, blue = (drawn(pipeline, "a hat", monkeypatch, colour) for colour in ("orange", "blue"))
    assert np.abs(orange - blue).max() > 1e-3


def test_folders_are_small(folder: Path) -> None:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert size < MOST * 10**6


def test_the_same_weights_each_time(
    tiny_family: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    again = klein(tmp_path / "klein")
    assert torch.rand(1) == expected  # the maker left the tests' random numbers alone
    weights = "*/*.safetensors"
    files = sorted(again.glob(weights))
    assert len(files) == 3
    for file in files:
        assert file.read_bytes() == (tiny_family("klein") / file.relative_to(again)).read_bytes()


def test_a_distilled_klein_says_so(tiny_family: Callable[[str], Path]) -> None:
    assert loaded(tiny_family("klein-distilled")).config.is_distilled
    assert not loaded(tiny_family("klein")).config.is_distilled


def test_kleins_statistics_are_not_the_start_of_a_batch_norm(
    tiny_family: Callable[[str], Path],
) -> None:
    """Code that leaves them out would otherwise pass every test."""
    statistics = loaded(tiny_family("klein")).vae.bn
    assert statistics.running_mean.std() > 0.3
    assert statistics.running_var.std() > 0.1


def test_shifts_are_the_published(tiny_family: Callable[[str], Path]) -> None:
    shifts = {name: loaded(tiny_family(name)).scheduler.config.shift for name in MAKERS}
    assert (shifts["z-image"], shifts["z-image-turbo"]) == (6.0, 3.0)
