"""Short instructions that name a change of a drawn face, for the built-in Kontext model."""

from __future__ import annotations

from pairedit_sdk.builtin.faces.face import ATTRIBUTES, Face

_NONE = ("none", "no")
_NOUNS = {
    "chubby": "person",
    "age": "person",
    "face_shape": "face",
    "hair_style": "hair",
    "hair_color": "hair",
    "eye_color": "eyes",
    "eye_size": "eyes",
    "hat_color": "hat",
    "shirt_color": "shirt",
    "collar": "shirt",
}
_ADDED = {
    ("mouth", "smiling"): "a smile",
    ("mouth", "laughing"): "a laugh",
    ("beard", "stubble"): "stubble",
    ("beard", "mustache"): "a mustache",
    ("beard", "full"): "a beard",
    ("glasses", "sunglasses"): "sunglasses",
    ("hat", "cap"): "a cap",
    ("hat", "beanie"): "a beanie",
    ("hat", "top"): "a top hat",
    ("freckles", "yes"): "freckles",
    ("blush", "yes"): "rosy cheeks",
    ("necklace", "yes"): "a necklace",
}
_STYLES = {
    "photo": "a photo",
    "sketch": "a pencil sketch",
    "night": "a night photo",
    "sepia": "a sepia photo",
}


def instruction(after: Face, attribute: str) -> str:
    """What to say so that a face gets the value of ``attribute`` that ``after`` has.

    For example "add round glasses", "remove the hat", "make the hair red".
    """
    value = str(getattr(after, attribute))
    if attribute == "style":
        return f"turn it into {_STYLES[value]}"
    if attribute == "chubby":
        return "make the person chubby" if value == "yes" else "make the person thin"
    if (attribute, value) in _ADDED:
        return f"add {_ADDED[attribute, value]}"
    if attribute in ("glasses", "lipstick", "earrings") and value not in _NONE:
        return f"add {value} {attribute}"
    if value in _NONE:
        return f"remove the {'rosy cheeks' if attribute == 'blush' else attribute}"
    if (attribute, value) == ("hair_style", "bald"):
        return "make the head bald"
    if (attribute, value) == ("hair_style", "bun"):
        return "turn the hair into a bun"
    return f"make the {_NOUNS.get(attribute, attribute)} {value}"


def open_instructions() -> frozenset[str]:
    """Instructions that leave something open that a picture shows: "add a cap" says no colour."""
    hats = (value for value in ATTRIBUTES["hat"] if value not in _NONE)
    return frozenset(instruction(Face().with_(hat=hat), "hat") for hat in hats)


def all_instructions() -> tuple[str, ...]:
    """Every instruction that :func:`instruction` has for the attributes' values, sorted."""
    return tuple(
        sorted(
            {
                instruction(Face().with_(**{name: value}), name)
                for name, values in ATTRIBUTES.items()
                for value in values
            }
        )
    )
