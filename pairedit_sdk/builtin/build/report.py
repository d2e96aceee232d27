"""Judging the built-in base: ``python -m pairedit_sdk.builtin.build.report``.

The autoencoder's PSNR on new faces, how many of the attributes that 64 random captions name the
classifier finds in the samples, and two sheets of samples to look at.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.autoencoder import reconstruction_psnr
from pairedit_sdk.builtin.faces.attribute_classifier import load_attribute_classifier
from pairedit_sdk.builtin.faces.captions import caption_parts
from pairedit_sdk.builtin.faces.numbered import face_at, pictures_of
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.images.files import write_image
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.images.plots import collage
from pairedit_sdk.models.folders import mini_folder
from pairedit_sdk.models.loading import load_model

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel

CAPTIONS = 64
SHEET = 24


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description="Judge the built-in model.")
    parser.add_argument("--base", type=Path, default=mini_folder())
    parser.add_argument("--captions", type=int, default=CAPTIONS)
    parser.add_argument("--guidance", type=float, default=3.5)
    parser.add_argument("--output", type=Path, default=Path("out/base"))
    options = parser.parse_args(arguments)
    vae = AutoencoderKL.from_pretrained(options.base, subfolder="vae", dtype=torch.float32)
    faces = [face_at(i, "test") for i in range(64)]
    print(f"autoencoder: {reconstruction_psnr(vae, pictures_of(faces)):.2f} dB on new faces")

    model = load_model("mini" if options.base == mini_folder() else str(options.base))
    right, sheet = caption_hits(model, options.captions, options.guidance)
    every = [value for values in right.values() for value in values]
    print(f"captions: {sum(every) / len(every):.3f} of {len(every)} named attributes are right")
    for name, values in sorted(right.items(), key=lambda item: sum(item[1]) / len(item[1])):
        print(f"  {name:13s} {sum(values):3d} of {len(values)}")
    free = [generate(model, "", seed=1000 + k) for k in range(SHEET)]
    for label, images in (("captioned", sheet[:SHEET]), ("unconditional", free)):
        rows = [images[k : k + 8] for k in range(0, len(images), 8)]
        width = max(len(row) for row in rows)
        path = options.output / f"{label}.png"
        write_image(collage(rows, [""] * width, [""] * len(rows), title=label), path)
        print(f"wrote {path}")


def caption_hits(
    model: FlowModel, count: int, guidance: float = 3.5
) -> tuple[dict[str, list[bool]], list[Image.Image]]:
    """Whether each named attribute is right, in samples from ``count`` random captions.

    Returns:
        For every attribute a list of hits and misses, and the pictures.
    """
    classifier = load_attribute_classifier()
    rng = random.Random("report")
    right: dict[str, list[bool]] = {}
    pictures = []
    for index in range(count):
        face = face_at(index, "report")
        caption, named = caption_parts(face, rng, parts.CAPTION_PHRASES)
        image = generate(model, caption, seed=index, guidance=guidance)
        read = classifier.predict(to_tensor(image))
        for name in named:
            right.setdefault(name, []).append(read[name][0] == getattr(face, name))
        pictures.append(image)
    return right, pictures


if __name__ == "__main__":
    main()
