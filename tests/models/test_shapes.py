"""The shipped configurations of published models, against the sizes published with them."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from transformers import AutoConfig

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.models import folders
from pairedit_sdk.models.meta import model_skeleton, text_encoder_skeletons

OWNER = "black-forest-labs"
#: Bytes of the transformer's files, without their headers: two for each of its weights.
TRANSFORMER = {"FLUX.1-dev": 23_802_816_640, "FLUX.1-schnell": 23_782_357_120}
TRANSFORMER["FLUX.1-Kontext-dev"] = TRANSFORMER["FLUX.1-dev"]
T5 = 9_524_621_312
#: Of the other families: billions of weights of the transformer and of the text encoder, as
#: published, and millions of the autoencoder's.
BILLIONS = {
    "FLUX.2-klein-base-4B": (3.88, 4.02, 84.0),
    "FLUX.2-klein-4B": (3.88, 4.02, 84.0),
    "FLUX.2-klein-base-9B": (9.08, 8.19, 84.0),
    "FLUX.2-klein-9B": (9.08, 8.19, 84.0),
    "FLUX.2-dev": (32.22, 24.01, 84.0),
    "Z-Image": (6.15, 4.02, 83.8),
    "Z-Image-Turbo": (6.15, 4.02, 83.8),
    "Qwen-Image": (20.43, 8.29, 126.9),
    "Qwen-Image-Edit-2511": (20.43, 8.29, 126.9),
    "Chroma1-HD": (8.90, 4.76, 83.8),
}


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


def read(folder: Path, *parts: str) -> Any:
    return json.loads(folder.joinpath(*parts).read_text(encoding="utf-8"))


def named(folder: Path) -> dict[str, list[str]]:
    """Library and class of every part that a pipeline's index names."""
    index = read(folder, "model_index.json")
    return {part: named for part, named in index.items() if isinstance(named, list) and named[0]}


def weights(folder: Path, part: str) -> int:
    """How many weights a part has, built without memory by the class that the index names."""
    library, name = named(folder)[part]
    with torch.device("meta"):
        if library == "diffusers":
            model = getattr(diffusers, name).from_config(read(folder, part, "config.json"))
        else:
            config = AutoConfig.from_pretrained(str(folder), subfolder=part)
            model = getattr(transformers, name)(config)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", BILLIONS)
def test_every_part_of_another_family_has_as_many_weights(name):
    folder = folders.shape_folder(name)
    transformer, text, vae = BILLIONS[name]
    assert round(weights(folder, "transformer") / 1e9, 2) == transformer
    assert round(weights(folder, "text_encoder") / 1e9, 2) == text
    assert round(weights(folder, "vae") / 1e6, 1) == vae


@pytest.mark.parametrize("name", BILLIONS)
def test_another_familys_shape_is_a_whole_pipeline_without_weights(name):
    folder = folders.shape_folder(name)
    assert {path.name for path in folder.iterdir()} == {"model_index.json", *named(folder)}
    assert hasattr(diffusers, read(folder, "model_index.json")["_class_name"])
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json"}
    assert all(json.loads(path.read_text()) for path in files)
    assert sum(path.stat().st_size for path in files) < 4000


@pytest.mark.parametrize("name", BILLIONS)
def test_embeddings_of_the_text_encoder_fit_the_transformer(name):
    folder = folders.shape_folder(name)
    text, transformer = (
        read(folder, part, "config.json") for part in ("text_encoder", "transformer")
    )
    text = text.get("text_config", text)
    width = text.get("hidden_size") or text["d_model"]
    layers = 3 if name.startswith("FLUX.2") else 1
    taken = transformer.get("joint_attention_dim") or transformer["cap_feat_dim"]
    assert taken == layers * width


def test_what_tells_siblings_apart():
    index = {
        name: read(folders.shape_folder(f"FLUX.2-klein-{name}"), "model_index.json")
        for name in ("4B", "base-4B", "9B", "base-9B")
    }
    distilled = {name: found.get("is_distilled", False) for name, found in index.items()}
    assert distilled == {"4B": True, "base-4B": False, "9B": True, "base-9B": False}
    shift = {
        name: read(folders.shape_folder(name), "scheduler", "scheduler_config.json")["shift"]
        for name in ("Z-Image", "Z-Image-Turbo")
    }
    assert shift == {"Z-Image": 6.0, "Z-Image-Turbo": 3.0}


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
