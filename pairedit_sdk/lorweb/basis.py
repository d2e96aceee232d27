"""A basis of LoRAs that were trained together with their keys and projections (LoRWeB).

For every adapted weight W:  q = P [E(a), E(a′), E(b)],  e = softmax(q Kᵀ / √d),
ΔW = (α / r) Σ_i e_i B_i A_i. The mix does not depend on the timestep: it is computed once for an
analogy, and is then one ordinary LoRA.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.delta import DeltaNetwork
from pairedit_sdk.lorweb.files import read_basis, write_basis
from pairedit_sdk.lorweb.mixing import Mix, beside, check_joining, key_for_share, side_by_side
from pairedit_sdk.lorweb.parts import BasisLayer, Joined, LearnedInfo
from pairedit_sdk.lorweb.query import features_of, query_of
from pairedit_sdk.models.protocol import told

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.image_encoder import ImageEncoder
    from pairedit_sdk.models.protocol import Condition, FlowModel
    from pairedit_sdk.pairs.pair_set import Pair

#: The share of the mix that an edit which joins gets for its own pairs.
OWN_SHARE = 0.9


class LoRWeBBasis:
    """A basis of LoRAs that were trained together with their keys and projections (LoRWeB).

    The mix of an analogy does not depend on the timestep: it is computed once, and is then one
    ordinary LoRA. A basis with a delta network also tells the model of the change, see
    :meth:`condition`; one without LoRAs does only that.

    Args:
        layers: by the weight's layer; their order is that of the router's weights.
        router: P [W, d, Q] and K [W, N, d], with one W for each layer, or one for all of them;
            :func:`empty_router` where there are no layers.
        info: what is known about it.
        joined: users' own edits that it chooses among as well.
        delta: the delta network, if there is one.
    """

    def __init__(
        self,
        layers: Mapping[str, BasisLayer],
        router: Router,
        info: LearnedInfo,
        joined: Sequence[Joined] = (),
        delta: DeltaNetwork | None = None,
    ) -> None:
        self.layers, self.router, self.info = dict(layers), router, info
        self.joined, self.delta = list(joined), delta
        self._places = {weight: place for place, weight in enumerate(self.layers)}

    @property
    def elements(self) -> list[str]:
        """Names of everything that can be in a mix, in the order of the coefficients."""
        count = self.router.keys.shape[-2]
        return [*(f"{k + 1}" for k in range(count)), *(own.edit.name for own in self.joined)]

    def embed(
        self, encoder: ImageEncoder, a: Image.Image, a_prime: Image.Image, b: Image.Image
    ) -> torch.Tensor:
        """What the router is asked with, [Q].

        Raises:
            EditError: the encoder's embeddings are not as wide as the projection expects.
        """
        settings = self.info.settings
        found = query_of(encoder, settings.query, a, a_prime, b, unit=settings.unit_embeddings)
        wanted = self.router.projection.shape[-1]
        if len(found) != wanted:
            raise EditError(
                f"The image encoder {encoder.name} does not fit the basis {self.info.name}",
                expected=f"{wanted} numbers, as its projection takes them",
                got=f"{len(found)}",
                next_step=f"Use the encoder it was trained with, {self.info.encoder}",
            )
        return found

    def condition(
        self,
        encoder: ImageEncoder,
        a: Image.Image,
        a_prime: Image.Image,
        said: Condition,
        scale: float = 1.0,
    ) -> Condition:
        """A prompt, and what :meth:`tokens_for` gives besides if there is a delta network."""
        found = self.tokens_for(encoder, a, a_prime, scale)
        return said if found is None else told(said, *found)

    def tokens_for(
        self, encoder: ImageEncoder, a: Image.Image, a_prime: Image.Image, scale: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """What the delta network says of a pair: tokens of the text stream [1, k, D], and what is
        added to the pooled embedding [1, P] if the model has one. ``None`` without a network.

        Args:
            encoder: the basis's own.
            a: before.
            a_prime: after.
            scale: of what the network says of this pair beside what it says of every pair.

        Raises:
            EditError: the encoder's features are not as many as the network expects.
        """
        if self.delta is None:
            return None
        seen = features_of(*encoder.features([a, a_prime]))
        shape = self.delta.shape
        wanted, got = (shape.patches, shape.features), tuple(seen.patches.shape[2:])
        if wanted != got:
            raise EditError(
                f"The image encoder {encoder.name} does not fit the basis {self.info.name}",
                expected=f"{wanted[0]} patches of {wanted[1]} features",
                got=f"{got[0]} of {got[1]}",
                next_step=f"Use the encoder it was trained with, {self.info.encoder}",
            )
        with torch.no_grad():
            return self.delta.scaled(seen, scale)

    def coefficients(self, query: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        """e of every weight, [W, N and the joined ones]; W is 1 where all weights share them.

        Args:
            query: as :meth:`embed` gives it, [Q].
            more: keys of further elements, as :meth:`key_for` gives them, [W, d].
        """
        keys = torch.cat([self._all_keys(), *(key[:, None] for key in more)], dim=-2)
        return replace(self.router, keys=keys).coefficients(query)

    def coefficients_of(self, queries: torch.Tensor) -> torch.Tensor:
        """:meth:`coefficients` of several queries [B, Q] at once, [B, W, E]."""
        return replace(self.router, keys=self._all_keys()).coefficients(queries[:, None])

    def of_weight(self, coefficients: torch.Tensor, weight: str) -> torch.Tensor:
        """e of one weight: its own, or the mean where it is none of the basis's.

        Args:
            coefficients: [..., W, E], W as :meth:`coefficients` gives it.
            weight: the weight's layer.

        Returns:
            [..., E].
        """
        if coefficients.shape[-2] > 1 and weight in self.layers:
            return coefficients[..., self._places[weight], :]
        return coefficients.mean(dim=-2)

    def mixed(self, coefficients: torch.Tensor, name: str = "mix") -> Edit:
        """Σ_i e_i B_i A_i of every weight as one LoRA.

        Args:
            coefficients: as :meth:`coefficients` gives them.
            name: of what it becomes.
        """
        count = self.router.keys.shape[-2]
        layers = {}
        for weight, layer in self.layers.items():
            e = self.of_weight(coefficients, weight)[:count].to(layer.up)
            layers[weight] = side_by_side(layer, layer.up * e[:, None, None])
        for number, own in enumerate(self.joined):
            for weight, part in own.edit.layers.items():
                e = self.of_weight(coefficients, weight)[count + number].to(part.up)
                more = LoraLayer(part.down, part.up * e)
                layers[weight] = beside(layers[weight], more) if weight in layers else more
        rank = max((layer.rank for layer in layers.values()), default=0)
        info = self.info
        return Mix(
            layers,
            EditInfo(
                name=name,
                base=info.base,
                base_fingerprint=info.base_fingerprint,
                architecture=info.architecture,
                guidance=info.settings.guidance,
                rank=rank,
                resolution=info.settings.resolution or 0,
            ),
        )

    def join(self, edit: Edit, queries: torch.Tensor, nothing: torch.Tensor) -> LoRWeBBasis:
        """The basis with a user's edit as one more element, which has a key of its own.

        Args:
            edit: learned on the same model.
            queries: of its pairs, as :meth:`asked` gives them, [P, Q].
            nothing: the same of no change, [P, Q].

        Raises:
            EditError: the edit was learned on another model or has layers of other shapes, or the
                basis mixes all alike.
        """
        check_joining(self.layers, self.info, edit)
        joined = [*self.joined, Joined(edit, self.key_for(queries, nothing))]
        return LoRWeBBasis(self.layers, self.router, self.info, joined, self.delta)

    def without(self, name: str) -> LoRWeBBasis:
        """The basis without the user's edit of that name, or as it is if there is none."""
        left = [own for own in self.joined if own.edit.name != name]
        return LoRWeBBasis(self.layers, self.router, self.info, left, self.delta)

    def asked(
        self, encoder: ImageEncoder, pairs: Iterable[Pair]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the router is asked with by an edit's own pairs, for :meth:`join`.

        Args:
            encoder: the basis's own.
            pairs: P of them.

        Returns:
            The queries of the pairs, each with its own before picture as b, and the same with the
            before picture in the place of the after picture, both [P, Q].

        Raises:
            EditError: the encoder does not fit.
        """
        shown = [
            (
                self.embed(encoder, p.before, p.after, p.before),
                self.embed(encoder, p.before, p.before, p.before),
            )
            for p in pairs
        ]
        return torch.stack([one for one, _ in shown]), torch.stack([two for _, two in shown])

    def key_for(self, queries: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
        """The key of an edit that joins, [W, d].

        It is how the queries of the edit's own pairs differ from those of no change, without
        what all queries have in common, and so long that these pairs give it
        :data:`OWN_SHARE` of the mix.

        Args:
            queries: of its pairs, as :meth:`asked` gives them, [P, Q].
            nothing: the same of no change, [P, Q].

        Raises:
            EditError: the basis mixes all alike, or has no LoRAs.
        """
        if not self.layers:
            raise EditError(
                f"The basis {self.info.name} has no LoRAs that an edit could be mixed with",
                next_step="Train one with count above 0",
            )
        if self.router.activation == "uniform":
            raise EditError(
                f"The basis {self.info.name} mixes all its elements alike",
                next_step="Train one with another activation",
            )
        router = replace(self.router, keys=self._all_keys())
        return key_for_share(router, queries, nothing, OWN_SHARE)

    def _all_keys(self) -> torch.Tensor:
        return torch.cat([self.router.keys, *(own.keys[:, None] for own in self.joined)], dim=-2)

    def require_base(self, model: FlowModel, *, siblings: bool = True) -> None:
        """Refuse a model that the basis was not trained on.

        Args:
            model: to be used, or trained on.
            siblings: whether a sibling will do, as for edits.

        Raises:
            EditError: naming both.
        """
        # Not a mix of nothing: an edit that does nothing is warned of.
        mix = self.mixed(torch.ones(1, len(self.elements)), self.info.name)
        mix.require_base(model, siblings=siblings)

    def save(self, path: str | Path) -> Path:
        """Write ``NAME.safetensors``, and the settings beside it as ``NAME.json``."""
        return write_basis(Path(path), self)

    @classmethod
    def load(cls, path: str | Path) -> LoRWeBBasis:
        """Read what :meth:`save` wrote.

        Raises:
            EditError: no such file, damaged, or something else.
        """
        return cls(*read_basis(Path(path)))
