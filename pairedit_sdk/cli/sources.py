"""Which pictures a command is to edit, and where each goes."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import InputError, UsageError, counted
from pairedit_sdk.images.files import FORMATS, writable_picture
from pairedit_sdk.io.files import require_writable_folder
from pairedit_sdk.pairs.folder import EXTENSIONS, natural

if TYPE_CHECKING:
    from pairedit_sdk.images.photo import Photo

#: Standard input, or standard output.
STREAM = "-"
#: The extensions of the files that are taken from a folder.
READ = EXTENSIONS | {".psd"}
#: The format of what is only read: that of photographs, which came compressed …
INSTEAD = ".jpg"
#: … and of what came without loss, and may be transparent.
LOSSLESS = {".gif": ".png", ".ppm": ".png", ".psd": ".png", ".tga": ".png"}


@dataclass(frozen=True)
class Job:
    """A picture to be edited.

    Attributes:
        source: its file, or ``None`` for standard input.
        target: the file to be written, or ``None`` for standard output.
    """

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        """What to call the picture."""
        return "standard input" if self.source is None else str(self.source)

    def read(self) -> Photo:
        """The picture.

        Raises:
            InputError: it cannot be read.
        """
        from pairedit_sdk.images.photo import Photo

        if self.source is None:
            return Photo.read(sys.stdin.buffer, "Standard input")
        return Photo.read(self.source)


def jobs(images: Sequence[str], out: str) -> tuple[list[Job], bool]:
    """What is to be done for these arguments.

    Args:
        images: files, folders, patterns such as ``shots/*.jpg``, or ``-``.
        out: a file for one picture, a folder for several, or ``-``.

    Returns:
        The jobs, and whether they are for a folder: then names are kept.

    Raises:
        InputError: a folder or a pattern without a picture.
        UsageError: an output that does not fit, or that is one of the inputs.
    """
    found: list[Path | None] = []
    for image in images:
        found += [None] if image == STREAM else _files(image)
    found = list(dict.fromkeys(found))  # a folder and a file in it
    if out == STREAM:
        if len(found) > 1:
            raise UsageError(
                f"Standard output takes one picture, and these are {len(found)}",
                next_step="Name a folder with -o",
            )
        return [Job(found[0], None)], False
    several = len(found) > 1 or any(_is_many(image) for image in images)
    in_folder = several or out.endswith(("/", "\\")) or os.path.isdir(out)
    made = _into_folder(found, Path(out)) if in_folder else [Job(found[0], writable_picture(out))]
    for job in made:
        if job.source is not None and job.target is not None:
            another_picture(job.target, job.source)
    return made, in_folder


def new_picture(out: str | Path, sources: Sequence[Path], mask: Path | None = None) -> Path:
    """The output file, which may be none of the pictures that are read.

    Args:
        out: as it was asked for, see :func:`~pairedit_sdk.images.files.writable_picture`.
        sources: the pictures that are read.
        mask: read too, if there is one.

    Raises:
        UsageError: it is one of them, or no name of a picture file.
        WriteError: it cannot be written.
    """
    target = writable_picture(out)
    for source in sources:
        another_picture(target, source)
    return target if mask is None else another_picture(target, mask, "the mask")


def another_picture(target: Path, source: Path, what: str = "the input picture") -> Path:
    """The output, if it is another file than the one that is read.

    Args:
        target: the output.
        source: the file that is read.
        what: what the error calls it.

    Raises:
        UsageError: both are one file.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(
            f"The output {target} is {what}", expected="another file, so that the original is kept"
        )
    return target


def _is_many(image: str) -> bool:
    return image != STREAM and (os.path.isdir(image) or _is_pattern(image))


def _is_pattern(image: str) -> bool:
    return glob.has_magic(image) and not os.path.exists(image)


def _files(image: str) -> list[Path | None]:
    """The files that one argument stands for; one that does not exist is found out later."""
    path = Path(image)
    if os.path.isdir(path):  # Path.is_dir raises for names that the system does not take
        inside = [p for p in path.iterdir() if not p.name.startswith(".") and p.is_file()]
        files = [p for p in inside if p.suffix.lower() in READ]
    elif _is_pattern(image):
        like = [p for p in map(Path, glob.glob(image, recursive=True)) if p.is_file()]
        # A link to a folder that it is in leads to every file many times.
        shortest = sorted(like, key=lambda p: len(p.parts), reverse=True)
        files = [*{(p.name, p.resolve()): p for p in shortest}.values()]
    else:
        return [path]
    if not files:
        raise InputError(
            f"There is no picture in {path}" if os.path.isdir(path) else f"No file is like {image}",
            expected=f"files such as {', '.join(list(FORMATS)[:4])}",
            next_step=f"Those in its folders are '{path / '**' / '*.jpg'}'"
            if os.path.isdir(path) and any(p.is_dir() for p in path.iterdir())
            else "Check the path",
        )
    return [*sorted(files, key=lambda p: natural(p.name))]


def _only_read(source: Path) -> bool:
    return source.suffix.lower() not in FORMATS


def _into_folder(found: Sequence[Path | None], folder: Path) -> list[Job]:
    is_file = os.path.exists(folder) and not os.path.isdir(folder)
    if is_file or folder.suffix.lower() in FORMATS:
        raise UsageError(
            f"The output {folder} is one file, and there {'is' if len(found) == 1 else 'are'} "
            f"{counted(len(found), 'picture')} to write",
            expected="a folder",
            next_step=f"Say for example -o {folder.with_suffix('')}/",
        )
    require_writable_folder(folder)
    kept = {source.name.lower() for source in found if source and not _only_read(source)}
    taken: dict[str, Path | None] = {}
    made = []
    for source in found:
        name = "stdin.png" if source is None else source.name
        if source is not None and _only_read(source):
            suffix = LOSSLESS.get(source.suffix.lower(), INSTEAD)
            name = f"{source.stem}{suffix}"
            if name.lower() in kept:  # a phone's a.HEIC and a.jpg
                name = f"{source.name}{suffix}"
        if name.lower() in taken:
            raise UsageError(
                f"Two pictures would be written to {folder / name}",
                got=f"{taken[name.lower()]} and {source}",
                next_step="Rename one, or edit them into two folders",
            )
        taken[name.lower()] = source
        made.append(Job(source, folder / name))
    return made
