"""What other tools call the layers of a family of models, as a table that can be read both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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
#: Lists of blocks that no transformer of diffusers has.
_FOREIGN = re.compile(r"(double_blocks|single_blocks)_\d+_.+")


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

    Names have dots here; tools that write ``_`` for each dot are read by the same table.

    Attributes:
        name: of the family, as messages say it.
        marks: what the family's architectures begin with, in lower case and without punctuation.
        blocks: another tool's list of blocks, to diffusers' list and the parts of a block; each
            part to the layers of the block whose rows it has. Of several names of the same layers
            the first is written. A part may have the same name in both.
        outside: other names of the layers outside the blocks.
        fused: diffusers' own fused projections within a block, with their layers.
        swapped: layers outside the blocks, the halves of whose rows have changed places.
        shapes: of other tools' parts, rows to columns, where they tell the family from another.
        own_names: ComfyUI and kohya's trainers read diffusers' names of this family too.
        dropped: layers that stock diffusers leaves out of kohya's form.
    """

    name: str
    marks: tuple[str, ...]
    blocks: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]]
    outside: Mapping[str, str]
    fused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    swapped: frozenset[str] = frozenset()
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    own_names: bool = False
    dropped: frozenset[str] = frozenset()

    def of_other(self, name: str) -> Place:
        """The place of another tool's name, with dots or ``_``, that is not diffusers' too."""
        place = self._of_table(flat(name))
        same = len(place.layers) == 1 and flat(place.layers[0]) == flat(name)
        return Place() if same else place

    def of_flat(self, name: str) -> Place:
        """The place of diffusers' name, with dots or ``_``, of a layer that the family has."""
        if layer := self._own_outside.get(flat(name)):
            return Place((layer,))
        found = self._own_block.fullmatch(flat(name))
        if found is None:
            return Place()
        block = self._own_lists[found[1]]
        return Place(tuple(f"{block}.{found[2]}.{p}" for p in self._own_parts.get(found[3], ())))

    def of_kohya(self, name: str) -> Place:
        """The place of a name that kohya's trainers write, which may be diffusers' own."""
        place = self._of_table(flat(name))
        return self.of_flat(name) if self.own_names and not place.layers else place

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
        return known if known.layers or _FOREIGN.fullmatch(flat(name)) else Place((name,))

    def fits(self, name: str, rows: int, columns: int) -> bool:
        """Whether a module of another tool's name can have this shape in the family."""
        found = self._other_block.fullmatch(flat(name))
        high, wide = self._flat_shapes.get(found[3] if found else "", (rows, columns))
        return rows * wide == columns * high

    def other_of(self, layer: str) -> tuple[str, tuple[str, ...]] | None:
        """Another tool's name of a layer, with dots, and all layers that are fused in it."""
        for name, own in self.outside.items():
            if own == layer:
                return name, (layer,)
        for other, (block, parts) in self.blocks.items():
            found = re.fullmatch(rf"{re.escape(block)}\.(\d+)\.(.+)", layer)
            for name, layers in parts.items() if found else ():
                if found is not None and found[2] in layers:
                    fused = tuple(f"{block}.{found[1]}.{part}" for part in layers)
                    return f"{other}.{found[1]}.{name}", fused
        return None

    def _of_table(self, name: str) -> Place:
        if layer := self._other_outside.get(name):
            return Place((layer,), layer in self.swapped)
        found = self._other_block.fullmatch(name)
        if found is None:
            return Place()
        block, parts = self._other_lists[found[1]]
        return Place(tuple(f"{block}.{found[2]}.{part}" for part in parts.get(found[3], ())))

    @cached_property
    def _other_outside(self) -> dict[str, str]:
        return {flat(name): own for name, own in self.outside.items()}

    @cached_property
    def _own_outside(self) -> dict[str, str]:
        return {flat(own): own for own in self.outside.values()}

    @cached_property
    def _other_lists(self) -> dict[str, tuple[str, dict[str, tuple[str, ...]]]]:
        return {
            flat(other): (own, {flat(name): layers for name, layers in parts.items()})
            for other, (own, parts) in self.blocks.items()
        }

    @cached_property
    def _own_lists(self) -> dict[str, str]:
        return {flat(own): own for own, _ in self.blocks.values()}

    @cached_property
    def _other_block(self) -> re.Pattern[str]:
        return _block(self._other_lists)

    @cached_property
    def _own_block(self) -> re.Pattern[str]:
        return _block(self._own_lists)

    @cached_property
    def _flat_shapes(self) -> dict[str, tuple[int, int]]:
        return {flat(name): shape for name, shape in self.shapes.items()}

    @cached_property
    def _own_parts(self) -> dict[str, tuple[str, ...]]:
        """The layers of a block by their own names, and fused ones, with ``_`` for each dot."""
        single = {
            part: (part,)
            for _, parts in self.blocks.values()
            for layers in parts.values()
            for part in layers
        }
        return {flat(name): own for name, own in (single | dict(self.fused)).items()}


def flat(name: str) -> str:
    """The name with ``_`` for each dot."""
    return name.replace(".", "_")


def _block(lists: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"({'|'.join(lists)})_(\d+)_(\w+)")
