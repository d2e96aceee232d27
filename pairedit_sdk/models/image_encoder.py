"""The frozen image encoder that a basis looks at pictures with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.images.image import as_rgb
from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.models.folders import BUILT_IN
from pairedit_sdk.models.kinds import has_image_encoder

if TYPE_CHECKING:
    from PIL import Image

MINI = "mini"
#: For models other than the built-in one, as in LoRWeB.
DEFAULT = "openai/clip-vit-large-patch14"
BATCH = 32


class ImageEncoder:
    """Pictures to embeddings.

    Args:
        name: "mini", a folder or a hub id; kept in the basis.
        model: a CLIP vision model with projection, or a SigLIP vision model.
        processor: its image processor.
    """

    def __init__(self, name: str, model: torch.nn.Module, processor: Any) -> None:
        self.name, self.model, self.processor = name, model.eval().requires_grad_(False), processor

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image], *, normalised: bool = True) -> torch.Tensor:
        """Embeddings, float32 [N, D] on the CPU; of length 1, or as they come."""
        whole, _ = self.features(images)
        return torch.nn.functional.normalize(whole, dim=-1) if normalised else whole

    @torch.no_grad()
    def features(self, images: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings as they come [N, D], and the features of each picture's T patches [N, T, F];
        float32 on the CPU."""
        parameter = next(self.model.parameters())
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        for start in range(0, len(images), BATCH):
            batch = [as_rgb(image) for image in images[start : start + BATCH]]
            pixels = self.processor(images=batch, return_tensors="pt")["pixel_values"]
            out = self.model(pixel_values=pixels.to(parameter))
            # CLIP's first token is not a patch; SigLIP has none.
            is_clip = hasattr(out, "image_embeds")
            whole = out.image_embeds if is_clip else out.pooler_output
            patches = out.last_hidden_state[:, 1:] if is_clip else out.last_hidden_state
            found.append((whole.float().cpu(), patches.float().cpu()))
        embeddings, patches = zip(*found, strict=True)
        return torch.cat(embeddings), torch.cat(patches)


def encoder_for(base_name: str) -> str:
    """The encoder that goes with a model unless another one is asked for: the model's own, if it
    has one, as the built-in model does."""
    return base_name if has_image_encoder(base_name) else DEFAULT


def load_encoder(name_or_path: str = MINI, device: str | None = None) -> ImageEncoder:
    """The built-in model's own encoder, or any CLIP or SigLIP image encoder.

    Args:
        name_or_path: a built-in model, a folder (of the encoder, or of a pipeline with one), or
            a hub id.
        device: where it runs; ``None`` is the CPU, where one picture takes a moment.

    Raises:
        BaseModelError: nothing is there, or a model of another kind.
    """
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionModelWithProjection,
        SiglipImageProcessorPil,
        SiglipVisionModel,
    )

    model_at, processor_at = encoder_places(name_or_path)
    kinds: dict[str, tuple[Any, Any]] = {
        "clip": (CLIPVisionModelWithProjection, CLIPImageProcessorPil),
        "siglip": (SiglipVisionModel, SiglipImageProcessorPil),
    }
    try:
        kind = next((k for k in kinds if model_type(model_at).startswith(k)), "")
        if not kind:
            raise BaseModelError(
                f"The image encoder {name_or_path} is no CLIP and no SigLIP model",
                got=model_type(model_at),
            )
        model_class, processor_class = kinds[kind]
        with no_bars():
            model = model_class.from_pretrained(model_at, dtype=torch.float32)
            processor = processor_class.from_pretrained(processor_at)
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"The image encoder {name_or_path} cannot be loaded "
            f"({' '.join(str(error).split())[:120]})",
            expected="mini, a folder or a hub id of a CLIP or SigLIP image encoder",
            next_step="Download it first, or use the built-in one with --encoder mini",
        ) from error
    return ImageEncoder(name_or_path, model.to(device or "cpu"), processor)


def encoder_places(name_or_path: str) -> tuple[str, str]:
    """Where an encoder's model is and where its processor, folders or hub ids."""
    place = str(BUILT_IN.get(name_or_path, name_or_path))
    if (Path(place) / "image_encoder").is_dir():
        return str(Path(place) / "image_encoder"), str(Path(place) / "feature_extractor")
    return place, place


def model_type(place: str) -> str:
    """What the configuration of a model there says that it is, "" if it says nothing."""
    config = Path(place) / "config.json"
    if config.is_file():
        return str(json.loads(config.read_text(encoding="utf-8")).get("model_type", ""))
    from transformers import AutoConfig

    return str(AutoConfig.from_pretrained(place).model_type)
