"""The frozen image encoder: the built-in one is loaded without transformers' loader."""

import torch

from pairedit_sdk.bases.folders import mini_folder
from pairedit_sdk.basis.encoder import load_encoder
from pairedit_sdk.pictures.images import read_image
from pairedit_sdk.resources import examples_dir


def test_the_built_in_encoder_sees_what_transformers_loads_from_its_folder():
    pictures = [
        read_image(examples_dir() / "pairs" / "glasses" / side / "1.png")
        for side in ("source", "target")
    ]
    built_in, from_folder = load_encoder("mini"), load_encoder(str(mini_folder()))
    assert all(p.dtype == torch.float32 for p in built_in.model.parameters())
    assert torch.equal(built_in.embed(pictures), from_folder.embed(pictures))
