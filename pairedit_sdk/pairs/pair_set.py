"""Before/after pairs: read from a folder or from memory, matched by name, ready to train on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from pairedit_sdk.errors import InputError, UsageError, counted
from pairedit_sdk.images.image import as_rgb, read_image, resized
from pairedit_sdk.pairs.check import PairReport, SetReport, check_pairs, check_set, worth_training
from pairedit_sdk.pairs.folder import (
    LAYOUTS,
    contents_of,
    find_pairs,
    folder_hint,
    natural,
    partner_hint,
)

__all__ = [
    "Pair",
    "PairReport",
    "PairSet",
    "SetReport",
    "check_pairs",
    "check_set",
    "natural",
    "worth_training",
]


#: How far the aspect ratios of a before and an after picture may differ.
ASPECT_TOLERANCE = 0.02


Picture = Image.Image | str | Path


@dataclass(frozen=True)
class Pair:
    """One before/after pair, decoded: two RGB pictures of the same size.

    Attributes:
        name: of the pair.
        before: the before picture.
        after: the after picture, at the size of the before picture.
        before_path: where it was read, if it was.
        after_path: where it was read, if it was.
        after_size: width and height that the after picture had, where they were others.
    """

    name: str
    before: Image.Image
    after: Image.Image
    before_path: Path | None = None
    after_path: Path | None = None
    after_size: tuple[int, int] | None = None


class PairSet:
    """Pairs in the natural order of their names ("2" before "10")."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = tuple(sorted(pairs, key=lambda pair: natural(pair.name)))

    @classmethod
    def from_folder(cls, path: str | Path) -> PairSet:
        """Read a folder in one of the :data:`LAYOUTS`; names match in any case and Unicode form.

        Hidden files and files that are no pictures by their name are left alone. An after picture
        of another size but the same aspect ratio is resized to the size of its before picture.

        Raises:
            InputError: about the folder, or about all its unusable files at once.
        """
        folder = Path(path)
        try:
            return cls._from_folder(folder)
        except OSError as error:  # what may not be looked into; the pictures say it of themselves
            raise InputError(
                f"Pairs folder '{folder}' cannot be read",
                expected="a folder whose files may be listed and read",
                got=f"{error.strerror or error} ({error.filename or folder})",
                next_step="Check its permissions",
            ) from error

    @classmethod
    def _from_folder(cls, folder: Path) -> PairSet:
        if not folder.is_dir():
            raise InputError(
                f"Pairs folder '{folder}' "
                + ("is a file" if folder.exists() else "does not exist"),
                expected=f"a folder: {LAYOUTS}",
                next_step=folder_hint(folder),
            )
        problems: list[str] = []
        befores, afters = find_pairs(folder, problems)
        if not (befores or afters or problems):
            raise InputError(
                f"Pairs folder '{folder}' holds no pairs", expected=LAYOUTS, got=contents_of(folder)
            )
        for name in sorted(befores.keys() ^ afters.keys(), key=natural):
            lone, wanted = (befores, "after") if name in befores else (afters, "before")
            file = lone[name].relative_to(folder)
            problems.append(
                f"'{file}' has no {wanted} picture{partner_hint(name, befores, afters)}"
            )
        pairs = []
        for name in sorted(befores.keys() & afters.keys(), key=natural):
            pair = _read_pair(name, befores[name], afters[name], problems)
            if pair is not None:
                pairs.append(pair)
        if problems:
            many = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
            raise InputError(
                f"Pairs folder '{folder}' has {many}: {'; '.join(problems)}",
                expected=LAYOUTS,
                next_step="Put the files right or take them out; nothing was read in part",
            )
        return cls(pairs)

    @classmethod
    def from_images(
        cls, images: Sequence[tuple[Picture, Picture]], names: Sequence[str] | None = None
    ) -> PairSet:
        """Take pairs of pictures, or of paths, as they are given.

        Args:
            images: (before, after), each a PIL picture in any mode or a path.
            names: one for each pair; otherwise "1", "2", …

        Raises:
            UsageError: if there is no pair, a pair is not two pictures, or the names do not fit.
            InputError: about all unusable pictures at once.
        """
        count = len(images)
        names = [str(k + 1) for k in range(count)] if names is None else list(names)
        if not count or len(names) != count or len(set(names)) != count:
            raise UsageError(
                "PairSet.from_images",
                expected="at least one pair, and as many different names as pairs",
                got=f"{counted(count, 'pair')} and the names {names}",
            )
        problems: list[str] = []
        pairs = []
        for name, item in zip(names, images, strict=True):
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise UsageError(
                    f"PairSet.from_images, pair '{name}'",
                    expected="(before, after)",
                    got=f"{type(item).__name__}",
                )
            pair = _read_pair(name, item[0], item[1], problems)
            if pair is not None:
                pairs.append(pair)
        if problems:
            raise InputError(f"Some pictures cannot be used: {'; '.join(problems)}")
        return cls(pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        return self._pairs[index]

    def __repr__(self) -> str:
        return f"PairSet({', '.join(self.names)})"

    @property
    def names(self) -> list[str]:
        """The names of the pairs, in order."""
        return [pair.name for pair in self._pairs]

    @property
    def fingerprint(self) -> str:
        """A short hash of the names and pictures, pixel by pixel, whatever files they are from."""
        digest = hashlib.sha256()
        for pair in self:
            digest.update(f"{pair.name}/{pair.before.size}".encode())
            digest.update(pair.before.tobytes())
            digest.update(pair.after.tobytes())
        return digest.hexdigest()[:16]


#: A set of pairs, a folder, or a list of (before, after), each a picture or a path.
Pairs: TypeAlias = PairSet | str | Path | Sequence[tuple[Picture, Picture]]


def as_pairs(pairs: Pairs) -> PairSet:
    """Pairs of any of these kinds as a set.

    Raises:
        UsageError: it is something else, or empty.
        InputError: pictures that cannot be used.
    """
    if isinstance(pairs, str | Path):
        return PairSet.from_folder(pairs)
    if isinstance(pairs, list | tuple) and pairs:
        return PairSet.from_images(pairs)
    if isinstance(pairs, PairSet) and len(pairs):
        return pairs
    is_empty = isinstance(pairs, PairSet | list | tuple)
    raise UsageError(
        "These are no pairs",
        expected="a PairSet, a folder, or a list of (before, after) pictures or paths",
        got="none at all" if is_empty else type(pairs).__name__,
        next_step="Read a folder with PairSet.from_folder(path)",
    )


def _read_pair(name: str, before: Picture, after: Picture, problems: list[str]) -> Pair | None:
    pictures: list[Image.Image] = []
    for side, picture in (("before", before), ("after", after)):
        try:
            if isinstance(picture, Image.Image):
                pictures.append(as_rgb(picture, f"The {side} picture of '{name}'"))
            elif isinstance(picture, str | Path):
                pictures.append(read_image(picture))
            else:
                kind = type(picture).__name__
                problems.append(f"the {side} picture of '{name}' is a {kind}, no picture or path")
        except InputError as error:
            problems.append(f"{error.what}" + (f" ({error.got})" if error.got else ""))
    if len(pictures) < 2:
        return None
    first, second = pictures
    off = (second.width * first.height) / (second.height * first.width)
    if abs(off - 1) > ASPECT_TOLERANCE:
        problems.append(
            f"pair '{name}' has pictures of different shape: before {first.width} x {first.height},"
            f" after {second.width} x {second.height}"
        )
        return None
    had = second.size if second.size != first.size else None
    second = resized(second, first.size)
    paths = [None if isinstance(p, Image.Image) else Path(p) for p in (before, after)]
    return Pair(name, first, second, paths[0], paths[1], had)
