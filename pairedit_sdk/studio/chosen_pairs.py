"""The pairs that somebody chose on the page: uploaded, an example, or a folder of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import InputError, UsageError, counted, nearest, printable
from pairedit_sdk.images.image import as_rgb
from pairedit_sdk.images.opening import opened
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.pairs.changed_picture import changed_picture
from pairedit_sdk.pairs.folder import natural
from pairedit_sdk.pairs.matching import match_files
from pairedit_sdk.pairs.pair_set import PairSet, check_set

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.pairs.pair_set import PairReport
    from pairedit_sdk.studio.trainings import Trainings

#: Pixels that a checked pair is shown with, along the longer side.
SHOWN = 1024
UPLOADED, EXAMPLE, FOLDER = "uploaded", "example", "folder"


@dataclass(frozen=True)
class Chosen:
    """Where pairs come from.

    Attributes:
        kind: :data:`UPLOADED`, :data:`EXAMPLE` or :data:`FOLDER`.
        files: (name, before, after) of uploaded pictures.
        folder: of the others.
    """

    kind: str
    files: tuple[tuple[str, Path, Path], ...] = ()
    folder: Path | None = None

    def pairs(self) -> PairSet:
        """The pictures.

        Raises:
            InputError: about all that cannot be used.
        """
        if self.folder is not None:
            return PairSet.from_folder(self.folder)
        return PairSet.from_images(
            [(_read(one, "before"), _read(two, "after")) for _, one, two in self.files],
            [name for name, _, _ in self.files],
        )

    def kept(self, name: str, trainings: Trainings) -> Path:
        """The folder that a training reads; uploaded pictures are kept under its name.

        Raises:
            InputError, UsageError, WriteError: see :meth:`.Trainings.keep_pairs`.
        """
        if self.folder is not None:
            return self.folder
        return trainings.keep_pairs(name, [(before, after) for _, before, after in self.files])


def example_names() -> list[str]:
    """The sets of pairs that come with the package."""
    folder = examples_dir() / "pairs"
    return sorted((p.name for p in folder.iterdir() if p.is_dir()), key=natural)


def chosen(
    kind: str,
    befores: Sequence[str | Path],
    afters: Sequence[str | Path],
    example: str,
    folder: str,
    *,
    local: bool,
) -> Chosen:
    """What the fields of the page say.

    Args:
        kind: which of the others counts.
        befores: uploaded files.
        afters: likewise.
        example: one of :func:`example_names`.
        folder: a folder's path.
        local: whether it is somebody on this machine who asks. Nobody else may name a folder.

    Raises:
        InputError: there is nothing, or nothing that goes together.
        UsageError: an unknown example, or a folder that may not be named.
    """
    if kind == FOLDER:
        if not local:
            raise UsageError(
                "Folders of the studio's machine can be named there alone",
                next_step="Upload the pictures",
            )
        if not folder.strip():
            raise InputError("No folder of pairs is named")
        return Chosen(kind, folder=Path(folder.strip()).expanduser())
    if kind == EXAMPLE:
        if example not in example_names():
            hint = nearest(example, example_names())
            raise UsageError(f"There are no example pairs {example!r}", next_step=hint)
        return Chosen(kind, folder=examples_dir() / "pairs" / example)
    return Chosen(UPLOADED, tuple(match_files(befores, afters)))


@dataclass(frozen=True)
class CheckedPair:
    """A pair with what was found about it.

    Attributes:
        report: the verdict.
        picture: before and after side by side, what changes tinted in the after picture.
    """

    report: PairReport
    picture: Image.Image

    @property
    def caption(self) -> str:
        """The verdict and the measures, for under the picture."""
        report = self.report
        return f"{printable(report.name)}: {report.verdict}, {said_area(report.changed_area)}"

    @property
    def sentence(self) -> str:
        """Why, by how much the after picture is shifted, and what to do."""
        report = self.report
        dx, dy = report.shift
        shift = f"Shift {dx:+d}, {dy:+d} pixels. " if dx or dy else ""
        return printable(f"{report.reason}. {shift}{report.advice}".strip())


@dataclass(frozen=True)
class Checked:
    """All pairs with what was found about them.

    Attributes:
        pairs: each by itself.
        advice: about all of them, in sentences.
        worth_training: whether there are pairs and none of them is bad.
    """

    pairs: list[CheckedPair]
    advice: list[str]
    worth_training: bool

    @property
    def sentence(self) -> str:
        """What they are worth together."""
        count = len(self.pairs)
        bad = sum(one.report.verdict == "bad" for one in self.pairs)
        if not self.worth_training:
            are = "it is" if bad == 1 else "they are"
            return f"Not worth training: {bad} of {counted(count, 'pair')} cannot be used as {are}."
        unknown = "" if count > 2 else " Which side is before takes three pairs to be told."
        return f"Worth training: {counted(count, 'pair')}.{unknown}"


def check_chosen(pairs: PairSet) -> Checked:
    """Look at pairs as ``pairedit check`` does, and draw where they change."""
    found = check_set(pairs)
    drawn = [
        CheckedPair(report, _side_by_side(pair.before, changed_picture(pair)))
        for report, pair in zip(found.pairs, pairs, strict=True)
    ]
    return Checked(drawn, found.advice, found.worth_training)


def _read(file: Path, side: str) -> Image.Image:
    """As :func:`~pairedit_sdk.images.image.read_image`; an error does not say where it lies."""
    called = f"The {side} picture '{file.name}'"
    with opened(file, called) as image:
        return as_rgb(image, called)


def _side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    from PIL import Image

    both = Image.new("RGB", (before.width + after.width, before.height))
    both.paste(before, (0, 0))
    both.paste(after, (before.width, 0))
    both.thumbnail((SHOWN, SHOWN))
    return both


def said_area(share: float) -> str:
    """A share of a picture, in words."""
    return f"{share:.0%} changes" if share >= 0.1 else f"{share:.1%} changes"
