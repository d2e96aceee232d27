"""One small file for each family of models, and what is known of it by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pairedit_sdk.models.families.family import Family

#: Pipeline classes of diffusers, and the module and the class that know them.
FAMILIES = {
    "FluxPipeline": ("flux1", "Flux1"),
    "FluxKontextPipeline": ("flux1", "Flux1Kontext"),
    "Flux2KleinPipeline": ("flux2", "Klein"),
    "Flux2Pipeline": ("flux2", "Flux2Dev"),
    "ZImagePipeline": ("z_image", "ZImage"),
    "QwenImagePipeline": ("qwen_image", "QwenImage"),
    "QwenImageEditPlusPipeline": ("qwen_image", "QwenImageEdit"),
    "ChromaPipeline": ("chroma", "Chroma"),
}
#: Short names of published models, and their hub ids.
ALIASES = {
    "flux-dev": "black-forest-labs/FLUX.1-dev",
    "flux-schnell": "black-forest-labs/FLUX.1-schnell",
    "kontext-dev": "black-forest-labs/FLUX.1-Kontext-dev",
    "klein-base-4b": "black-forest-labs/FLUX.2-klein-base-4B",
    "klein-4b": "black-forest-labs/FLUX.2-klein-4B",
    "klein-base-9b": "black-forest-labs/FLUX.2-klein-base-9B",
    "klein-9b": "black-forest-labs/FLUX.2-klein-9B",
    "flux2-dev": "black-forest-labs/FLUX.2-dev",
    "z-image": "Tongyi-MAI/Z-Image",
    "z-image-turbo": "Tongyi-MAI/Z-Image-Turbo",
    "qwen-image": "Qwen/Qwen-Image",
    "qwen-image-edit": "Qwen/Qwen-Image-Edit-2511",
    "chroma": "lodestones/Chroma1-HD",
}
#: What tells the pipeline class of a hub id that is not on this machine: the first of these that
#: is in its name, in lower case.
_IN_NAMES = {
    "kontext": "FluxKontextPipeline",
    "klein": "Flux2KleinPipeline",
    "flux.2": "Flux2Pipeline",
    "flux2": "Flux2Pipeline",
    "flux": "FluxPipeline",
    "z-image": "ZImagePipeline",
    "qwen-image-edit": "QwenImageEditPlusPipeline",
    "qwen-image": "QwenImagePipeline",
    "chroma": "ChromaPipeline",
}
#: The same for the architectures in edits' files: the first that one begins with.
_ARCHITECTURES = {
    "flux-1-kontext": "FluxKontextPipeline",
    "flux-1-mini-kontext": "FluxKontextPipeline",
    "flux-1": "FluxPipeline",
    "flux-2-klein": "Flux2KleinPipeline",
    "flux-2": "Flux2Pipeline",
    "z-image": "ZImagePipeline",
    "qwen-image-edit": "QwenImageEditPlusPipeline",
    "qwen-image": "QwenImagePipeline",
    "chroma": "ChromaPipeline",
}


#: Words for the families on the Hub; an architecture begins with one.
_TAGS = ("flux", "z-image", "qwen-image", "chroma")


def hub_tag(architecture: str) -> str | None:
    """The Hub's word for a model's family, by the architecture in an edit's file, or nothing."""
    said = _plain(architecture)
    return next((tag for tag in _TAGS if said.startswith(_plain(tag))), None)


def hub_id(name: str) -> str | None:
    """The hub id of a model that the Hub certainly has, by itself or its last part, or nothing.

    A folder may hold anything, whatever it is called.
    """
    known = {known: known for known in ALIASES.values()}
    return (known | {each.rpartition("/")[2]: each for each in known}).get(name)


def family_class(pipeline: str) -> type[Family]:
    """The family of a pipeline class that is in :data:`FAMILIES`."""
    module, name = FAMILIES[pipeline]
    found: type[Family] = getattr(import_module(f"{__name__}.{module}"), name)
    return found


def pipeline_of_hub_id(hub_id: str) -> str | None:
    """The pipeline class that a hub id's name tells of, or nothing."""
    name = hub_id.lower()
    return next((kind for word, kind in _IN_NAMES.items() if word in name), None)


def pipeline_of_architecture(architecture: str) -> str | None:
    """The pipeline class of an edit's architecture, or nothing. Tools differ in capitals and
    punctuation: ``Flux.2-dev`` is ``flux-2-dev``."""
    said, known = _plain(architecture), _ARCHITECTURES.items()
    return next((kind for start, kind in known if said.startswith(_plain(start))), None)


def _plain(architecture: str) -> str:
    return "".join(letter for letter in architecture.lower() if letter.isalnum())


def are_siblings(one: str, other: str) -> bool:
    """Whether a family says that edits of these two different architectures work on each other."""
    families = map(family_class, FAMILIES)
    return one != other and any(
        {one, other} <= group for family in families for group in family.siblings
    )


def guidance_differs(one: str, other: str) -> bool:
    """Whether a distilled guidance is known to mean different things for two architectures, as they
    are of different families. An edit that does not say its own is taken for one of FLUX.1."""
    modules = [
        FAMILIES[kind][0] if kind else None
        for kind in (pipeline_of_architecture(name or "flux-1") for name in (one, other))
    ]
    return None not in modules and len(set(modules)) > 1
