"""Coarse captions: which attribute changes, never to what, as LoRWeB's training has them."""

from __future__ import annotations

_NONE = ("none", "no")
_ADDED = {
    "glasses": "glasses",
    "hat": "a hat",
    "beard": "a beard",
    "earrings": "earrings",
    "lipstick": "lipstick",
    "freckles": "freckles",
    "blush": "rosy cheeks",
    "necklace": "a necklace",
}
_NOUNS = {
    "chubby": "person",
    "age": "person",
    "ageing": "person",
    "fullness": "person",
    "face_shape": "face",
    "hair_style": "hair",
    "hair_color": "hair",
    "eye_color": "eyes",
    "eye_size": "eyes",
    "eye_scale": "eyes",
    "nose_scale": "nose",
    "mouth_scale": "mouth",
    "hat_color": "hat",
    "hat_size": "hat",
    "glasses_size": "glasses",
    "shirt_color": "shirt",
    "collar": "shirt",
}
TONE = "turn it into a photo"


def coarse_caption(change: tuple[str, object]) -> str:
    """What is said of a change of an attribute, a level, the marks or the tone of a face.

    For example "add glasses", "remove the hat", "make the hair"; in the words that the built-in
    models with instructions know.

    Args:
        change: the name of a field of :class:`~pairedit_sdk.builtin.faces.face.Face`, and the
            value that it gets; () for marks that are taken away.
    """
    name, value = change
    if name in ("style", "tone"):
        return TONE
    if name == "marks":
        return "add it" if value else "remove it"
    if name in _ADDED:
        if value in _NONE:
            return f"remove the {_ADDED[name].removeprefix('a ')}"
        return f"add {_ADDED[name]}"
    return f"make the {_NOUNS.get(name, name)}"
