"""The layers of each family that are held in fewer bits, on a CPU and by diffusers on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import BitsAndBytesConfig
from diffusers.quantizers.bitsandbytes.utils import replace_with_bnb_linear

from pairedit_sdk.errors import UsageError
from pairedit_sdk.estimates.needs import editing_needs
from pairedit_sdk.models.meta import model_skeleton
from pairedit_sdk.models.precision import is_quantizable, kept_whole
from pairedit_sdk.training.config import TrainConfig
from tests.tiny_families import MAKERS

bnb = pytest.importorskip("bitsandbytes")
#: Layers outside the blocks that diffusers cannot leave out, as a block has a namesake.
NAMESAKES = {"flux": {"proj_out"}, "flux-kontext": {"proj_out"}, "chroma": {"proj_out"}}


@pytest.mark.parametrize("name", MAKERS)
def test_diffusers_quantises_what_we_do(name: str, tiny_family: Callable[[str], Path]) -> None:
    model = model_skeleton(str(tiny_family(name)), torch.bfloat16)
    blocks = model.family.blocks
    wanted = {n for n, m in model.transformer.named_modules() if is_quantizable(n, m, blocks)}
    skipped = kept_whole(model.transformer, blocks)
    config = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=skipped)
    copied = copy.deepcopy(model.transformer)
    made = replace_with_bnb_linear(
        copied, modules_to_not_convert=skipped, quantization_config=config
    )
    found = {n for n, m in made.named_modules() if isinstance(m, bnb.nn.Linear4bit)}
    assert len(wanted) > 5
    assert found - wanted == NAMESAKES.get(name, set())
    assert wanted <= found


def test_an_estimate_refuses_what_loading_refuses(tiny_family: Callable[[str], Path]) -> None:
    with pytest.raises(UsageError, match="does not work in fp16"):
        editing_needs(str(tiny_family("z-image")), TrainConfig(precision="fp16"), "cuda")
