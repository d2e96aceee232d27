"""Rebuild the built-in base: ``python -m pairedit_sdk.bases.mini.build --minutes 240``.

Everything is drawn and trained from nothing: the autoencoder, CLIP, the flow model with its T5,
the distilled guidance, and the attribute classifier. Each part has a share of the time budget and
its own checkpoint in ``--folder``; started again, the command goes on where it was, and with more
``--minutes`` it trains on. ``--parts`` limits it to some of the parts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.bases.folders import mini_folder
from pairedit_sdk.bases.mini.attributes import (
    WEIGHTS,
    AttributeClassifier,
    save_attribute_classifier,
)
from pairedit_sdk.bases.mini.building import parts
from pairedit_sdk.bases.mini.building.assemble import assemble, text_tower
from pairedit_sdk.bases.mini.building.autoencoder import (
    latents_of,
    reconstruction_psnr,
    train_autoencoder,
)
from pairedit_sdk.bases.mini.building.classifier import attribute_accuracy, train_classifier
from pairedit_sdk.bases.mini.building.clip import train_clip
from pairedit_sdk.bases.mini.building.data import face_at, picture_pool, pictures_of
from pairedit_sdk.bases.mini.building.flow import (
    FlowData,
    FlowModel,
    distil_guidance,
    train_flow,
)

if TYPE_CHECKING:
    import numpy as np
    from diffusers import AutoencoderKL
    from numpy.typing import NDArray

#: Shares of the time budget.
SHARES = {
    "autoencoder": 0.20, "decoder": 0.10, "clip": 0.04, "flow": 0.50, "guidance": 0.10,
    "classifier": 0.06,
}  # fmt: skip
FACES = 36_000
HELD_OUT = 96


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--minutes", type=float, default=240, help="time budget of all parts")
    parser.add_argument("--folder", type=Path, default=Path("out/build"), help="checkpoints")
    parser.add_argument("--output", type=Path, default=mini_folder(), help="the pipeline")
    parser.add_argument("--parts", nargs="*", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--faces", type=int, default=FACES, help="drawn training faces")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    build(options.folder, options.output, options.minutes, options.parts, options.faces,
          options.device)  # fmt: skip


def build(
    folder: Path, output: Path, minutes: float, chosen: list[str], face_count: int, device: str
) -> None:
    """Train the chosen parts within their shares, then write the pipeline.

    Args:
        folder: of checkpoints and drawn pictures.
        output: the pipeline's folder.
        minutes: the budget of all parts together; a part that is not chosen takes its
            checkpoint as it is.
        chosen: names of :data:`SHARES`.
        face_count: how many faces are drawn for training.
        device: "cpu" or "cuda".
    """
    folder.mkdir(parents=True, exist_ok=True)
    budget = {name: minutes * share * (name in chosen) for name, share in SHARES.items()}
    workers = os.cpu_count() or 1
    pictures = picture_pool(folder / "pool", face_count, parts.IMAGE_SIZE, workers)
    faces = [face_at(i) for i in range(face_count)]
    held_out = [face_at(i, "test") for i in range(HELD_OUT)]
    test = pictures_of(held_out)

    torch.manual_seed(0)
    vae = parts.autoencoder()
    train_autoencoder(vae, pictures, folder, minutes=budget["autoencoder"], device=device)
    _report("autoencoder", vae, test, device)
    train_autoencoder(
        vae, pictures, folder, minutes=budget["decoder"], device=device, decoder_only=True
    )
    _report("decoder", vae, test, device)

    torch.manual_seed(1)
    clip = parts.clip()
    train_clip(clip, pictures, faces, folder, minutes=budget["clip"], device=device)

    latents = latents_of(vae, pictures, device)
    shift, scale = float(latents.mean()), 1 / float(latents.std())
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)
    torch.manual_seed(2)
    model = FlowModel(parts.transformer(), parts.t5())
    data = FlowData((latents - shift) * scale, faces, text_tower(clip), batch=64, device=device)
    train_flow(model, data, folder, minutes=budget["flow"])
    distil_guidance(model, data, folder, minutes=budget["guidance"])

    assemble(output, vae.cpu(), clip.cpu(), model.t5.cpu(), model.transformer.cpu())
    print(f"wrote {output}")

    torch.manual_seed(3)
    classifier = AttributeClassifier()
    vae.to(device)
    train_classifier(
        classifier, pictures, faces, folder, minutes=budget["classifier"], device=device,
        round_trip=lambda x: vae.decode(vae.encode(x).latent_dist.mode()).sample,
    )  # fmt: skip
    save_attribute_classifier(classifier, output / WEIGHTS.name)
    right = attribute_accuracy(classifier, test, held_out)
    print("classifier: " + ", ".join(f"{k} {v:.2f}" for k, v in right.items()))


def _report(name: str, vae: AutoencoderKL, test: NDArray[np.uint8], device: str) -> None:
    print(f"{name}: {reconstruction_psnr(vae, test, device):.2f} dB on new faces", flush=True)


if __name__ == "__main__":
    main()
