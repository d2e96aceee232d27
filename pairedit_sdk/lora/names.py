"""What other tools call the layers of a family of models, as a table that can be read both ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

#: The lists of blocks in diffusers' transformers, of families without names of their own too.
OWN_BLOCKS = (
    "transformer_blocks",
    "single_transformer_blocks",
    "layers",
    "noise_refiner",
    "context_refiner",
)

_OWN = re.compile(rf"({'|'.join(OWN_BLOCKS)})\.\d+\..+")


class Place(NamedTuple):
    """Where a module of a file belongs.

    Attributes:
        layers: those whose rows it has, one after the other, by diffusers' names; none if the
            module is unknown.
        swapped: the halves of its rows are the other way round.
    """

    layers: tuple[str, ...] = ()
    swapped: bool = False


@dataclass(frozen=True)
class LayerNames:
    """One family's layers by the names of other tools.

    Other tools' names, and their parts, have ``_`` for each dot.

    Attributes:
        blocks: another tool's list of blocks, to diffusers' list and the parts of a block; each
            part to the layers of the block whose rows it has.
        outside: other names of the layers outside the blocks.
        fused: diffusers' own fused projections within a block, with their layers.
        swapped: layers outside the blocks, the halves of whose rows have changed places.
    """

    blocks: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]]
    outside: Mapping[str, str]
    fused: Mapping[str, tuple[str, ...]]
    swapped: frozenset[str] = frozenset()

    def of_other(self, name: str) -> Place:
        """The place of another tool's name, with dots or ``_``."""
        name = name.replace(".", "_")
        if layer := self.outside.get(name):
            return Place((layer,), layer in self.swapped)
        found = self._other_block.fullmatch(name)
        if found is None:
            return Place()
        own, parts = self.blocks[found[1]]
        return Place(tuple(f"{own}.{found[2]}.{part}" for part in parts.get(found[3], ())))

    def of_flat(self, name: str) -> Place:
        """The place of diffusers' name, with dots or ``_``, of a layer that the family has."""
        name = name.replace(".", "_")
        if layer := {own.replace(".", "_"): own for own in self.outside.values()}.get(name):
            return Place((layer,))
        found = self._flat_block.fullmatch(name)
        if found is None:
            return Place()
        return Place(tuple(f"{found[1]}.{found[2]}.{p}" for p in self._parts.get(found[3], ())))

    def of_known(self, name: str) -> Place:
        """The place of a name of either kind, with dots or ``_``."""
        return self.of_other(name) if self.of_other(name).layers else self.of_flat(name)

    def of_own(self, name: str) -> Place:
        """The place of a name with dots: another tool's, or diffusers' in whatever family."""
        known = self.of_known(name)
        return Place((name,)) if not known.layers and _OWN.fullmatch(name) else known

    def of_any(self, name: str) -> Place:
        """The same, where a name that is not another tool's is taken for diffusers'."""
        known = self.of_known(name)
        foreign = self._other_block.fullmatch(name.replace(".", "_"))
        return known if known.layers or foreign else Place((name,))

    def other_of(self, layer: str) -> tuple[str, tuple[str, ...]] | None:
        """Another tool's name of a layer, and all layers that are fused in it."""
        for name, own in self.outside.items():
            if own == layer:
                return name, (layer,)
        for other, (block, parts) in self.blocks.items():
            found = re.fullmatch(rf"{block}\.(\d+)\.(.+)", layer)
            for name, layers in parts.items() if found else ():
                if found is not None and found[2] in layers:
                    fused = tuple(f"{block}.{found[1]}.{part}" for part in layers)
                    return f"{other}_{found[1]}_{name}", fused
        return None

    @cached_property
    def _other_block(self) -> re.Pattern[str]:
        return re.compile(rf"({'|'.join(self.blocks)})_(\d+)_(\w+)")

    @cached_property
    def _flat_block(self) -> re.Pattern[str]:
        return re.compile(rf"({'|'.join(own for own, _ in self.blocks.values())})_(\d+)_(\w+)")

    @cached_property
    def _parts(self) -> dict[str, tuple[str, ...]]:
        """The layers of a block by their own names, and fused ones, with ``_`` for each dot."""
        single = {
            part: (part,)
            for _, parts in self.blocks.values()
            for layers in parts.values()
            for part in layers
        }
        return {name.replace(".", "_"): own for name, own in (single | dict(self.fused)).items()}
