"""The demo's analogy: a change that it has no edit of, made from one example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.images.files import write_image

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.builtin.faces.face import Face
    from pairedit_sdk.models.protocol import FlowModel

#: A pink that the model has no word for, and that no analogy of the shipped basis showed.
BACKGROUND = "#f77fb0"
FOLDER = "analogy"  #: of a and a′ in the output


def draw_example(face: Face, out: Path, size: int) -> tuple[Path, Path]:
    """a and a′: a face, and the same on another background."""
    shown = {"a": face, "a_prime": face.with_(background=BACKGROUND)}
    a, a_prime = (
        write_image(one.draw(size), out / FOLDER / f"{name}.png") for name, one in shown.items()
    )
    return a, a_prime


def analogy_picture(
    base: FlowModel, example: Sequence[Path], face: Face, size: int, seed: int
) -> tuple[Image.Image, str]:
    """a, a′, b, what is made of b and what it should be; and what has made it.

    Args:
        base: the model.
        example: the files of a and a′.
        face: b.
        size: of the pictures.
        seed: of the noises.

    Raises:
        InputError: nothing answers it.
    """
    from pairedit_sdk.cli.services import answer_analogy, edit_image
    from pairedit_sdk.images.image import read_image
    from pairedit_sdk.images.plots import collage

    a, a_prime = map(read_image, example)
    b, truth = face.draw(size), face.with_(background=BACKGROUND).draw(size)
    answer = answer_analogy(base, None, (a, a_prime, b), seed=seed)
    made = edit_image(base, b, answer.require("Show another change"), seed=seed)
    labels = ["a", "a'", "b", "made", "drawn truth"]
    title = "A change that no edit makes, from one example"
    return collage([[a, a_prime, b, made, truth]], labels, title=title), answer.sentence
