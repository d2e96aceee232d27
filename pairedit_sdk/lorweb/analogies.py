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
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, overload

from pairedit_sdk.errors import InputError
from pairedit_sdk.images.image import read_image

if TYPE_CHECKING:
    from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
LABELS = "labels.json"
_FIELDS = ("a", "a_prime", "b")
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
            are damaged or of different sizes are found when they are read.
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
    """What a folder's arrangement says: the ids, and how each is read."""

    ids: Sequence[str]
    read: Callable[[str], Analogy]
    caption: Callable[[str], str]


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

    return _Layout(names, read, caption)


def _relations(folder: Path, labels: Sequence[Path]) -> _Layout:
    said: dict[str, str] = {}
    ids: list[str] = []
    problems: list[str] = []
    for path in labels:
        task = path.parent.relative_to(folder).as_posix()
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            own = {f"{task}/{r['img_name']}": str(r.get("edit_instruction", "")) for r in rows}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{task}/{LABELS} cannot be read ({type(error).__name__}: {error})")
            continue
        problems += [f"{name} is missing" for name in own if not (folder / name).is_file()]
        said |= own
        ids += ["\n".join(two) for two in combinations(own, 2)]
    _refuse(folder, problems)
    if not ids:
        raise InputError(f"{folder} holds no analogies", expected="two pictures of a task or more")

    def read(name: str) -> Analogy:
        first, second = name.split("\n")
        (a, a_prime), (b, b_prime) = _halves(folder / first), _halves(folder / second)
        return Analogy(a, a_prime, b, b_prime, said[second], first.split("/")[0])

    return _Layout(ids, read, lambda name: said[name.split("\n")[1]])


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
    both = read_image(path)
    half = both.width // 2
    return both.crop((0, 0, half, both.height)), both.crop((half, 0, 2 * half, both.height))


def _same_size(name: str, before: Image.Image, after: Image.Image) -> None:
    if before.size != after.size:
        raise InputError(
            f"{name} have different sizes",
            expected="two pictures of one size",
            got=f"{before.width} x {before.height} and {after.width} x {after.height}",
        )


def _refuse(folder: Path, problems: Sequence[str]) -> None:
    if not problems:
        return
    shown = "; ".join(problems[:SHOWN])
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise InputError(
        f"The analogies in {folder} are not complete: {shown}{more}",
        next_step="Add these files, or take out what belongs to them",
    )
