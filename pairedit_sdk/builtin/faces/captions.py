"""What can be said of a drawn face: captions that name what can be seen, and nothing else."""

from __future__ import annotations

import random

from pairedit_sdk.builtin.faces.colours import is_hex
from pairedit_sdk.builtin.faces.face import Face, visible

#: Values that a caption leaves unsaid most of the time, because nothing is there to be named.
_ABSENT = {"none", "no"}
_MOUTHS = {
    "neutral": "a neutral mouth",
    "smiling": "a smile",
    "laughing": "a laugh",
    "sad": "a sad mouth",
}
_BEARDS = {"stubble": "stubble", "mustache": "a mustache", "full": "a beard"}
_GLASSES = {"round": "round glasses", "square": "square glasses", "sunglasses": "sunglasses"}
_HATS = {"cap": "cap", "beanie": "beanie", "top": "top hat"}
#: The attributes that some words name, and the words.
Phrase = tuple[tuple[str, ...], str]


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _has_word(face: Face, name: str) -> bool:
    """Whether a value can be told from the picture and has a name, which few colours have."""
    return visible(face, name) and not is_hex(getattr(face, name))


def _phrases(face: Face) -> list[Phrase]:
    """Everything that can be said after "with": (attributes named, words).

    Only what can be seen is said: an old person's grey hair has no other colour, and a pencil
    sketch none at all. Otherwise "red hair" would be learned as sometimes red.
    """

    def adjective(name: str) -> str:
        return f"{getattr(face, name)} " if _has_word(face, name) else ""

    said: list[Phrase] = [
        (("skin",), f"{face.skin} skin"),
        (("face_shape",), _with_article(f"{face.face_shape} face")),
    ]
    color = adjective("hair_color")
    if face.hair_style == "bald":
        said.append((("hair_style",), "a bald head"))
    elif face.hair_style == "bun" and visible(face, "hair_style"):
        said.append((("hair_style", "hair_color"), f"{color}hair in a bun"))
    else:
        said.append((("hair_style", "hair_color"), f"{adjective('hair_style')}{color}hair"))
    said.append((("eyebrows",), f"{face.eyebrows} eyebrows"))
    size, color = adjective("eye_size"), adjective("eye_color")
    if face.eye_size == "medium":
        said.append((("eye_color",), f"{color}eyes"))
    else:
        said.append((("eye_size", "eye_color"), f"{size}{color}eyes"))
    said.append((("nose",), f"a {face.nose} nose"))
    said.append((("mouth",), _MOUTHS[face.mouth]))
    if face.lipstick != "none":
        said.append((("lipstick",), f"{adjective('lipstick')}lipstick"))
    if face.glasses != "none":
        said.append((("glasses",), _GLASSES[face.glasses]))
    if face.beard != "none":
        said.append((("beard",), _BEARDS[face.beard]))
    if face.hat != "none":
        said.append((("hat", "hat_color"), f"a {adjective('hat_color')}{_HATS[face.hat]}"))
    if face.earrings != "none":
        said.append((("earrings",), f"{face.earrings} earrings"))
    if face.freckles == "yes":
        said.append((("freckles",), "freckles"))
    if face.blush == "yes":
        said.append((("blush",), "rosy cheeks"))
    if face.necklace == "yes":
        said.append((("necklace",), "a necklace"))
    color = adjective("shirt_color")
    if face.collar == "round":
        said.append((("shirt_color",), f"a {color}shirt"))
    else:
        said.append((("shirt_color", "collar"), f"a {color}{face.collar} shirt"))
    said.append((("background",), _with_article(f"{face.background} background")))
    seen = [
        (tuple(name for name in names if _has_word(face, name)), words) for names, words in said
    ]
    return [(names, words) for names, words in seen if names]


def _absences(face: Face) -> list[Phrase]:
    nouns = {
        "lipstick": "lipstick",
        "glasses": "glasses",
        "beard": "beard",
        "hat": "hat",
        "earrings": "earrings",
        "freckles": "freckles",
        "necklace": "necklace",
    }
    return [
        ((name,), f"no {noun}")
        for name, noun in nouns.items()
        if getattr(face, name) in _ABSENT and visible(face, name)
    ]


def caption(face: Face, rng: random.Random | None = None, limit: int | None = None) -> str:
    """A sentence that names what can be seen.

    Args:
        face: who is described.
        rng: if given, a random selection of the phrases in random order; otherwise all of them in
            a fixed order.
        limit: at most this many phrases.
    """
    return caption_parts(face, rng, limit)[0]


def caption_parts(
    face: Face, rng: random.Random | None = None, limit: int | None = None, least: int = 1
) -> tuple[str, frozenset[str]]:
    """The caption together with the attributes that it names; see :func:`caption`.

    With ``rng`` at least ``least`` phrases are said, if there are so many.
    """
    phrases = _phrases(face)
    adjectives = [(("age",), face.age)]
    if face.chubby == "yes" and visible(face, "chubby"):
        adjectives.append((("chubby",), "chubby"))
    if rng is not None:
        adjectives = [a for a in adjectives if rng.random() < 0.5]
        absent = _absences(face)
        if absent and rng.random() < 0.25:
            phrases.append(rng.choice(absent))
        most = len(phrases) if limit is None else limit
        phrases = rng.sample(phrases, min(len(phrases), rng.randint(min(least, most), most)))
        phrases = [_shorten(p, rng) for p in phrases]
    elif limit is not None:
        phrases = phrases[:limit]
    named = {name for names, _ in (*adjectives, *phrases) for name in names}
    words = " ".join(w for _, w in adjectives)
    text = _with_article(f"{words} person" if words else "person")
    if phrases:
        said = [w for _, w in phrases]
        text += " with " + (", ".join(said[:-1]) + " and " if len(said) > 1 else "") + said[-1]
    if face.style != "photo":
        kind = {"sketch": "pencil sketch", "night": "night photo", "sepia": "sepia photo"}
        text = f"{_with_article(kind[face.style])} of {text}"
        named.add("style")
    return text, frozenset(named)


def _shorten(phrase: Phrase, rng: random.Random) -> Phrase:
    """Half of the time, say only one of two attributes: "long red hair" → "red hair"."""
    names, words = phrase
    if len(names) < 2 or rng.random() < 0.5:
        return phrase
    parts = words.split()
    if names == ("hair_style", "hair_color") and parts[-1] == "hair":
        index = 0 if rng.random() < 0.5 else 1
        return (names[index],), f"{parts[index]} hair"
    if names == ("hair_style", "hair_color"):
        if rng.random() < 0.5:
            return (names[1],), f"{parts[0]} hair"
        return (names[0],), "hair in a bun"
    if names == ("eye_size", "eye_color"):
        index = 0 if rng.random() < 0.5 else 1
        return (names[index],), f"{parts[index]} eyes"
    if names == ("hat", "hat_color"):
        return ((names[0],), " ".join([parts[0], *parts[2:]]))
    return ((names[0],), f"a {parts[1]} shirt")
