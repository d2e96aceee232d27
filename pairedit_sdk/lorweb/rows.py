"""Analogies as a model that looks at pictures sees them: latents of what is drawn and looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.images.image import fit_size, resized, to_tensor
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.delta import PairFeatures
from pairedit_sdk.lorweb.query import features_of, grid_of, query_of
from pairedit_sdk.lorweb.relations import SharedPictures
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.folders import ANY_EDIT_MODEL
from pairedit_sdk.models.protocol import stacked

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.image_encoder import ImageEncoder
    from pairedit_sdk.models.protocol import Condition, FlowModel

#: Pictures whose latents are held in memory; further ones are encoded whenever they are drawn.
KEPT = 16_384
#: Pictures that are encoded together in :meth:`AnalogyRows.prepare`.
TOGETHER = 64


@dataclass(frozen=True)
class Shown:
    """An analogy as the model, the router and the delta network see it.

    Attributes, on the CPU:
        target: latents that are to be drawn, [1, C, h, w].
        references: latents that are looked at; the first is what is drawn where nothing changes.
        query: [Q].
        caption: what is asked for.
        features: of a and a′, if there is a delta network.
    """

    target: torch.Tensor
    references: tuple[torch.Tensor, ...]
    query: torch.Tensor
    caption: str
    features: PairFeatures | None = None


@dataclass(frozen=True)
class _Seen:
    """A picture as the models see it: latents [1, C, h, w], embedding [D], patches [T, F]."""

    latents: torch.Tensor
    embedding: torch.Tensor
    patches: torch.Tensor


class AnalogyRows:
    """Analogies as the model and the router see them; :data:`KEPT` pictures are computed once.

    Args:
        base: a model that looks at pictures.
        encoder: the image encoder.
        analogies: pictures. Where they share pictures, as :class:`.SharedPictures` do,
            each is computed once.
        settings: layout, query, delta and resolution count.
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
        # A grid is one picture of several. The check is slow, and is made once.
        self._shared: SharedPictures | None = None
        if "grid" not in (settings.layout, settings.query):
            self._shared = analogies if isinstance(analogies, SharedPictures) else None
        self._whole: dict[int, Shown] = {}
        self._seen: dict[str, _Seen] = {}

    def __len__(self) -> int:
        return len(self.analogies)

    def __getitem__(self, index: int) -> Shown:
        if self._shared is not None:
            parts = [self._picture(self._shared, name) for name in self._shared.names(index)]
            # All are seen at the size of b.
            if len({part.latents.shape for part in parts}) == 1:
                return self._of_parts(parts, self._shared.captions[index])
        if index in self._whole:
            return self._whole[index]
        shown = self._shown(self.analogies[index])
        if 4 * len(self._whole) < KEPT:
            self._whole[index] = shown
        return shown

    def prepare(self, on_part: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Encode shared pictures in advance, many at once; nothing where they are not shared, have
        several sizes, or are too many to be kept."""
        analogies = self._shared
        if analogies is None:
            return
        names = [name for name in analogies.all_names if name not in self._seen]
        if len(names) > KEPT:
            return
        for start in range(0, len(names), TOGETHER):
            chosen = names[start : start + TOGETHER]
            pictures = [analogies.picture(name) for name in chosen]
            sizes = {self._size(picture) for picture in pictures}
            if len(sizes) > 1:
                return
            images = torch.cat([to_tensor(resized(p, *sizes)) for p in pictures])
            latents = self.base.encode(images).float().cpu()
            embeddings, patches = self._features(pictures)
            for k, name in enumerate(chosen):
                self._seen[name] = _Seen(latents[[k]], embeddings[k], patches[k])
            on_part(min(start + TOGETHER, len(names)), len(names))

    def _picture(self, analogies: SharedPictures, name: str) -> _Seen:
        if name in self._seen:
            return self._seen[name]
        picture = analogies.picture(name)
        latents = self.base.encode(to_tensor(resized(picture, self._size(picture)))).float().cpu()
        embeddings, patches = self._features([picture])
        seen = _Seen(latents, embeddings[0], patches[0])
        if len(self._seen) < KEPT:
            self._seen[name] = seen
        return seen

    def _of_parts(self, parts: Sequence[_Seen], caption: str) -> Shown:
        a, a_prime, b, b_prime = parts
        looked = [b] if self.settings.layout == "alone" else [b, a, a_prime]
        features = None
        if self.settings.delta.tokens:
            features = features_of(
                torch.stack([a.embedding, a_prime.embedding]),
                torch.stack([a.patches, a_prime.patches]),
            )
        whole = torch.stack([a.embedding, a_prime.embedding, b.embedding])
        if self.settings.unit_embeddings:
            whole = torch.nn.functional.normalize(whole, dim=-1)
        references = tuple(one.latents for one in looked)
        return Shown(b_prime.latents, references, whole.flatten(), caption, features)

    def _shown(self, analogy: Analogy) -> Shown:
        settings = self.settings
        size = self._size(analogy.b)
        pictures = [
            resized(p, size) for p in (analogy.a, analogy.a_prime, analogy.b, analogy.b_prime)
        ]
        query = query_of(
            self.encoder,
            settings.query,
            analogy.a,
            analogy.a_prime,
            analogy.b,
            unit=settings.unit_embeddings,
        )
        target, references = laid_out(self.base, settings.layout, *pictures)
        looked = tuple(latents.cpu() for latents in references)
        features = None
        if settings.delta.tokens:
            features = features_of(*self.encoder.features([analogy.a, analogy.a_prime]))
        return Shown(target.cpu(), looked, query, analogy.caption, features)

    def _features(self, pictures: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings, patches = self.encoder.features(pictures)
        # Only the delta network looks at patches, and they are larger than latents.
        return embeddings, patches if self.settings.delta.tokens else patches[:, :0]

    def _size(self, picture: Image.Image) -> tuple[int, int]:
        return cell_size(self.base, picture, self.settings.resolution)


def change_weights(shown: Sequence[Shown], share: float) -> torch.Tensor:
    """Weights of the squared error, [B, 1, h, w] with a mean of 1 in each row: ``share`` of them
    lies where b′ differs from b, by how much it does. Rows of one size."""
    differs = torch.cat([row.target - row.references[0] for row in shown])
    size = differs.abs().mean(dim=1, keepdim=True)
    mean = size.mean(dim=(1, 2, 3), keepdim=True)
    there = torch.where(mean > 0, size / mean.clamp(min=1e-6), torch.ones_like(size))
    return (1 - share) + share * there


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
    sizes: dict[tuple[torch.Size, ...], list[int]] = {}
    for number, row in shown.items():
        shapes = (row.target.shape, *(picture.shape for picture in row.references))
        sizes.setdefault(shapes, []).append(number)
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
    if layout == "alone":
        return _latents(model, b_prime), (_latents(model, b),)
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
