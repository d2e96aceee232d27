"""Analogies a : a′ :: b : b′ on disk, to train a basis on.

Three layouts are read:

- prepared: ``control/ID.jpg`` is a strip a | a′ | b, ``target/ID.jpg`` is b′, ``target/ID.txt`` is
  what is asked for; this is what LoRWeB trains on;
- separate files: ``a/ID.png``, ``a_prime/ID.png``, ``b/ID.png`` and ``target/ID.png``, with the
  same caption files;
- Relation252K as it is downloaded: ``TASK/**/labels.json`` beside pictures that show before and
  after side by side. Every two pictures of a task are an analogy, each once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, overload

from pairedit_sdk.errors import InputError
from pairedit_sdk.images.image import read_image
from pairedit_sdk.images.opening import opened
from pairedit_sdk.lorweb.labels import NAME as LABELS
from pairedit_sdk.lorweb.labels import Labelled, read_labels

if TYPE_CHECKING:
    from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_FIELDS = ("a", "a_prime", "b")
#: EXIF orientations that turn a picture on its side.
_SIDEWAYS = (5, 6, 7, 8)
#: So many problems are named; of more, how many there are.
SHOWN = 20


@dataclass(frozen=True)
class Analogy:
    """b′ is to b what a′ is to a.

    Attributes:
        a: before.
        a_prime: after.
        b: another picture.
        b_prime: what is to be made of it.
        caption: what is asked for, in words; may be empty.
        task: which change it shows, where that is known.
    """

    a: Image.Image
    a_prime: Image.Image
    b: Image.Image
    b_prime: Image.Image
    caption: str = ""
    task: str = ""


def pictures_digest(analogies: Iterable[Analogy]) -> str:
    """A short hash of the pictures and captions themselves."""
    digest = hashlib.sha256()
    for analogy in analogies:
        for picture in (analogy.a, analogy.a_prime, analogy.b, analogy.b_prime):
            digest.update(picture.tobytes())
        digest.update(analogy.caption.encode())
    return digest.hexdigest()[:16]


class AnalogyFolder(Sequence[Analogy]):
    """The analogies of a folder; pictures are read when they are asked for.

    Args:
        folder: in one of three layouts: ``control/`` with strips a | a′ | b and ``target/``;
            ``a/``, ``a_prime/``, ``b/`` and ``target/``; or Relation252K as it is downloaded.

    Raises:
        InputError: another layout, or files that are missing, all of them at once. Pictures that
            are damaged or of different sizes are found when they are read, or by
            :meth:`require_readable`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(
                f"There is no folder of analogies {self.folder}", next_step="Check the path"
            )
        self._layout = _layout(self.folder)
        self.ids = self._layout.ids

    @property
    def digest(self) -> str:
        """A short hash of names, captions and file sizes: another one is other data."""
        found = hashlib.sha256()
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            found.update(f"{path.relative_to(self.folder)} {path.stat().st_size}\n".encode())
        for caption in self.captions:
            found.update(f"{caption}\n".encode())
        return found.hexdigest()[:16]

    @property
    def captions(self) -> list[str]:
        """The captions alone, without reading a picture."""
        return [self._layout.caption(name) for name in self.ids]

    def require_readable(self) -> None:
        """Open every picture without decoding it, so that a training does not end at one of them
        hours later. One that is cut short is only found when it is read.

        Raises:
            InputError: pictures that cannot be opened, or whose sizes do not fit, all of them at
                once.
        """
        _refuse(
            self.folder,
            list(self._layout.problems()),
            "cannot all be read",
            "Replace these files, or take out what belongs to them",
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Analogy: ...

    @overload
    def __getitem__(self, index: slice) -> list[Analogy]: ...

    def __getitem__(self, index: int | slice) -> Analogy | list[Analogy]:
        if isinstance(index, slice):
            return [self._layout.read(name) for name in self.ids[index]]
        return self._layout.read(self.ids[index])


@dataclass(frozen=True)
class _Layout:
    """What a folder's arrangement says: the ids, how each is read, and what is wrong with the
    pictures."""

    ids: Sequence[str]
    read: Callable[[str], Analogy]
    caption: Callable[[str], str]
    problems: Callable[[], Iterator[str]]


def _layout(folder: Path) -> _Layout:
    if (folder / "target").is_dir() and (folder / "control").is_dir():
        return _prepared(folder, ("control",))
    if (folder / "target").is_dir() and (folder / "a").is_dir():
        return _prepared(folder, _FIELDS)
    labels = sorted(folder.rglob(LABELS))
    if labels:
        return _relations(folder, labels)
    raise InputError(
        f"{folder} holds no analogies",
        expected="control/ and target/, or a/, a_prime/, b/ and target/, or Relation252K's folders "
        f"with a {LABELS} each",
    )


def _prepared(folder: Path, sides: Sequence[str]) -> _Layout:
    found = {side: _pictures(folder / side) for side in (*sides, "target")}
    names = sorted(set().union(*found.values()))
    _refuse(
        folder,
        [f"{side}/{n} is missing" for n in names for side, own in found.items() if n not in own],
    )
    if not names:
        raise InputError(f"{folder} holds no pictures", expected="at least one in target/")

    def caption(name: str) -> str:
        path = folder / "target" / f"{name}.txt"
        try:
            return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        except UnicodeDecodeError as error:
            raise InputError(f"The caption {path} is not text in UTF-8") from error

    def read(name: str) -> Analogy:
        b_prime = read_image(found["target"][name])
        if len(sides) == 1:
            a, a_prime, b = _thirds(found["control"][name])
        else:
            a, a_prime, b = (read_image(found[side][name]) for side in sides)
        _same_size(f"{folder.name}, {name}: a and a\N{PRIME}", a, a_prime)
        if len(sides) > 1:
            _same_size(f"{folder.name}, {name}: b and b\N{PRIME}", b, b_prime)
        return Analogy(a, a_prime, b, b_prime, caption(name))

    def problems() -> Iterator[str]:
        for name in names:
            sizes, wrong = _sizes({side: own[name] for side, own in found.items()}, folder)
            yield from wrong
            if "control" in sizes and sizes["control"][0] % 3:
                yield f"control/{name} is {sizes['control'][0]} wide, which three do not share"
            for one, other in (("a", "a_prime"), ("b", "target")):
                if one in sizes and other in sizes and sizes[one] != sizes[other]:
                    yield f"{one}/{name} and {other}/{name} have different sizes"

    return _Layout(names, read, caption, problems)


def _relations(folder: Path, labels: Sequence[Path]) -> _Layout:
    groups, wrong = read_labels(folder, labels)
    _refuse(folder, wrong)
    said: dict[str, Labelled] = {name: one for own in groups for name, one in own.items()}
    ids = ["\n".join(two) for own in groups for two in combinations(own, 2)]
    if not ids:
        raise InputError(f"{folder} holds no analogies", expected="two pictures of a task or more")

    def read(name: str) -> Analogy:
        first, second = name.split("\n")
        (a, a_prime), (b, b_prime) = _halves(folder / first), _halves(folder / second)
        return Analogy(a, a_prime, b, b_prime, said[second].caption, said[first].task)

    def problems() -> Iterator[str]:
        for name in said:
            sizes, wrong = _sizes({name: folder / name}, folder)
            yield from wrong
            if name in sizes and sizes[name][0] < 2:
                yield f"{name} is too narrow for two pictures"

    return _Layout(ids, read, lambda name: said[name.split("\n")[1]].caption, problems)


def _sizes(paths: dict[str, Path], folder: Path) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Upright sizes of pictures, from their headers alone, and which cannot be opened."""
    sizes, problems = {}, []
    for key, path in paths.items():
        try:
            with opened(path, path.relative_to(folder).as_posix()) as image:
                turned = image.getexif().get(0x0112) in _SIDEWAYS
                sizes[key] = image.size[::-1] if turned else image.size
        except InputError as error:
            problems.append(error.what)
    return sizes, problems


def _pictures(folder: Path) -> dict[str, Path]:
    """Stem to file; names keep the dots that are within them."""
    if not folder.is_dir():
        return {}
    paths = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in PICTURES]
    twice = [stem for stem, count in Counter(p.stem for p in paths).items() if count > 1]
    _refuse(folder, [f"{folder.name}/{stem} is there twice" for stem in twice])
    return {path.stem: path for path in paths}


def _thirds(path: Path) -> list[Image.Image]:
    strip = read_image(path)
    if strip.width % 3:
        raise InputError(
            f"{path} is no strip a | a′ | b",
            expected="a width that three pictures share evenly",
            got=f"{strip.width} pixels",
        )
    third = strip.width // 3
    return [strip.crop((k * third, 0, (k + 1) * third, strip.height)) for k in range(3)]


def _halves(path: Path) -> tuple[Image.Image, Image.Image]:
    """Left and right; of an odd width the column in the middle is in neither."""
    both = read_image(path)
    half = both.width // 2
    if not half:
        raise InputError(f"{path} is too narrow for two pictures", got=f"{both.width} pixel")
    left, right = (0, 0, half, both.height), (both.width - half, 0, both.width, both.height)
    return both.crop(left), both.crop(right)


def _same_size(name: str, before: Image.Image, after: Image.Image) -> None:
    if before.size != after.size:
        raise InputError(
            f"{name} have different sizes",
            expected="two pictures of one size",
            got=f"{before.width} x {before.height} and {after.width} x {after.height}",
        )


def _refuse(
    folder: Path,
    problems: Sequence[str],
    what: str = "are not complete",
    next_step: str = "Add these files, or take out what belongs to them",
) -> None:
    if not problems:
        return
    shown = "; ".join(problems[:SHOWN])
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise InputError(f"The analogies in {folder} {what}: {shown}{more}", next_step=next_step)
