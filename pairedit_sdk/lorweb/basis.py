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
from pairedit_sdk.lorweb.files import read_basis, write_basis
from pairedit_sdk.lorweb.parts import BasisLayer, Joined, LearnedInfo
from pairedit_sdk.lorweb.query import query_of

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.image_encoder import ImageEncoder
    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.pair_set import Pair

#: The share of the mix that an edit which joins gets for its own pairs.
OWN_SHARE = 0.9


class LoRWeBBasis:
    """A basis of LoRAs that were trained together with their keys and projections (LoRWeB).

    The mix of an analogy does not depend on the timestep: it is computed once, and is then one
    ordinary LoRA.

    Args:
        layers: by the weight's layer; their order is that of the router's weights.
        router: P [W, d, Q] and K [W, N, d], with one W for each layer, or one for all of them.
        info: what is known about it.
        joined: users' own edits that it chooses among as well.
    """

    def __init__(
        self,
        layers: Mapping[str, BasisLayer],
        router: Router,
        info: LearnedInfo,
        joined: Sequence[Joined] = (),
    ) -> None:
        self.layers, self.router, self.info = dict(layers), router, info
        self.joined = list(joined)
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

    def coefficients(self, query: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        """e of every weight, [W, N and the joined ones]; W is 1 where all weights share them.

        Args:
            query: as :meth:`embed` gives it, [Q].
            more: keys of further elements, as :meth:`key_for` gives them, [W, d].
        """
        keys = torch.cat([self._all_keys(), *(key[:, None] for key in more)], dim=-2)
        return replace(self.router, keys=keys).coefficients(query)

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
                layers[weight] = _beside(layers[weight], more) if weight in layers else more
        rank = max(layer.rank for layer in layers.values())
        info = self.info
        return Edit(
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
        self._check_joining(edit)
        joined = [*self.joined, Joined(edit, self.key_for(queries, nothing))]
        return LoRWeBBasis(self.layers, self.router, self.info, joined)

    def without(self, name: str) -> LoRWeBBasis:
        """The basis without the user's edit of that name, or as it is if there is none."""
        left = [own for own in self.joined if own.edit.name != name]
        return LoRWeBBasis(self.layers, self.router, self.info, left)

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
            EditError: the basis mixes all alike.
        """
        if self.router.activation == "uniform":
            raise EditError(
                f"The basis {self.info.name} mixes all its elements alike",
                next_step="Train one with another activation",
            )
        q, still = (self.router.query(given[:, None]) for given in (queries, nothing))  # [P, W, d]
        direction = (q - still).mean(dim=0)
        common = torch.nn.functional.normalize(still.mean(dim=0), dim=-1)
        direction = direction - (direction * common).sum(-1, keepdim=True) * common
        reached = (q * direction).sum(-1).mean(dim=0)  # [W]
        others = torch.stack(
            [replace(self.router, keys=self._all_keys()).similarities(query) for query in queries]
        )
        scores = others / self.router.temperature
        aim = scores.logsumexp(dim=-1).mean(dim=0) + _log_odds(OWN_SHARE)
        if self.router.activation == "tanh":
            aim = torch.full_like(aim, float(torch.atanh(torch.tensor(OWN_SHARE))))
        length = self.router.temperature * aim / reached.clamp(min=1e-8)
        return direction * length[:, None]

    def _check_joining(self, edit: Edit) -> None:
        own, known = edit.info.base_fingerprint, self.info.base_fingerprint
        if own and known and own != known:
            raise EditError(
                f"Edit {edit.name!r} was learned on another model than the basis {self.info.name}",
                expected=f"{self.info.base} ({known})",
                got=f"{edit.info.base} ({own})",
                next_step="Train the edit on the basis's model, not on a sibling: in a mix all "
                "elements are to go equally far, and those of another model do not",
            )
        for name, layer in edit.layers.items():
            if name not in self.layers:
                continue
            wanted = (self.layers[name].up.shape[1], self.layers[name].down.shape[2])
            got = (layer.up.shape[0], layer.down.shape[1])
            if wanted != got:
                raise EditError(
                    f"Layer {name} of edit {edit.name!r} has another shape than in the basis "
                    f"{self.info.name}",
                    expected=f"{wanted[0]} × {wanted[1]}",
                    got=f"{got[0]} × {got[1]}",
                    next_step="Train the edit on the basis's model",
                )

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
        return write_basis(Path(path), self.layers, self.router, self.info, self.joined)

    @classmethod
    def load(cls, path: str | Path) -> LoRWeBBasis:
        """Read what :meth:`save` wrote.

        Raises:
            EditError: no such file, damaged, or something else.
        """
        return cls(*read_basis(Path(path)))


def side_by_side(layer: BasisLayer, up: torch.Tensor | None = None) -> LoraLayer:
    """All LoRAs of a weight as one of rank N · r, its components in the order (N, r).

    Args:
        layer: of the basis.
        up: B_i in the place of the layer's own, [N, out, r].
    """
    up = layer.up if up is None else up
    return LoraLayer(layer.down.flatten(0, 1), up.transpose(0, 1).flatten(1))


def _beside(one: LoraLayer, other: LoraLayer) -> LoraLayer:
    """Both updates as one LoRA."""
    return LoraLayer(
        torch.cat([one.down, other.down.to(one.down)]),
        torch.cat([one.up, other.up.to(one.up)], dim=1),
    )


def _log_odds(share: float) -> float:
    odds = torch.tensor(share / (1 - share))
    return float(odds.log())
