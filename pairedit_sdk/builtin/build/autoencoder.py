"""Training of the autoencoder: L1 + MSE, a weak KL, and latents that may be scaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray

from pairedit_sdk.builtin.build.loop import Rates, Stage, half_precision, on_cuda, on_device
from pairedit_sdk.builtin.build.optim import hold_as_matrices, release_matrices

#: Pictures in a step. A GPU has the same few hundred small kernels to start for any number of them
#: and is busy with none of these for 4; the steps of minutes there are about those of an hour here.
BATCH, GPU_BATCH = 4, 32
KL_WEIGHT = 4e-4
MSE_WEIGHT = 10.0  # at 31 dB about as much as the L1: L1 keeps areas flat, MSE sharpens edges
SCALED_SHARE = 0.1  # share of the steps whose latents are halved in size before decoding


def to_pixels(pictures: NDArray[np.uint8], device: str = "cpu") -> torch.Tensor:
    """uint8 [B, H, W, 3] to float [B, 3, H, W] in −1 … 1."""
    # An array of a PIL picture may be read-only, which torch will not share memory with.
    own = pictures if pictures.flags.writeable else pictures.copy()
    return on_device(own, device).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_autoencoder(
    model: AutoencoderKL,
    pictures: NDArray[np.uint8],
    folder: Path,
    *,
    minutes: float,
    batch: int | None = None,
    device: str = "cpu",
    decoder_only: bool = False,
    parent: str = "",
) -> int:
    """Train ``model`` in place; its averaged weights stay in it.

    Whole pictures, not crops: the faces are aligned, and a convolution may rely on it. In
    some of the steps the latents are halved in size before decoding and must give the halved
    picture: latents that scale like pictures are easier for the flow model to learn.

    Args:
        model: the autoencoder.
        pictures: uint8 [N, H, W, 3].
        folder: of the checkpoint.
        minutes: time budget.
        batch: pictures in a step; if not given, what suits the device.
        device: "cpu" or "cuda".
        decoder_only: keep the encoder, so that every latent stays what it was: the pictures get
            sharper and a flow model that is already trained stays valid.
        parent: see :class:`Stage`.

    Returns:
        The steps trained, earlier runs included.
    """
    count = batch or (GPU_BATCH if on_cuda(device) else BATCH)
    model.to(device, memory_format=torch.channels_last)
    model.encoder.requires_grad_(not decoder_only)
    hold_as_matrices(model)
    rates = Rates(lr=1e-3, matrix_lr=2e-3 if decoder_only else 4e-3, ema=0.998, decay_from=0.1)
    name = "decoder" if decoder_only else "autoencoder"
    stage = Stage(name, model, folder, minutes=minutes, rates=rates, parent=parent)

    def loss(step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(step)
        chosen = pictures[rng.integers(0, len(pictures), count)]
        x = to_pixels(chosen, device).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(not decoder_only):
            posterior = _posterior(model, x, device)
            z = posterior.sample()
        if not decoder_only and rng.random() < SCALED_SHARE:
            z = F.interpolate(z, scale_factor=0.5, mode="area")
            x = F.interpolate(x, scale_factor=0.5, mode="area")
        with half_precision(device):
            decoded = model.decode(z).sample
        error = decoded.float() - x
        l1, mse = error.abs().mean(), error.square().mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return {"loss": l1 + MSE_WEIGHT * mse + KL_WEIGHT * kl, "l1": l1, "mse": mse, "kl": kl}

    stage.run(loss)
    stage.use_average()
    release_matrices(model)
    return stage.step


def _posterior(model: AutoencoderKL, x: torch.Tensor, device: str) -> DiagonalGaussianDistribution:
    # On a GPU the convolutions' results are rounded to bfloat16; the exponents and squares made of
    # them are not.
    with half_precision(device):
        moments = model.encode(x).latent_dist.parameters
    return DiagonalGaussianDistribution(moments.float())


@torch.no_grad()
def latents_of(
    model: AutoencoderKL, pictures: NDArray[np.uint8], device: str = "cpu", batch: int = 64
) -> torch.Tensor:
    """Posterior means, float32 [N, 16, H/8, W/8], before shift and scale."""
    parts = []
    for start in range(0, len(pictures), batch):
        x = to_pixels(pictures[start : start + batch], device)
        posterior = model.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist
        parts.append(posterior.mode().cpu())
    return torch.cat(parts)


@torch.no_grad()
def reconstruction_psnr(
    model: AutoencoderKL, pictures: NDArray[np.uint8], device: str = "cpu"
) -> float:
    """Mean PSNR of the round trip in dB, per picture, on 0 … 1."""
    values = []
    for start in range(0, len(pictures), 32):
        x = to_pixels(pictures[start : start + 32], device)
        y = model.decode(model.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        mse = ((x - y) / 2).square().mean(dim=(1, 2, 3))
        values.append(-10 * torch.log10(mse))
    return float(torch.cat(values).mean())
