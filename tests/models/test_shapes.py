"""The shipped configurations of published models, against the sizes published with them."""

import json

import pytest
import torch

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.models import folders
from pairedit_sdk.models.meta import model_skeleton, text_encoder_skeletons

OWNER = "black-forest-labs"
#: Bytes of the transformer's files, without their headers: two for each of its weights.
TRANSFORMER = {"FLUX.1-dev": 23_802_816_640, "FLUX.1-schnell": 23_782_357_120}
TRANSFORMER["FLUX.1-Kontext-dev"] = TRANSFORMER["FLUX.1-dev"]
T5 = 9_524_621_312


@pytest.mark.parametrize("name", TRANSFORMER)
def test_a_shape_has_as_many_weights_as_the_model_has(name):
    base = model_skeleton(f"{OWNER}/{name}", torch.bfloat16)
    assert sum(2 * p.numel() for p in base.transformer.parameters()) == TRANSFORMER[name]
    assert (base.resolution, base.multiple) == (512, 16)
    assert base.takes_guidance == (name != "FLUX.1-schnell")
    assert base.architecture == "flux-1-" + name.removeprefix("FLUX.1-").lower().removesuffix(
        "-dev"
    )


def test_the_text_encoders_have_as_many_weights_as_theirs():
    _, t5 = text_encoder_skeletons(f"{OWNER}/FLUX.1-dev")
    assert sum(2 * p.numel() for p in t5.parameters()) == T5


@pytest.mark.parametrize("name", [*TRANSFORMER, "tiny"])
def test_a_shape_is_a_whole_pipeline_without_weights(name):
    folder = folders.shape_folder(name)
    folders.check(folder, name)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json"}
    assert all(json.loads(path.read_text()) for path in files)
    assert sum(path.stat().st_size for path in files) < 4000


def test_weights_are_still_looked_for_on_the_hub():
    with pytest.raises(BaseModelError, match="could not be downloaded"):
        folders.resolve(f"{OWNER}/FLUX.1-dev")


def test_a_shape_that_is_not_shipped_says_how_to_give_its_configuration():
    with pytest.raises(BaseModelError, match=r"not part of this package.*FLUX\.1-dev.*FOLDER"):
        folders.resolve("someone/another-model", configs_only=True)
