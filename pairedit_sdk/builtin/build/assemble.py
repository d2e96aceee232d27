"""Putting trained parts together as an ordinary ``FluxPipeline`` folder."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FluxPipeline, FluxTransformer2DModel
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextModel,
    CLIPVisionModelWithProjection,
    T5EncoderModel,
)

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.clip import IMAGE_MEAN, IMAGE_STD
from pairedit_sdk.io.files import write_json
from pairedit_sdk.models import empty_prompt
from pairedit_sdk.models.pipeline_model import PipelineModel


def text_tower(clip: CLIPModel) -> CLIPTextModel:
    """CLIP's text tower as FLUX's ``text_encoder``, sharing no memory with ``clip``."""
    tower = CLIPTextModel(clip.config.text_config)
    tower.load_state_dict(
        {
            name.removeprefix("text_model."): value
            for name, value in clip.state_dict().items()
            if name.startswith("text_model.")
        }
    )
    return tower.eval()


def image_tower(clip: CLIPModel) -> CLIPVisionModelWithProjection:
    """CLIP's image tower with its projection, the basis's image encoder."""
    tower = CLIPVisionModelWithProjection(clip.config.vision_config)
    state = {
        name: value
        for name, value in clip.state_dict().items()
        if name.startswith(("vision_model.", "visual_projection."))
    }
    tower.load_state_dict(state)
    return tower.eval()


@dataclass(frozen=True)
class Parts:
    """What a pipeline is made of.

    Attributes:
        vae: with its scaling and shift already in its configuration.
        text_encoder: CLIP's text tower.
        image_encoder: CLIP's image tower.
        t5: the second text encoder.
        transformer: the flow model.
    """

    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    image_encoder: CLIPVisionModelWithProjection
    t5: T5EncoderModel
    transformer: FluxTransformer2DModel


def assemble(
    folder: Path,
    made: Parts,
    *,
    dtype: torch.dtype = torch.float16,
    kind: type[DiffusionPipeline] = FluxPipeline,
    instructions: bool = False,
) -> Path:
    """Write a whole pipeline to ``folder``, leaving the parts as they are; an older
    one there is replaced only when this is done.

    Args:
        folder: where the pipeline goes.
        made: the parts.
        dtype: of the saved weights.
        kind: the pipeline's class.
        instructions: whether its texts are instructions.
    """
    pipeline = kind(
        scheduler=parts.scheduler(),
        vae=copy.deepcopy(made.vae),
        text_encoder=copy.deepcopy(made.text_encoder),
        tokenizer=parts.tokenizer(True, instructions),
        text_encoder_2=copy.deepcopy(made.t5),
        tokenizer_2=parts.tokenizer(False, instructions),
        transformer=copy.deepcopy(made.transformer),
        image_encoder=copy.deepcopy(made.image_encoder),
        feature_extractor=CLIPImageProcessorPil(
            do_resize=True,
            size={"height": parts.IMAGE_SIZE, "width": parts.IMAGE_SIZE},
            do_center_crop=False,
            image_mean=list(IMAGE_MEAN),
            image_std=list(IMAGE_STD),
        ),
    )
    fresh = folder.with_name(folder.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.to(dtype=dtype).save_pretrained(fresh, safe_serialization=True)
    for config in fresh.glob("*/config.json"):
        values = json.loads(config.read_text(encoding="utf-8"))
        values.pop("_name_or_path", None)  # where a part came from: a folder of one machine
        if "dtype" in values:
            # transformers loads a part in the type that its config names, diffusers in float32: a
            # pipeline that is told no type has to come out in one.
            values["dtype"] = "float32"
        write_json(config, values)
    for other in folder.glob("*.safetensors"):  # the attribute classifier lives beside the parts
        shutil.copy2(other, fresh / other.name)
    model = PipelineModel.load(str(fresh), device="cpu", precision="fp32")
    empty_prompt.keep(fresh, model, model.encode_prompt(""))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder
