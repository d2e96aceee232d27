"""Every family's tiny pipeline, as this SDK's model and as diffusers' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers import DiffusionPipeline

from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.models.pipeline_model import PipelineModel
from tests.tiny_families import MAKERS, components


@pytest.fixture(scope="session", params=MAKERS)
def family_name(request: pytest.FixtureRequest) -> str:
    """Of the session, so that pytest runs all tests of a family one after the other."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def folder(family_name: str, tiny_family: Callable[[str], Path]) -> Path:
    return tiny_family(family_name)


@pytest.fixture(scope="session")
def model(folder: Path) -> PipelineModel:
    """Shared: a test leaves it without LoRAs, and without gradient checkpointing."""
    return PipelineModel.load(str(folder), device="cpu")


@pytest.fixture(scope="session")
def stock(folder: Path) -> Any:
    """Shared: a test leaves it without LoRAs."""
    with no_bars():
        pipeline = DiffusionPipeline.from_pretrained(folder, **components(folder))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
