"""Build the built-in Kontext base: ``python -m pairedit_sdk.builtin.build.mini_kontext``.

It starts from the built-in model, or from ``--start PIPELINE``, and keeps its autoencoder and image
encoder. The checkpoint is in ``--folder``; started again, the command goes on where it was, and
with more ``--minutes`` it trains on. The result goes to ``--output`` and not into the package.
``--captions SHARE`` of the steps draw from a caption, without a picture to look at; the rest are
edits. What the guidance does there is kept as the start has it, or as ``--teacher PIPELINE`` has
it, if the start is a Kontext model that has forgotten it.

Drawing the changes, on all cores, is no part of the budget. Where there is an NVIDIA GPU it trains
there, in larger batches and under bfloat16 autocast, with float32 weights.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxKontextPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPVisionModelWithProjection, T5EncoderModel

from pairedit_sdk.builtin.build import parts
from pairedit_sdk.builtin.build.assemble import Parts, assemble
from pairedit_sdk.builtin.build.autoencoder import latents_of
from pairedit_sdk.builtin.build.clip import Changes, drawn_changes
from pairedit_sdk.builtin.build.flow import CaptionedFlow
from pairedit_sdk.builtin.build.kontext import train_kontext
from pairedit_sdk.builtin.build.kontext_data import KontextData
from pairedit_sdk.builtin.build.loop import on_cuda
from pairedit_sdk.builtin.build.turns import CAPTIONS, shares_of
from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.cores import usable_cores
from pairedit_sdk.models.folders import fingerprint, mini_folder
from pairedit_sdk.models.precision import avoid_cudnn_attention

CHANGES = 12_000
#: Rows of a usual step. At 192, with 30,720 tokens, a GPU should be as long computing a step as
#: starting its kernels.
BATCH, GPU_BATCH = 48, 192


@dataclass(frozen=True)
class Options:
    """What to build; see the module's text."""

    folder: Path
    output: Path
    minutes: float
    start: Path
    count: int
    device: str
    captions: float
    teacher: Path


def main(arguments: list[str] | None = None) -> None:
    """The command; see the module's text."""
    parser = argparse.ArgumentParser(description="Build the built-in Kontext model.")
    parser.add_argument("--minutes", type=float, default=60, help="time budget")
    parser.add_argument("--folder", type=Path, default=Path("out/build"), help="checkpoint")
    parser.add_argument("--output", type=Path, default=Path("out/kontext"), help="the pipeline")
    parser.add_argument("--start", type=Path, default=mini_folder(), help="a FluxPipeline's folder")
    parser.add_argument("--changes", type=int, default=CHANGES, help="drawn changes")
    parser.add_argument("--captions", type=float, default=CAPTIONS, help="share of caption steps")
    parser.add_argument("--teacher", type=Path, help="draws from captions; if not given, the start")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args(arguments)
    shares_of(given.captions)  # a share that is none is refused before anything is drawn
    build(
        Options(
            given.folder,
            given.output,
            given.minutes,
            given.start,
            given.changes,
            given.device,
            given.captions,
            given.teacher or given.start,
        )
    )


def build(options: Options) -> None:
    """Train within the time budget, then write the pipeline."""
    start, device = options.start, options.device
    avoid_cudnn_attention(torch.device(device))
    _require_same_latents(start, options.teacher)
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(start / "vae", dtype=torch.float32)
    clip = CLIPTextModel.from_pretrained(start / "text_encoder", dtype=torch.float32)
    clip.resize_token_embeddings(len(parts.vocabulary(instructions=True)))
    clip.requires_grad_(False)
    model, teacher = _flow_of(start), _flow_of(options.teacher)
    changes = drawn_changes(options.folder, options.count, usable_cores())
    batch = GPU_BATCH if on_cuda(device) else BATCH
    latents = _latents(vae, changes, device)
    data = KontextData(latents, changes, clip, batch, device, options.captions)
    train_kontext(
        model,
        data,
        options.folder,
        minutes=options.minutes,
        teacher=teacher,
        parent=fingerprint(start, "transformer", "vae"),
    )
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(
        start / "image_encoder", dtype=torch.float32
    )
    assemble(
        options.output,
        Parts(vae.cpu(), clip.cpu(), image_encoder, model.t5.cpu(), model.transformer.cpu()),
        kind=FluxKontextPipeline,
        instructions=True,
    )
    print(f"wrote {options.output}", flush=True)


def _flow_of(folder: Path) -> CaptionedFlow:
    """A pipeline's transformer and T5, which also takes the words of instructions."""
    t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=torch.float32)
    t5.resize_token_embeddings(len(parts.vocabulary(instructions=True)))
    kind = FluxTransformer2DModel
    return CaptionedFlow(kind.from_pretrained(folder / "transformer", dtype=torch.float32), t5)


def _require_same_latents(start: Path, teacher: Path) -> None:
    """Refuse a teacher whose velocities are of another autoencoder's latents.

    Raises:
        UsageError: naming it.
    """
    if fingerprint(start, "vae") != fingerprint(teacher, "vae"):
        raise UsageError(
            f"The teacher {teacher} has another autoencoder than {start}",
            expected="the model that the start was trained from",
            next_step="Leave --teacher out, or name that model's folder",
        )


def _latents(vae: AutoencoderKL, changes: Changes, device: str) -> torch.Tensor:
    """Normalised latents of all pictures, [N, 2, C, h, w], in half precision."""
    pictures = changes.pictures.reshape(-1, *changes.pictures.shape[2:])
    latents = latents_of(vae.to(device), pictures, device)
    config = vae.config
    normal = (latents - config.shift_factor) * config.scaling_factor
    return torch.unflatten(normal.half(), 0, (-1, 2))


if __name__ == "__main__":
    main()
