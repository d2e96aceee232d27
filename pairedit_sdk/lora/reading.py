"""Reading LoRA files of whatever tool, in the forms of :mod:`pairedit_sdk.lora.formats`.

Every layer comes out as one product with alpha baked in. What one file says of a layer in two ways
is summed, as other tools do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.alphas import Alphas
from pairedit_sdk.lora.families import family_in_file
from pairedit_sdk.lora.files import explained, lora_tensors, weights_file
from pairedit_sdk.lora.formats import FORMS, Form, placed, taken_apart
from pairedit_sdk.lora.kinds import (
    DORA,
    LORA,
    Module,
    as_product,
    is_finite,
    no_values,
    scaled_rows,
)
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.names import Place

if TYPE_CHECKING:
    import torch

#: Left out of an error's list beyond so many.
SHOWN = 5
#: The rank above which what is no LoRA is converted only when a rank is given: the edit would take
#: more room than it is worth.
MOST = 256
EXPECTED = f"the form of {', '.join(dict.fromkeys(form.name for form in FORMS))}"


@dataclass(frozen=True)
class LoraFile:
    """What a file of LoRAs holds.

    Attributes:
        layers: by diffusers' names, every alpha baked in.
        header: the file's metadata.
        forms: those of which layers were found.
        left_out: keys that are no update of a transformer's layer.
        converted: the kinds of adapters besides LoRAs that layers were made of.
        error: how much a smaller rank lost, √(Σ ‖ΔW − ΔW_r‖² / Σ ‖ΔW‖²), 0 … 1.
    """

    layers: dict[str, LoraLayer]
    header: dict[str, str]
    forms: list[str]
    left_out: list[str]
    converted: list[str] = field(default_factory=list)
    error: float = 0.0


def read_lora(
    path: Path,
    alpha: float | None = None,
    *,
    partly: bool = False,
    pickled: bool = False,
    rank: int | None = None,
    weights: Callable[[str], torch.Tensor] | None = None,
    architecture: str = "",
) -> LoraFile:
    """The layers of a file in any of the forms.

    Args:
        path: a safetensors file, or the folder that peft or diffusers writes.
        alpha: of layers in a form that states none and for which there is no custom.
        partly: take what can be read, whatever else there is.
        pickled: read a ``.pt`` file too. Its pickle is not executed: torch's ``weights_only``
            reader knows tensors and plain containers alone.
        rank: of every layer at most; a larger one is cut by SVD. Without it LoRAs keep their rank,
            and other kinds of adapters are converted exactly, up to a rank of :data:`MOST`.
        weights: the model's own weight [out, in] of a layer, which a DoRA is converted with.
        architecture: of the model that the file was made for, where the user names it.

    Raises:
        EditError: no such file, damaged, no LoRA, only in part one (and not ``partly``), of an
            alpha that cannot be known, of a family of models that cannot be known, a DoRA without
            ``weights``, or of a rank above :data:`MOST`.
    """
    given, path = path, weights_file(path)
    tensors, header = lora_tensors(path, pickled)
    with explained(path):  # numbers of a kind that cannot be reckoned with
        modules, left_out = _modules(tensors, path.name)
    reading = _Reading(given, Alphas(header, path, alpha), rank, weights)
    family = family_in_file(modules, header, given, architecture)
    for name, module in modules.items():
        found = placed(name, family)
        if found is None:
            left_out += module.keys
        else:
            reading.add(name, module, *found)
    grave = [key for key in left_out if not key.startswith(("lora_te", "text_encoder"))]
    if not reading.layers:
        raise EditError(
            f"{path.name} is no LoRA of a model that is known here",
            expected=EXPECTED,
            got=_list(left_out) or "no tensors",
        )
    if grave and not partly:
        raise EditError(
            f"{path.name} can be read only in part: {len(grave)} of its tensors are unknown",
            expected=EXPECTED,
            got=_list(grave),
            next_step="Take what can be read with `pairedit edits import --partly`",
        )
    return reading.result(header, sorted(left_out))


def _modules(
    tensors: Mapping[str, torch.Tensor], source: str
) -> tuple[dict[str, Module], list[str]]:
    """The parts of every module's update, and the keys that are none."""
    found: dict[str, Module] = {}
    others: list[str] = []
    _require_one_adapter(tensors, source)
    for name, value in tensors.items():
        key = taken_apart(name)
        if key is None or (key.part == "alpha" and value.numel() != 1):
            others.append(name)
            continue
        module = found.setdefault(key.module, Module())
        module.keys.append(name)
        if key.part == "alpha":
            module.alpha = float(value)
        elif key.part in module.parts:
            raise EditError(f"{source}: {key.module} has two tensors for one part: {name}")
        else:
            module.parts[key.part] = value
    return found, others


def _require_one_adapter(names: Iterable[str], source: str) -> None:
    keys = (taken_apart(name) for name in names)
    adapters = {key.adapter for key in keys if key is not None and key.adapter}
    if len(adapters) > 1:
        raise EditError(
            f"{source} holds several LoRAs",
            expected="one",
            got=_list(sorted(adapters)),
            next_step="Save each as a file of its own",
        )


class _Reading:
    """What has been read of a file so far."""

    def __init__(
        self,
        path: Path,
        alphas: Alphas,
        rank: int | None,
        weights: Callable[[str], torch.Tensor] | None,
    ) -> None:
        self.path, self.alphas, self.rank, self.weights = path, alphas, rank, weights
        self.layers: dict[str, LoraLayer] = {}
        self.forms: dict[str, None] = {}
        self.kinds: dict[str, None] = {}
        self.lost = self.total = 0.0

    def add(self, name: str, module: Module, form: Form, inner: str, place: Place) -> None:
        """Take in a module whose place is known; ``inner`` is its name without the prefix.

        Raises:
            EditError: its parts are damaged, or are no update that is known here.
        """
        what = f"{self.alphas.source}: layer {name}"
        layer, divisor = as_product(module, what)
        factor = self.alphas.factor(form, inner, divisor, module.alpha)
        up = layer.up if factor == 1 else layer.up.float() * factor
        if not is_finite(up):  # an alpha may be beyond all bounds too
            raise no_values(what)
        layer = LoraLayer(layer.down, _turned(up) if place.swapped else up)
        kinds = [module.kind.name] if module.kind.name != LORA else []
        if module.magnitude is not None:
            kinds.append(DORA)
            layer = self._with_magnitude(layer, module.magnitude, place, what)
        if module.magnitude is None and self.alphas.is_dora:
            raise EditError(f"{what} is of a DoRA, and lacks its magnitudes")
        self.forms[form.name] = None
        self.kinds |= dict.fromkeys(kinds)
        for own, part in _split(place.layers, layer, what).items():
            self._put(own, part, " and ".join(kinds), what)

    def result(self, header: dict[str, str], left_out: list[str]) -> LoraFile:
        """All that was read."""
        error = math.sqrt(self.lost / self.total) if self.total else 0.0
        layers = dict(sorted(self.layers.items()))
        return LoraFile(layers, header, list(self.forms), left_out, list(self.kinds), error)

    def _with_magnitude(
        self, layer: LoraLayer, magnitude: torch.Tensor, place: Place, what: str
    ) -> LoraLayer:
        import torch

        if self.weights is None:
            raise EditError(
                f"{self.alphas.source} is a DoRA, which also scales the model's own weights",
                expected="a plain LoRA, or the model's weights too",
                next_step=f"Make a LoRA of it with `pairedit edits import {self.path} "
                "--base MODEL --rank 64`, which says how much it loses",
            )
        rows = magnitude.shape[0] == layer.up.shape[0]
        weight = torch.cat([self.weights(own).float().cpu() for own in place.layers])
        try:
            return scaled_rows(
                layer, _turned(magnitude) if place.swapped and rows else magnitude, weight
            )
        except (ValueError, RuntimeError) as error:
            raise EditError(
                f"{what} does not fit this model's weight",
                expected=f"{list(weight.shape)}",
                got=f"{[layer.up.shape[0], layer.down.shape[1]]} with magnitudes "
                f"{list(magnitude.shape)}",
                next_step="Name the model that it was made for",
            ) from error

    def _put(self, name: str, layer: LoraLayer, kind: str, what: str) -> None:
        """Add a layer, at the rank that is wanted."""
        import torch

        from pairedit_sdk.lora.compression import reduced

        if kind and self.rank is None and layer.rank > MOST:
            raise EditError(
                f"{what} is a {kind}, which as a LoRA has rank {layer.rank}",
                expected=f"a rank of at most {MOST}",
                next_step=f"Make a smaller LoRA of it with `pairedit edits import {self.path} "
                "--rank 64`, which says how much it loses",
            )
        if (other := self.layers.get(name)) is not None:
            down, up = (other.down, layer.down), (other.up, layer.up)
            if down[0].shape[1] != down[1].shape[1] or up[0].shape[0] != up[1].shape[0]:
                raise EditError(f"{what} is there twice, in two shapes")
            layer = LoraLayer(torch.cat(down), torch.cat(up, dim=1))
        if self.rank is not None:
            layer, lost, total = reduced(layer, self.rank)
            self.lost, self.total = self.lost + lost, self.total + total
        self.layers[name] = layer


def _turned(rows: torch.Tensor) -> torch.Tensor:
    """The rows with both halves in each other's place."""
    return rows.roll(rows.shape[0] // 2, 0)


def _split(names: Sequence[str], layer: LoraLayer, what: str) -> dict[str, LoraLayer]:
    """The layers whose rows ``up`` has; each keeps those rank components that reach it."""
    down, up = layer.down, layer.up
    if len(names) == 1:
        return {names[0]: layer}
    # q, k and v are as wide as what they read; what remains is the MLP's.
    width = down.shape[1]
    rows = [width] * 3 + ([up.shape[0] - 3 * width] if len(names) == 4 else [])
    if sum(rows) != up.shape[0] or rows[-1] <= 0:
        raise EditError(
            f"{what} does not have the rows of {', '.join(n.split('.')[-1] for n in names)}",
            expected=f"three times {width} rows"
            + (" and those of the MLP" if len(names) == 4 else ""),
            got=f"{up.shape[0]} rows",
        )
    layers = {}
    parts = up.split(rows)  # type: ignore[no-untyped-call]
    if not up.any():  # nothing has been learned, which is for others to say
        return {name: LoraLayer(down, part) for name, part in zip(names, parts, strict=True)}
    for name, part in zip(names, parts, strict=True):
        used = part.abs().amax(dim=0) > 0
        if used.any():
            layers[name] = LoraLayer(down[used], part[:, used].contiguous())
    return layers


def _list(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(sorted(keys)[:SHOWN]) + more
