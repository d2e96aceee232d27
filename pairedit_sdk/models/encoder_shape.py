"""What an image encoder gives and takes, from its configuration alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.models.image_encoder import DEFAULT, encoder_places, model_type

#: The published configuration of :data:`.DEFAULT`, so that nothing has to be fetched.
_DEFAULT = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
    "projection_dim": 768,
}


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of an image encoder.

    Attributes:
        embedding: D, of a picture's embedding.
        patches: T, that a picture is cut into.
        features: F, of a patch.
        size: bytes of its weights, which are float32.
    """

    embedding: int
    patches: int
    features: int
    size: int


def encoder_shape(name_or_path: str) -> EncoderShape:
    """The sizes of an encoder as :func:`.load_encoder` takes it.

    Raises:
        BaseModelError: nothing is there, or a model of another kind.
    """
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        SiglipVisionConfig,
        SiglipVisionModel,
    )

    config: Any
    kind: Any = CLIPVisionModelWithProjection
    try:
        place, _ = encoder_places(name_or_path)
        if place == DEFAULT:
            config = CLIPVisionConfig(**_DEFAULT)
        elif model_type(place).startswith("clip"):
            config = CLIPVisionConfig.from_pretrained(place)
        else:
            config, kind = SiglipVisionConfig.from_pretrained(place), SiglipVisionModel
        with torch.device("meta"):
            model = kind(config)
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"The configuration of the image encoder {name_or_path} cannot be read "
            f"({' '.join(str(error).split())[:120]})",
            expected="mini, a folder or a hub id of a CLIP or SigLIP image encoder",
            next_step="Download it first, or name another with --set encoder=NAME",
        ) from error
    is_clip = kind is CLIPVisionModelWithProjection
    return EncoderShape(
        embedding=config.projection_dim if is_clip else config.hidden_size,
        patches=(config.image_size // config.patch_size) ** 2,
        features=config.hidden_size,
        size=sum(parameter.numel() * 4 for parameter in model.parameters()),
    )
