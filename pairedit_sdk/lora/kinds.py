"""The kinds of adapters that change a weight by a known matrix, each as a product of two.

A LoRA is ΔW = B A. Of the others the same update is written as a product too, exactly, with the
smallest rank that their parts show. Parts are named as in :data:`pairedit_sdk.lora.formats.PARTS`.

- LoKr: ΔW = W₁ ⊗ W₂, each factor whole or itself a product of two. alpha / rank acts where one of
  them is a product, with the rank of the second before that of the first; where both are whole,
  nothing acts.
- LoHa: ΔW = (A₁ B₁) ∘ (A₂ B₂), element by element.
- a whole difference of weights (``.diff``).

A DoRA scales the rows of the changed weight to given lengths, W′ = m (W + ΔW) / ‖W + ΔW‖, so its
update is known only together with W. Magnitudes may go with any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    import torch

LORA, DORA = "LoRA", "DoRA"
#: Values of a weight; no layer of a model has more.
LARGEST = 2**29


@dataclass
class Module:
    """What a file holds of one module's update.

    Attributes:
        parts: tensors, by what they are; without alpha.
        alpha: of the module's own, if there is one.
        keys: of all of them in the file.
    """

    parts: dict[str, torch.Tensor] = field(default_factory=dict)
    alpha: float | None = None
    keys: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """Of the update, whatever its rows' lengths are."""
        found = (k for k in KINDS if any(part.startswith(k.mark) for part in self.parts))
        return next(found, KINDS[-1])

    @property
    def magnitude(self) -> torch.Tensor | None:
        """The lengths of a DoRA, of rows [out] or [out, 1], or of columns [1, in]."""
        return self.parts.get("magnitude")


@dataclass(frozen=True)
class Kind:
    """A kind of adapter.

    Attributes:
        name: as it is called.
        mark: what the names of its parts begin with.
        needs: the parts, as messages name them.
        product: A [rank, in] and B [out, rank] of the update without alpha, and the rank that alpha
            is divided by; ``None`` if alpha has no effect.
    """

    name: str
    mark: str
    needs: str
    product: Callable[[Mapping[str, torch.Tensor]], tuple[LoraLayer, int | None]]


def as_product(module: Module, what: str) -> tuple[LoraLayer, int | None]:
    """A module's update as a product, without alpha, and the rank that alpha is divided by.

    Raises:
        EditError: parts are missing, do not fit together, or hold no numbers; ``what`` names it.
    """
    kind = module.kind
    parts = {name: part for name, part in module.parts.items() if name != "magnitude"}
    if not all(name.startswith(kind.mark) for name in parts):
        raise EditError(f"{what} has updates of two kinds", expected=kind.needs)
    if any(name.endswith(("_t1", "_t2")) for name in parts):
        raise EditError(f"{what} is the {kind.name} of a convolution", expected="linear layers")
    if not all(part.numel() and is_finite(part) for part in module.parts.values()):
        raise no_values(what)
    try:
        return kind.product(parts)
    except KeyError as error:
        half = "half of a LoRA" if kind.name == LORA else f"part of a {kind.name}"
        raise EditError(
            f"{what} has only one {half}", expected=kind.needs, next_step="Copy the file again"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise EditError(
            f"{what} has {'halves' if kind.name == LORA else 'parts'} that do not fit together",
            expected=kind.needs,
            got=" and ".join(f"{list(part.shape)}" for part in parts.values()),
            next_step="Copy the file again",
        ) from error


def shape_of(module: Module) -> tuple[int, int] | None:
    """Rows and columns of a module's update; ``None`` where its parts do not say them."""
    parts = module.parts
    for rows, columns in (("up", "down"), ("hada_w1_a", "hada_w1_b"), ("diff", "diff")):
        if rows in parts and columns in parts and parts[rows].ndim == parts[columns].ndim == 2:
            return parts[rows].shape[0], parts[columns].shape[1]
    factors = [
        shape_of(Module({"up": parts[high], "down": parts[wide]}))
        for name in ("lokr_w1", "lokr_w2")
        for high, wide in ((name, name), (f"{name}_a", f"{name}_b"))
        if high in parts and wide in parts
    ]
    if len(factors) == len(("lokr_w1", "lokr_w2")) and factors[0] and factors[1]:
        return factors[0][0] * factors[1][0], factors[0][1] * factors[1][1]
    return None


def is_finite(part: torch.Tensor) -> bool:
    """Whether all values are real numbers."""
    return not part.is_complex() and bool(part.float().isfinite().all())


def no_values(what: str) -> EditError:
    """The error of an update that is empty, or not of numbers."""
    return EditError(
        f"{what} has no values, or some that are no numbers", next_step="Copy the file again"
    )


def scaled_rows(layer: LoraLayer, magnitude: torch.Tensor, weight: torch.Tensor) -> LoraLayer:
    """The update W′ − W of a DoRA, exactly.

    Args:
        layer: the update before its rows are scaled, alpha baked in.
        magnitude: [out], [out, 1] or, of columns, [1, in].
        weight: the model's own, W [out, in].

    Raises:
        ValueError: the shapes do not fit together.
    """
    w = weight.double()
    changed = w + layer.up.double() @ layer.down.double()
    columns = magnitude.ndim == 2 and magnitude.shape[0] == 1 < changed.shape[0]
    norm = changed.norm(dim=0 if columns else 1, keepdim=True).clamp_min(1e-12)
    if magnitude.numel() != norm.numel():
        raise ValueError(f"{list(magnitude.shape)} for a weight of {list(weight.shape)}")
    return _whole((changed * (magnitude.double().view_as(norm) / norm) - w).float())


def _lora(parts: Mapping[str, torch.Tensor]) -> tuple[LoraLayer, int | None]:
    down, up = parts["down"], parts["up"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise ValueError
    return LoraLayer(down, up), down.shape[0]


def _lokr(parts: Mapping[str, torch.Tensor]) -> tuple[LoraLayer, int | None]:
    import torch

    one, two = (_factor(parts, f"lokr_w{number}") for number in "12")
    shape = one.up.shape[0] * two.up.shape[0], one.down.shape[1] * two.down.shape[1]
    _require_size(*shape)
    rank = next((parts[key].shape[0] for key in ("lokr_w2_b", "lokr_w1_b") if key in parts), None)
    if one.rank * two.rank >= min(shape):
        return _whole(torch.kron(one.up @ one.down, two.up @ two.down)), rank
    # (B₁ A₁) ⊗ (B₂ A₂) = (B₁ ⊗ B₂) (A₁ ⊗ A₂)
    return LoraLayer(torch.kron(one.down, two.down), torch.kron(one.up, two.up)), rank


def _factor(parts: Mapping[str, torch.Tensor], name: str) -> LoraLayer:
    """One factor of a LoKr, in float32."""
    if name in parts:
        return _whole(parts[name].float())
    return _lora({"up": parts[f"{name}_a"].float(), "down": parts[f"{name}_b"].float()})[0]


def _loha(parts: Mapping[str, torch.Tensor]) -> tuple[LoraLayer, int | None]:
    import torch

    one, two = (_factor(parts, f"hada_w{number}") for number in "12")
    rank, shape = one.rank, (one.up.shape[0], one.down.shape[1])
    if shape != (two.up.shape[0], two.down.shape[1]):
        raise ValueError
    _require_size(*shape)
    if one.rank * two.rank >= min(shape):
        return _whole((one.up @ one.down) * (two.up @ two.down)), rank
    # Every pair of rank components is one of the product.
    down = torch.einsum("ai,bi->abi", one.down, two.down).flatten(0, 1)
    return LoraLayer(down, torch.einsum("oa,ob->oab", one.up, two.up).flatten(1)), rank


def _require_size(out: int, width: int) -> None:
    """Small factors of a damaged file may claim a product that no memory holds."""
    if out * width > LARGEST:
        raise ValueError


def _difference(parts: Mapping[str, torch.Tensor]) -> tuple[LoraLayer, int | None]:
    return _whole(parts["diff"].float()), None


def _whole(update: torch.Tensor) -> LoraLayer:
    """A whole matrix as a product: of itself and the smaller identity."""
    import torch

    if update.ndim != 2:
        raise ValueError
    out, width = update.shape
    identity = torch.eye(min(out, width), dtype=update.dtype)
    return LoraLayer(identity, update) if width <= out else LoraLayer(update, identity)


KINDS = (
    Kind("LoKr", "lokr_", "lokr_w1 and lokr_w2 of every layer, or their _a and _b", _lokr),
    Kind("LoHa", "hada_", "hada_w1_a, hada_w1_b, hada_w2_a and hada_w2_b of every layer", _loha),
    Kind("whole difference", "diff", "a matrix [out, in] of every layer", _difference),
    Kind(LORA, "", "lora_A [rank, in] and lora_B [out, rank]", _lora),
)
