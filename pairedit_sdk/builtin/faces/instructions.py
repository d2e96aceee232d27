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


#: What is said of things of a kind, whichever it is.
_KINDS_OF = {
    "glasses": "glasses",
    "hat": "a hat",
    "beard": "a beard",
    "earrings": "earrings",
    "lipstick": "lipstick",
    "freckles": "freckles",
    "blush": "rosy cheeks",
    "necklace": "a necklace",
}
_PARTS = {
    **_NOUNS,
    "ageing": "person",
    "fullness": "person",
    "hat_size": "hat",
    "glasses_size": "glasses",
    "eye_scale": "eyes",
    "nose_scale": "nose",
    "mouth_scale": "mouth",
}


def coarse_instruction(attribute: str, value: str) -> str:
    """Which attribute is to be changed, and not to what: LoRWeB's captions.

    "add glasses" for sunglasses as for round ones, "make the hair" for any of its colours. The
    value has to be seen in a and a′.
    """
    if attribute == "style":
        return "turn it into a photo"
    if attribute in _KINDS_OF:
        return f"{'remove' if value in _NONE else 'add'} {_KINDS_OF[attribute]}"
    return f"make the {_PARTS.get(attribute, attribute)}"
