"""Rebuild the built-in base: ``python -m pairedit_sdk.builtin.build.mini --minutes 240``.

Everything is drawn and trained from nothing: the autoencoder, both text encoders, CLIP's image
tower, the flow model, the distilled guidance, and the attribute classifier. Each part has a share
of the time budget and its own checkpoint in ``--folder``; started again, the command goes on where
it was, and with more ``--minutes`` it trains on. ``--parts`` limits it to some of the parts, and
``--start PIPELINE`` begins with the weights of a finished one in the place of random ones.

Drawing the faces, on all cores, is no part of the budget. Where there is an NVIDIA GPU it trains
there, in larger batches and under bfloat16 autocast, with float32 weights.

The result goes to ``--output`` and not into the package: every edit carries the fingerprint of its
base, so the shipped edit is learned again when the shipped base changes. ``make adopt-base`` does
both.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPVisionModelWithProjection, T5EncoderModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.assemble import assemble, image_tower, text_tower
from pairedit_sdk.builtin.build.autoencoder import (
    latents_of,
    reconstruction_psnr,
    train_autoencoder,
)
from pairedit_sdk.builtin.build.classifier import attribute_accuracy, train_classifier
from pairedit_sdk.builtin.build.clip import drawn_changes, train_clip
from pairedit_sdk.builtin.build.flow import FlowModel, distil_guidance, train_flow
from pairedit_sdk.builtin.build.flow_data import FlowData
from pairedit_sdk.builtin.build.loop import on_cuda
from pairedit_sdk.builtin.build.pool import picture_pool, usable_cores
from pairedit_sdk.builtin.build.text import train_text
from pairedit_sdk.builtin.faces.attributes import (
    WEIGHTS,
    AttributeClassifier,
    save_attribute_classifier,
)
from pairedit_sdk.builtin.faces.numbered import face_at, pictures_of
from pairedit_sdk.errors import UsageError
from pairedit_sdk.models.folders import fingerprint
from pairedit_sdk.models.precision import avoid_cudnn_attention

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pairedit_sdk.builtin.faces.face import Face

#: Shares of the time budget.
SHARES = {
    "autoencoder": 0.23, "decoder": 0.05, "text": 0.03, "clip": 0.04, "flow": 0.50,
    "guidance": 0.09, "classifier": 0.06,
}  # fmt: skip
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


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description="Rebuild the built-in base.")
    parser.add_argument("--minutes", type=float, default=240, help="time budget of all parts")
    parser.add_argument("--folder", type=Path, default=Path("out/build"), help="checkpoints")
    parser.add_argument("--output", type=Path, default=Path("out/base"), help="the pipeline")
    parser.add_argument("--parts", nargs="*", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--start", type=Path, help="a finished pipeline to train on from")
    parser.add_argument("--faces", type=int, default=FACES, help="drawn training faces")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--compile", action="store_true",
        help="compile the flow model's steps (faster after a minute; needs a C++ compiler)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    build(
        Options(
            given.folder,
            given.output,
            given.minutes,
            given.parts,
            given.start,
            given.faces,
            given.device,
            given.compile,
        )
    )


def build(options: Options) -> None:
    """Train the chosen parts within their shares, then write the pipeline.

    Raises:
        UsageError: a part is neither chosen nor trained before nor in ``start``, or a part is
            chosen without the flow model that builds on it.
    """
    _refuse_untrained(options)
    _refuse_stale_flow(options)
    folder, device = options.folder, options.device
    avoid_cudnn_attention(torch.device(device))
    folder.mkdir(parents=True, exist_ok=True)
    pictures = picture_pool(folder / "pool", options.face_count, parts.IMAGE_SIZE, usable_cores())
    faces = [face_at(i) for i in range(options.face_count)]
    held_out = [face_at(i, "test") for i in range(HELD_OUT)]
    test = pictures_of(held_out)

    start = _origin(options.start)
    vae = _autoencoder(options, pictures, test, start)
    text_encoder, t5 = _text_encoders(options, faces, start)
    image_encoder = _image_encoder(options, text_encoder, start)
    latents = latents_of(vae, pictures, device)
    shift, scale = float(latents.mean()), 1 / float(latents.std())
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)

    model = FlowModel(_transformer(options.start), t5)
    batch = GPU_FLOW_BATCH if on_cuda(device) else FLOW_BATCH
    data = FlowData((latents - shift) * scale, faces, text_encoder, batch, device)
    steps = train_flow(
        model, data, folder, minutes=options.budget("flow"), compiled=options.compiled,
        parent=start,
    )  # fmt: skip
    distil_guidance(
        model, data, folder, minutes=options.budget("guidance"), compiled=options.compiled,
        parent=f"{start} flow {steps}",
    )  # fmt: skip
    assemble(
        options.output, vae.cpu(), text_encoder.cpu(), image_encoder, model.t5.cpu(),
        model.transformer.cpu(),
    )  # fmt: skip
    print(f"wrote {options.output}", flush=True)

    if "classifier" in options.chosen:
        _classifier(options, vae, pictures, faces, held_out)


def _refuse_untrained(options: Options) -> None:
    needed = ("autoencoder", "text", "clip", "flow")
    lacking = [
        part
        for part in needed
        if part not in options.chosen
        and options.start is None
        and not (options.folder / f"{part}.safetensors").is_file()
    ]
    if lacking:
        raise UsageError(
            f"There is no checkpoint of {', '.join(lacking)} in {options.folder}",
            next_step="Train these parts too, or give a finished pipeline with --start",
        )


def _refuse_stale_flow(options: Options) -> None:
    moved = {"autoencoder", "text"} & set(options.chosen)
    known = options.start is not None or (options.folder / "flow.safetensors").is_file()
    if moved and known and "flow" not in options.chosen:
        raise UsageError(
            f"With another {' and '.join(sorted(moved))} the flow model no longer fits",
            next_step="Add flow to --parts, so that it follows",
        )


def _origin(start: Path | None) -> str:
    """What the parts start from, for :class:`Stage`; nothing stands for random weights."""
    return "" if start is None else fingerprint(start, "transformer", "vae")


def _autoencoder(
    options: Options, pictures: NDArray[np.uint8], test: NDArray[np.uint8], start: str
) -> AutoencoderKL:
    torch.manual_seed(0)
    vae = parts.autoencoder()
    if options.start is not None:
        vae = AutoencoderKL.from_pretrained(options.start / "vae", dtype=torch.float32)
    parent = start
    for part in ("autoencoder", "decoder"):
        steps = train_autoencoder(
            vae, pictures, options.folder, minutes=options.budget(part), device=options.device,
            decoder_only=part == "decoder", parent=parent,
        )  # fmt: skip
        parent = f"{start} autoencoder {steps}"
        psnr = reconstruction_psnr(vae, test, options.device)
        print(f"{part}: {psnr:.2f} dB on new faces", flush=True)
    return vae


def _text_encoders(
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
        text_encoder, t5, faces, options.folder, minutes=options.budget("text"),
        device=options.device, parent=start,
    )  # fmt: skip
    return text_encoder, t5


def _image_encoder(
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
        clip, changes, options.folder, minutes=options.budget("clip"),
        device=options.device, parent=start,
    )  # fmt: skip
    return image_tower(clip.cpu())


def _classifier(
    options: Options, vae: AutoencoderKL, pictures: NDArray[np.uint8], faces: list[Face],
    held_out: list[Face],
) -> None:  # fmt: skip
    torch.manual_seed(3)
    classifier = AttributeClassifier()
    vae.to(options.device, torch.float32)
    train_classifier(
        classifier, pictures, faces, options.folder, minutes=options.budget("classifier"),
        device=options.device,
        round_trip=lambda x: vae.decode(vae.encode(x).latent_dist.mode()).sample,
    )  # fmt: skip
    save_attribute_classifier(classifier, options.output / WEIGHTS.name)
    right = attribute_accuracy(classifier, pictures_of(held_out), held_out)
    print("classifier: " + ", ".join(f"{k} {v:.2f}" for k, v in right.items()))


def _transformer(start: Path | None) -> FluxTransformer2DModel:
    torch.manual_seed(2)
    if start is None:
        return parts.transformer()
    return FluxTransformer2DModel.from_pretrained(start / "transformer", dtype=torch.float32)


if __name__ == "__main__":
    main()
