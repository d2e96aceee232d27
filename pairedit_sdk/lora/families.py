"""Which family of models a LoRA is of. Names overlap: ``double_blocks`` are FLUX.1's and FLUX.2's.

Names that only one family has and the shapes of layers tell most files' family. Where several are
left that read a file alike, it makes no difference. Where they read it differently, the model that
the user names or the file's metadata decide, and then names of diffusers' form that are diffusers'
own in one family and another tool's in others; otherwise nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pairedit_sdk.errors import EditError
from pairedit_sdk.lora.flux2_names import FLUX2
from pairedit_sdk.lora.flux_names import CHROMA, FLUX
from pairedit_sdk.lora.formats import PREFIX, placed
from pairedit_sdk.lora.kinds import Module, shape_of
from pairedit_sdk.lora.names import LayerNames
from pairedit_sdk.lora.qwen_names import QWEN
from pairedit_sdk.lora.z_image_names import Z_IMAGE

#: Of those that are equally likely and read a file alike, the first is taken.
FAMILIES = (FLUX, FLUX2, Z_IMAGE, QWEN, CHROMA)
#: Metadata that says the model's kind: of the modelspec standard, and of kohya's tools and
#: ai-toolkit.
STATED = ("modelspec.architecture", "ss_base_model_version")


def family_named(architecture: str) -> LayerNames | None:
    """The family of an architecture, as one of the tools writes it; ``None`` if it is unknown."""
    plain = "".join(letter for letter in architecture.lower() if letter.isalnum())
    return next((f for f in FAMILIES if plain.startswith(f.marks)), None)


def family_in_file(
    modules: Mapping[str, Module], header: Mapping[str, str], path: Path, architecture: str = ""
) -> LayerNames:
    """The family of a file's modules.

    Args:
        modules: by their names in the file.
        header: the file's metadata.
        path: of the file, for messages.
        architecture: of the model that the user names; it decides wherever the file's names allow.

    Raises:
        EditError: several families read the file, and differently.
    """
    names = {family.name: _known(modules, family) for family in FAMILIES}
    said = family_named(architecture)
    if said is not None and len(names[said.name]) == max(map(len, names.values())):
        return said
    fitting = {
        family.name: sum(_fits(name, modules[name], family) for name in names[family.name])
        for family in FAMILIES
    }
    best = [family for family in FAMILIES if fitting[family.name] == max(fitting.values())]

    def reading(family: LayerNames) -> object:
        found = (placed(name, family) for name in modules)
        return [place and place[2] for place in found]

    stated = [family_named(header[key]) for key in STATED if key in header]
    left = _left(best, [said, *stated], reading)
    own = [sum(_is_own(name, family) for name in modules) for family in left]
    left = [family for family, count in zip(left, own, strict=True) if count == max(own)]
    if len(left) == 1:
        return left[0]
    raise EditError(
        f"{path.name} does not say which model it was made for, and its layers can be "
        f"{_list(left)}",
        expected="metadata, names or shapes that tell the model",
        next_step=f"Name the model with `pairedit edits import {path} --base MODEL`",
    )


def family_of_layers(layers: Iterable[str], architecture: str, form: str) -> LayerNames:
    """The family whose names layers are to be written in.

    Args:
        layers: diffusers' names.
        architecture: of the edit, if it is known.
        form: that they are written in, for messages.

    Raises:
        EditError: several families have these layers, and other tools call them differently.
    """
    names = list(layers)
    count = {f.name: sum(f.other_of(name) is not None for name in names) for f in FAMILIES}
    best = [family for family in FAMILIES if count[family.name] == max(count.values())]

    def writing(family: LayerNames) -> object:
        return [family.other_of(name) for name in names]

    left = _left(best, [family_named(architecture)], writing)
    if len(left) == 1:
        return left[0]
    raise EditError(
        f"The edit does not say which model it is of, and its layers can be {_list(left)}, which "
        f"have different names in the form of {form}",
        expected="an edit whose architecture is known",
        next_step="Import its file again with `pairedit edits import FILE --base MODEL`, or "
        "export it as diffusers",
    )


def _known(modules: Iterable[str], family: LayerNames) -> list[str]:
    """The modules whose layers the family has by a name of its own."""
    found = ((name, placed(name, family)) for name in modules)
    return [name for name, place in found if place and family.of_known(place[1]).layers]


def _is_own(name: str, family: LayerNames) -> bool:
    """Whether a module of diffusers' form has diffusers' own name in the family: ``img_in`` is
    Qwen-Image's, and another name of a layer in FLUX.1."""
    found = placed(name, family)
    return found is not None and found[0].prefix.endswith(PREFIX) and found[2][0] == (found[1],)


def _fits(name: str, module: Module, family: LayerNames) -> bool:
    place, shape = placed(name, family), shape_of(module)
    return shape is None or (place is not None and family.fits(place[1], *shape))


def _left(
    best: Sequence[LayerNames],
    said: Iterable[LayerNames | None],
    view: Callable[[LayerNames], object],
) -> list[LayerNames]:
    """The family that is said if it is one of the best; otherwise one of each that differ."""
    for family in said:
        if family is not None and family in best:
            return [family]
    left: list[tuple[LayerNames, object]] = []
    for family in best:
        if (own := view(family)) not in [other for _, other in left]:
            left.append((family, own))
    return [family for family, _ in left]


def _list(families: Iterable[LayerNames]) -> str:
    return " or ".join(f"{family.name}'s" for family in families)
