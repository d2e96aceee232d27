"""Rebuild the built-in base: ``python -m pairedit_sdk.builtin.build.mini --minutes 240``.

Everything is drawn and trained from nothing: the autoencoder, both text encoders, CLIP's image
tower, the flow model, the distilled guidance, and the attribute classifier. Each part has a share
of the time budget and its own checkpoint in ``--folder``; started again, the command goes on where
it was, and with more ``--minutes`` it trains on. ``--parts`` limits it to some of the parts, and
``--start PIPELINE`` begins with the weights of a finished one in the place of random ones.

Drawing the faces, on all cores, is no part of the budget. Where there is an NVIDIA GPU it trains
there, in larger batches and under bfloat16 autocast, with float32 weights.

The result goes to ``--output`` and not into the package: every edit carries the fingerprint of its
model, so the shipped edit is learned again when the shipped model changes. ``make adopt-base`` does
both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pairedit_sdk.builtin.build import parts, stages
from pairedit_sdk.builtin.build.assemble import Parts, assemble
from pairedit_sdk.builtin.build.autoencoder import latents_of
from pairedit_sdk.builtin.build.flow import CaptionedFlow, distil_guidance, train_flow
from pairedit_sdk.builtin.build.flow_data import FlowData
from pairedit_sdk.builtin.build.loop import on_cuda
from pairedit_sdk.builtin.build.pool import picture_pool
from pairedit_sdk.builtin.faces.numbered import face_at, pictures_of
from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.cores import usable_cores
from pairedit_sdk.models.precision import avoid_cudnn_attention


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description="Rebuild the built-in model.")
    parser.add_argument("--minutes", type=float, default=240, help="time budget of all parts")
    parser.add_argument("--folder", type=Path, default=Path("out/build"), help="checkpoints")
    parser.add_argument("--output", type=Path, default=Path("out/base"), help="the pipeline")
    parser.add_argument(
        "--parts", nargs="*", choices=list(stages.SHARES), default=list(stages.SHARES)
    )
    parser.add_argument("--start", type=Path, help="a finished pipeline to train on from")
    parser.add_argument("--faces", type=int, default=stages.FACES, help="drawn training faces")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the flow model's steps (faster after a minute; needs a C++ compiler)",
    )
    given = parser.parse_args(arguments)
    build(
        stages.Options(
            folder=given.folder,
            output=given.output,
            minutes=given.minutes,
            chosen=given.parts,
            start=given.start,
            face_count=given.faces,
            device=given.device,
            compiled=given.compile,
        )
    )


def build(options: stages.Options) -> None:
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
    held_out = [face_at(i, "test") for i in range(stages.HELD_OUT)]
    test = pictures_of(held_out)

    start = stages.origin_of(options.start)
    vae = stages.autoencoder(options, pictures, test, start)
    text_encoder, t5 = stages.text_encoders(options, faces, start)
    image_encoder = stages.image_encoder(options, text_encoder, start)
    latents = latents_of(vae, pictures, device)
    shift, scale = float(latents.mean()), 1 / float(latents.std())
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)

    model = CaptionedFlow(stages.transformer(options.start), t5)
    batch = stages.GPU_FLOW_BATCH if on_cuda(device) else stages.FLOW_BATCH
    data = FlowData((latents - shift) * scale, faces, text_encoder, batch, device)
    steps = train_flow(
        model, data, folder, minutes=options.budget("flow"), compiled=options.compiled, parent=start
    )
    distil_guidance(
        model,
        data,
        folder,
        minutes=options.budget("guidance"),
        compiled=options.compiled,
        parent=f"{start} flow {steps}",
    )
    assemble(
        options.output,
        Parts(
            vae.cpu(), text_encoder.cpu(), image_encoder, model.t5.cpu(), model.transformer.cpu()
        ),
    )
    print(f"wrote {options.output}", flush=True)

    if "classifier" in options.chosen:
        stages.classifier(options, vae, pictures, faces, held_out)


def _refuse_untrained(options: stages.Options) -> None:
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


def _refuse_stale_flow(options: stages.Options) -> None:
    moved = {"autoencoder", "text"} & set(options.chosen)
    known = options.start is not None or (options.folder / "flow.safetensors").is_file()
    if moved and known and "flow" not in options.chosen:
        raise UsageError(
            f"With another {' and '.join(sorted(moved))} the flow model no longer fits",
            next_step="Add flow to --parts, so that it follows",
        )


if __name__ == "__main__":
    main()
