"""Analogies as a model that looks at pictures sees them: latents of what is drawn and looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.images.image import fit_size, resized, to_tensor
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.query import grid_of, query_of
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.folders import ANY_EDIT_MODEL
from pairedit_sdk.models.protocol import stacked

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.image_encoder import ImageEncoder
    from pairedit_sdk.models.protocol import Condition, FlowModel

#: Analogies whose latents are held in memory; further ones are encoded whenever they are drawn.
KEPT = 4096


@dataclass(frozen=True)
class Shown:
    """An analogy as the model and the router see it.

    Attributes, on the CPU:
        target: latents that are to be drawn, [1, C, h, w].
        references: latents that are looked at.
        query: [Q].
        caption: what is asked for.
    """

    target: torch.Tensor
    references: tuple[torch.Tensor, ...]
    query: torch.Tensor
    caption: str


class AnalogyRows:
    """Analogies as the model and the router see them; as many as :data:`KEPT` are computed once.

    Args:
        base: a model that looks at pictures.
        encoder: the image encoder.
        analogies: pictures.
        settings: layout, query and resolution count.
    """

    def __init__(
        self,
        model: FlowModel,
        encoder: ImageEncoder,
        analogies: Sequence[Analogy],
        settings: BasisSettings,
    ) -> None:
        self.base, self.encoder, self.analogies = model, encoder, analogies
        self.settings = settings
        self._seen: dict[int, Shown] = {}

    def __len__(self) -> int:
        return len(self.analogies)

    def __getitem__(self, index: int) -> Shown:
        if index in self._seen:
            return self._seen[index]
        shown = self._shown(self.analogies[index])
        if len(self._seen) < KEPT:
            self._seen[index] = shown
        return shown

    def _shown(self, analogy: Analogy) -> Shown:
        size = cell_size(self.base, analogy.b, self.settings.resolution)
        pictures = [
            resized(p, size) for p in (analogy.a, analogy.a_prime, analogy.b, analogy.b_prime)
        ]
        query = query_of(
            self.encoder,
            self.settings.query,
            analogy.a,
            analogy.a_prime,
            analogy.b,
            unit=self.settings.unit_embeddings,
        )
        target, references = laid_out(self.base, self.settings.layout, *pictures)
        looked = tuple(latents.cpu() for latents in references)
        return Shown(target.cpu(), looked, query, analogy.caption)


def batched(said: Sequence[Condition], shown: Sequence[Shown], device: torch.device) -> Condition:
    """The prompts and references of some rows, whose pictures have one size, as one batch's."""
    return replace(
        stacked([one.to(device) for one in said]),
        references=tuple(
            torch.cat(pictures).to(device)
            for pictures in zip(*(row.references for row in shown), strict=True)
        ),
    )


def by_size(shown: Mapping[int, Shown]) -> list[list[int]]:
    """The numbers of the rows in groups whose pictures have one size and can share a pass."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number, row in shown.items():
        sizes.setdefault(tuple(row.target.shape), []).append(number)
    return list(sizes.values())


def cell_size(model: FlowModel, b: Image.Image, resolution: int | None) -> tuple[int, int]:
    """The size in pixels at which each picture of an analogy is seen."""
    return fit_size(*b.size, resolution or model.resolution, model.multiple)


def laid_out(
    model: FlowModel,
    layout: str,
    a: Image.Image,
    a_prime: Image.Image,
    b: Image.Image,
    b_prime: Image.Image,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Latents of what is drawn and of what is looked at; pictures of one size."""
    if layout == "grid":
        drawn, seen = grid_of(a, a_prime, b, b_prime), grid_of(a, a_prime, b, b)
        return _latents(model, drawn), (_latents(model, seen),)
    return _latents(model, b_prime), tuple(_latents(model, p) for p in (b, a, a_prime))


def _latents(model: FlowModel, picture: Image.Image) -> torch.Tensor:
    return model.encode(to_tensor(picture)).float()


def require_edit_model(model: FlowModel) -> FlowModel:
    """The model, if it looks at condition images.

    Raises:
        BaseModelError: it does not.
    """
    if not model.takes_references:
        raise BaseModelError(
            f"Model {model.name} takes no condition images",
            expected=ANY_EDIT_MODEL,
            next_step="Use --base mini-kontext, or the folder or hub id of an edit model",
        )
    return model
