"""A stand-in for a model and its edits, whose change of a picture is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import Edit


class PaintingModel:
    """Latents are the picture as it is seen, and an edit at scale 1 adds ``colour`` in a disc.

    ``seen`` counts the pictures of every call.
    """

    name, fingerprint, architecture = "stand-in", "stand-in", "stand-in"
    resolution, multiple = 64, 8

    def __init__(self) -> None:
        self.colour = (0.5, -0.4, 0.2)
        #: The disc: its centre from the left and the top, and its radius, as shares of the sides.
        self.disc = (0.4, 0.5, 0.2)
        self.seen: list[int] = []
        self.fails = lambda count: None

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents.float().clamp(-1, 1)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 16, height // 8, width // 8

    def keep_autoencoder(self, on: bool) -> None:
        """There is none."""

    def sweep(
        self, model: Any, x: torch.Tensor, stack: Any, scales: Any, options: Any, *, on_step: Any
    ) -> list[torch.Tensor]:
        """In the place of :func:`pairedit_sdk.editing.edit_latents.sweep_latents`."""
        self.seen.append(len(x))
        self.fails(len(x))
        height, width = x.shape[2:]
        across = (torch.arange(width) + 0.5) / width - self.disc[0]
        down = (torch.arange(height) + 0.5) / height - self.disc[1]
        inside = (across.square() + down.square()[:, None]).sqrt() < self.disc[2]
        change = torch.tensor(self.colour)[:, None, None] * inside
        own = sum(scale for _, scale in stack.parts)
        return [x if own * scale == 0 else x + own * scale * change for scale in scales]


@pytest.fixture
def painting(monkeypatch: pytest.MonkeyPatch) -> PaintingModel:
    model = PaintingModel()
    monkeypatch.setattr("pairedit_sdk.editing.edit_photos.sweep_latents", model.sweep)
    return model


@pytest.fixture
def paint() -> Edit:
    from pairedit_sdk.edits.edit import Edit, EditInfo
    from pairedit_sdk.lora.layers import LoraLayer

    layers = {"x_embedder": LoraLayer(torch.ones(1, 64), torch.ones(192, 1))}
    return Edit(layers, EditInfo("paint", base="stand-in", resolution=64))
