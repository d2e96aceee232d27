"""The parts of the built-in model, each trained within its share of the time budget."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPVisionModelWithProjection, T5EncoderModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.assemble import image_tower, text_tower
from pairedit_sdk.builtin.build.autoencoder import reconstruction_psnr, train_autoencoder
from pairedit_sdk.builtin.build.classifier import attribute_accuracy, train_classifier
from pairedit_sdk.builtin.build.clip import drawn_changes, train_clip
from pairedit_sdk.builtin.build.text import train_text
from pairedit_sdk.builtin.faces.attribute_classifier import (
    WEIGHTS,
    AttributeClassifier,
    save_attribute_classifier,
)
from pairedit_sdk.builtin.faces.numbered import pictures_of
from pairedit_sdk.io.cores import usable_cores
from pairedit_sdk.models.folders import fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pairedit_sdk.builtin.faces.face import Face

#: Shares of the time budget.
SHARES = {
    "autoencoder": 0.23,
    "decoder": 0.05,
    "text": 0.03,
    "clip": 0.04,
    "flow": 0.50,
    "guidance": 0.09,
    "classifier": 0.06,
}
FACES = 36_000
#: Rows in a step of the flow model. A GPU starts about 2,500 kernels in each, which takes longer
#: than to compute 64; at 256, with 24,576 tokens, both should take about as long.
FLOW_BATCH, GPU_FLOW_BATCH = 64, 256
HELD_OUT = 96


@dataclass(frozen=True)
class Options:
    """What to build; see the module's text."""

    folder: Path
    output: Path
    minutes: float
    chosen: Collection[str]
    start: Path | None
    face_count: int
    device: str
    compiled: bool

    def budget(self, part: str) -> float:
        """Minutes of a part; none if it is to be taken as its checkpoint has it."""
        return self.minutes * SHARES[part] if part in self.chosen else 0.0


def origin_of(start: Path | None) -> str:
    """What the parts start from, for :class:`Stage`; nothing stands for random weights."""
    return "" if start is None else fingerprint(start, "transformer", "vae")


def autoencoder(
    options: Options, pictures: NDArray[np.uint8], test: NDArray[np.uint8], start: str
) -> AutoencoderKL:
    torch.manual_seed(0)
    vae = parts.autoencoder()
    if options.start is not None:
        vae = AutoencoderKL.from_pretrained(options.start / "vae", dtype=torch.float32)
    parent = start
    for part in ("autoencoder", "decoder"):
        steps = train_autoencoder(
            vae,
            pictures,
            options.folder,
            minutes=options.budget(part),
            device=options.device,
            decoder_only=part == "decoder",
            parent=parent,
        )
        parent = f"{start} autoencoder {steps}"
        psnr = reconstruction_psnr(vae, test, options.device)
        print(f"{part}: {psnr:.2f} dB on new faces", flush=True)
    return vae


def text_encoders(
    options: Options, faces: list[Face], start: str
) -> tuple[CLIPTextModel, T5EncoderModel]:
    torch.manual_seed(1)
    if options.start is None:
        text_encoder, t5 = text_tower(parts.clip()), parts.t5()
    else:
        text_encoder, t5 = (
            kind.from_pretrained(options.start / name, dtype=torch.float32)
            for kind, name in ((CLIPTextModel, "text_encoder"), (T5EncoderModel, "text_encoder_2"))
        )
    train_text(
        text_encoder,
        t5,
        faces,
        options.folder,
        minutes=options.budget("text"),
        device=options.device,
        parent=start,
    )
    return text_encoder, t5


def image_encoder(
    options: Options, text_encoder: CLIPTextModel, start: str
) -> CLIPVisionModelWithProjection:
    old = None
    if options.start is not None:
        old = CLIPVisionModelWithProjection.from_pretrained(
            options.start / "image_encoder", dtype=torch.float32
        )
        if "clip" not in options.chosen:
            return old
    torch.manual_seed(1)
    clip = parts.clip()
    clip.text_model.load_state_dict(text_encoder.state_dict())
    if old is not None:
        clip.vision_model.load_state_dict(old.vision_model.state_dict())
    # A third as many changes as there are faces, two pictures each.
    changes = drawn_changes(options.folder, options.face_count // 3, usable_cores())
    train_clip(
        clip,
        changes,
        options.folder,
        minutes=options.budget("clip"),
        device=options.device,
        parent=start,
    )
    return image_tower(clip.cpu())


def classifier(
    options: Options,
    vae: AutoencoderKL,
    pictures: NDArray[np.uint8],
    faces: list[Face],
    held_out: list[Face],
) -> None:
    torch.manual_seed(3)
    classifier = AttributeClassifier()
    vae.to(options.device, torch.float32)
    train_classifier(
        classifier,
        pictures,
        faces,
        options.folder,
        minutes=options.budget("classifier"),
        device=options.device,
        round_trip=lambda x: vae.decode(vae.encode(x).latent_dist.mode()).sample,
    )
    save_attribute_classifier(classifier, options.output / WEIGHTS.name)
    right = attribute_accuracy(classifier, pictures_of(held_out), held_out)
    print("classifier: " + ", ".join(f"{k} {v:.2f}" for k, v in right.items()))


def transformer(start: Path | None) -> FluxTransformer2DModel:
    torch.manual_seed(2)
    if start is None:
        return parts.transformer()
    return FluxTransformer2DModel.from_pretrained(start / "transformer", dtype=torch.float32)
