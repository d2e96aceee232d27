"""A basis of LoRAs that were trained together with their keys and projections (LoRWeB).

For every adapted weight W:  q = P [E(a), E(a′), E(b)],  e = softmax(q Kᵀ / √d),
ΔW = (α / r) Σ_i e_i B_i A_i. The mix does not depend on the timestep: it is computed once for an
analogy, and is then one ordinary LoRA.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors, write_json, write_tensors
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.checks import require_whole
from pairedit_sdk.lorweb.query import query_of
from pairedit_sdk.lorweb.settings import BasisSettings

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.image_encoder import ImageEncoder
    from pairedit_sdk.models.protocol import FlowBase

SCHEMA = 1
#: The share of the mix that an edit which joins gets for its own pairs.
OWN_SHARE = 0.9


@dataclass(frozen=True)
class BasisLayer:
    """The updates of one weight; alpha / r is already baked into ``up``.

    Attributes:
        down: A_i, [N, r, in].
        up: B_i, [N, out, r].
    """

    down: torch.Tensor
    up: torch.Tensor


@dataclass(frozen=True)
class Joined:
    """A user's own edit as a further element.

    Attributes:
        edit: of any rank.
        keys: its key for every weight of the router, [W, d].
    """

    edit: Edit
    keys: torch.Tensor


@dataclass(frozen=True)
class LearnedInfo:
    """What is known of a learned basis.

    Attributes:
        name: of the basis.
        base: name of the base it was trained on.
        base_fingerprint: of that base; empty if it is not known.
        architecture: of that base.
        encoder: the image encoder's name.
        settings: of the training.
        steps: that were trained.
    """

    name: str
    base: str = ""
    base_fingerprint: str = ""
    architecture: str = ""
    encoder: str = ""
    settings: BasisSettings = field(default_factory=BasisSettings)
    steps: int = 0


class LearnedBasis:
    """See the module's text.

    Args:
        layers: by the weight's layer; their order is that of the router's weights.
        router: P [W, d, Q] and K [W, N, d], with one W for each layer, or one for all of them.
        info: what is known about it.
        joined: users' own edits that it chooses among as well.
    """

    def __init__(
        self, layers: Mapping[str, BasisLayer], router: Router, info: LearnedInfo,
        joined: Sequence[Joined] = (),
    ) -> None:  # fmt: skip
        self.layers, self.router, self.info = dict(layers), router, info
        self.joined = list(joined)

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
                expected=f"{wanted} numbers, as its projection takes them", got=f"{len(found)}",
                next_step=f"Use the encoder it was trained with, {self.info.encoder}",
            )  # fmt: skip
        return found

    def coefficients(self, query: torch.Tensor) -> torch.Tensor:
        """e of every weight, [W, N and the joined ones]; W is 1 where all weights share them."""
        keys = [self.router.keys, *(own.keys[:, None] for own in self.joined)]
        return replace(self.router, keys=torch.cat(keys, dim=-2)).coefficients(query)

    def mixed(self, coefficients: torch.Tensor, name: str = "mix") -> Edit:
        """Σ_i e_i B_i A_i of every weight as one LoRA.

        Args:
            coefficients: as :meth:`coefficients` gives them.
            name: of what it becomes.
        """
        count = self.router.keys.shape[-2]
        layers = {}
        for index, (weight, layer) in enumerate(self.layers.items()):
            e = coefficients[index if len(coefficients) > 1 else 0].to(layer.up)
            down = layer.down.flatten(0, 1)
            up = (layer.up * e[:count, None, None]).transpose(0, 1).flatten(1)
            layers[weight] = LoraLayer(down, up)
        mean = coefficients.mean(dim=0)
        for number, own in enumerate(self.joined):
            for weight, part in own.edit.layers.items():
                at = list(self.layers).index(weight) if weight in self.layers else None
                each = coefficients[at] if at is not None and len(coefficients) > 1 else mean
                more = LoraLayer(part.down, part.up * each[count + number].to(part.up))
                layers[weight] = _beside(layers[weight], more) if weight in layers else more
        rank = max(layer.rank for layer in layers.values())
        info = self.info
        return Edit(
            layers,
            EditInfo(
                name=name, base=info.base, base_fingerprint=info.base_fingerprint,
                architecture=info.architecture, guidance=info.settings.guidance, rank=rank,
                resolution=info.settings.resolution or 0,
            ),
        )  # fmt: skip

    def join(self, edit: Edit, queries: torch.Tensor, nothing: torch.Tensor) -> LearnedBasis:
        """The basis with a user's edit as one more element, which has a key of its own.

        The key is how the queries of the edit's own pairs differ from those of no change, without
        what all queries have in common, and so long that these pairs give it
        :data:`OWN_SHARE` of the mix.

        Args:
            edit: learned on the same base.
            queries: :meth:`embed` of its pairs, each with its own before picture as b, [P, Q].
            nothing: the same with the before picture in the place of the after picture, [P, Q].

        Raises:
            EditError: the edit was learned on another base or has layers of other shapes, or the
                basis mixes all alike.
        """
        self._check_joining(edit)
        q, still = (self.router.query(given[:, None]) for given in (queries, nothing))  # [P, W, d]
        direction = (q - still).mean(dim=0)
        common = torch.nn.functional.normalize(still.mean(dim=0), dim=-1)
        direction = direction - (direction * common).sum(-1, keepdim=True) * common
        reached = (q * direction).sum(-1).mean(dim=0)  # [W]
        others = torch.stack([
            replace(self.router, keys=self._all_keys()).similarities(query) for query in queries
        ])  # fmt: skip
        scores = others / self.router.temperature
        aim = scores.logsumexp(dim=-1).mean(dim=0) + _log_odds(OWN_SHARE)
        if self.router.activation == "tanh":
            aim = torch.full_like(aim, float(torch.atanh(torch.tensor(OWN_SHARE))))
        length = self.router.temperature * aim / reached.clamp(min=1e-8)
        return LearnedBasis(
            self.layers, self.router, self.info,
            [*self.joined, Joined(edit, direction * length[:, None])],
        )  # fmt: skip

    def _check_joining(self, edit: Edit) -> None:
        if self.router.activation == "uniform":
            raise EditError(
                f"The basis {self.info.name} mixes all its elements alike",
                next_step="Train one with another activation",
            )
        own, known = edit.info.base_fingerprint, self.info.base_fingerprint
        if own and known and own != known:
            raise EditError(
                f"Edit {edit.name!r} was learned on another base than the basis {self.info.name}",
                expected=f"{self.info.base} ({known})", got=f"{edit.info.base} ({own})",
                next_step="Train the edit on the basis's base",
            )  # fmt: skip
        for name, layer in edit.layers.items():
            if name not in self.layers:
                continue
            wanted = (self.layers[name].up.shape[1], self.layers[name].down.shape[2])
            got = (layer.up.shape[0], layer.down.shape[1])
            if wanted != got:
                raise EditError(
                    f"Layer {name} of edit {edit.name!r} has another shape than in the basis "
                    f"{self.info.name}",
                    expected=f"{wanted[0]} × {wanted[1]}", got=f"{got[0]} × {got[1]}",
                    next_step="Train the edit on the basis's base",
                )  # fmt: skip

    def _all_keys(self) -> torch.Tensor:
        return torch.cat([self.router.keys, *(own.keys[:, None] for own in self.joined)], dim=-2)

    def require_base(self, base: FlowBase) -> None:
        """Refuse a base that the basis was not trained on.

        Raises:
            EditError: naming both.
        """
        self.mixed(torch.zeros(1, len(self.elements))).require_base(base)

    def save(self, path: str | Path) -> Path:
        """Write ``NAME.safetensors``, and the settings beside it as ``NAME.json``."""
        path = Path(path)
        tensors = {"projection": self.router.projection, "keys": self.router.keys}
        for weight, layer in self.layers.items():
            tensors |= {f"{weight}/down": layer.down, f"{weight}/up": layer.up}
        for number, own in enumerate(self.joined):
            tensors[f"joined/{number}/keys"] = own.keys
            for weight, part in own.edit.layers.items():
                tensors[f"joined/{number}/{weight}/down"] = part.down
                tensors[f"joined/{number}/{weight}/up"] = part.up
        values: dict[str, Any] = {
            "schema": SCHEMA, **asdict(self.info), "settings": self.info.settings.as_dict(),
            "layers": list(self.layers),
            "temperature": self.router.temperature, "normalised": self.router.normalised,
            "activation": self.router.activation,
            "joined": [asdict(own.edit.info) for own in self.joined],
        }  # fmt: skip
        # The tensors carry the settings too, so that a file which lost its neighbour can be read.
        write_tensors(path, tensors, {"learned_basis": json.dumps(values)})
        write_json(path.with_suffix(".json"), values)
        return path

    @classmethod
    def load(cls, path: str | Path) -> LearnedBasis:
        """Read what :meth:`save` wrote.

        Raises:
            EditError: no such file, damaged, or something else.
        """
        path = Path(path)
        try:
            tensors, header = read_tensors(path)
            values = json.loads(header["learned_basis"])
            if values["schema"] != SCHEMA:
                raise EditError(
                    f"{path} was written by another version of this SDK",
                    expected=f"schema {SCHEMA}", got=f"schema {values['schema']}",
                    next_step="Update pairedit-sdk",
                )  # fmt: skip
            return cls._read(tensors, values)
        except EditError:
            raise
        except Exception as error:  # the readers of damaged bytes raise nearly every kind
            raise EditError(
                f"{path} is no learned basis ({' '.join(str(error).split())[:100]})",
                expected="a file that `pairedit basis train` wrote",
            ) from error

    @classmethod
    def _read(cls, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> LearnedBasis:
        layers = {
            weight: BasisLayer(tensors[f"{weight}/down"], tensors[f"{weight}/up"])
            for weight in values["layers"]
        }
        router = Router(
            tensors["projection"], tensors["keys"], values["temperature"], values["normalised"],
            values["activation"],
        )  # fmt: skip
        info = LearnedInfo(
            values["name"], values["base"], values["base_fingerprint"], values["architecture"],
            values["encoder"], BasisSettings(**values["settings"]), values["steps"],
        )  # fmt: skip
        joined = []
        for number, about in enumerate(values["joined"]):
            own = f"joined/{number}/"
            names = [k[len(own) : -len("/down")] for k in tensors
                     if k.startswith(own) and k.endswith("/down")]  # fmt: skip
            parts = {n: LoraLayer(tensors[f"{own}{n}/down"], tensors[f"{own}{n}/up"])
                     for n in names}  # fmt: skip
            about = {k: v for k, v in about.items() if k in ("name", "base", "base_fingerprint",
                     "architecture", "rank", "guidance", "resolution")}  # fmt: skip
            joined.append(Joined(Edit(parts, EditInfo(**about)), tensors[f"{own}keys"]))
        require_whole(layers, router, joined)
        return cls(layers, router, info, joined)


def _beside(one: LoraLayer, other: LoraLayer) -> LoraLayer:
    """Both updates as one LoRA."""
    return LoraLayer(
        torch.cat([one.down, other.down.to(one.down)]),
        torch.cat([one.up, other.up.to(one.up)], dim=1),
    )


def _log_odds(share: float) -> float:
    odds = torch.tensor(share / (1 - share))
    return float(odds.log())
