"""The errors a user can cause. Each says what it is about, what was expected, what came, what next.

Everything raised on purpose is a :class:`PairEditError`; the command line renders it in one place
and exits with its ``exit_code``.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any


class PairEditError(Exception):
    """Something that the user can put right.

    Args:
        what: the thing that is wrong, by name.
        expected: what would have been right.
        got: what was found instead.
        next_step: what to do now.
        details: what is wrong, one by one, each on a line of its own after ``what``.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        expected: str = "",
        got: str = "",
        next_step: str = "",
        details: Sequence[str] = (),
    ) -> None:
        self.what, self.expected, self.got, self.next_step = what, expected, got, next_step
        self.details = list(details)
        super().__init__(self.message())

    def __reduce__(self) -> tuple[Any, ...]:
        # By itself an exception would be made again from its message alone.
        return _blank, (type(self), self.args), self.__dict__

    def message(self) -> str:
        """The whole as one paragraph, apart from details; what a name holds besides printable
        characters is escaped."""
        what = self.what
        if self.details:
            # Escaped one by one, so that only the lines meant as such are lines.
            *others, last = (printable(line) for line in self.details)
            begun = "\n  ".join([f"{printable(what)}:", *others])
            return begun + "\n  " + self._paragraph(last)
        return self._paragraph(what)

    def _paragraph(self, first: str) -> str:
        parts = [
            first,
            f"Expected {self.expected}" if self.expected else "",
            f"Got {self.got}" if self.got else "",
            self.next_step,
        ]
        return printable(
            " ".join(p if p.endswith("?") else p.rstrip(".") + "." for p in parts if p)
        )


class UsageError(PairEditError):
    """A bad argument, setting or name."""

    exit_code = 2


class InputError(PairEditError):
    """A picture, folder or file that cannot be used as it is."""

    exit_code = 2


class BaseModelError(PairEditError):
    """A model that is missing, incomplete or of an unsupported kind."""

    exit_code = 2


class EditError(PairEditError):
    """An edit file that is damaged, of another model, or matches nothing."""

    exit_code = 2


class HubError(PairEditError):
    """The Hugging Face Hub cannot be reached, refuses, or has something else than was wanted."""

    exit_code = 2


class LibraryError(PairEditError):
    """A library on a URL that cannot be read."""

    exit_code = 2


class TrainingError(PairEditError):
    """A training run that cannot go on."""


class RunFileError(TrainingError):
    """A file of a training run that cannot be written, or not be read again."""

    exit_code = 2


class DamagedRunError(RunFileError):
    """A file of a training run that cannot be read."""


class OtherRunError(UsageError):
    """A run's folder holds a run of other settings, pairs or another model."""


class WriteError(PairEditError, OSError):
    """A file that the system did not let be written; an :class:`OSError` too, with its ``errno``.

    Args:
        path: of the file or folder.
        error: what the system said.
    """

    exit_code = 2

    def __init__(self, path: object, error: OSError) -> None:
        said = error.strerror or str(error) or type(error).__name__
        super().__init__(
            f"'{path}' could not be written",
            got=said,
            next_step=_ABOUT_WRITING.get(error.errno or 0, "Check the disk and the path"),
        )
        self.errno, self.reason = error.errno, said

    def __reduce__(self) -> tuple[Any, ...]:
        blank, made_of, state = super().__reduce__()
        return blank, made_of, {**state, "errno": self.errno}  # which is no attribute of Python's


#: What to do when the system does not let something be written.
_ABOUT_WRITING = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "Free some disk space, or choose another folder, and do the same again",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "Choose a folder that may be written to, or change its permissions",
    ),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
        "Choose another name: something else stands there",
    ),
    errno.ENAMETOOLONG: "Choose a shorter name",
}


def _blank(kind: type[PairEditError], args: tuple[Any, ...]) -> PairEditError:
    """An error that comes from another process; its attributes are set by pickle."""
    error = kind.__new__(kind)
    error.args = args
    return error


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun: "1 pair", "2 pairs"; a plural without -s is given."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def printable(text: str) -> str:
    """The text on one line: what names may hold besides printable characters is escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def explained(
    error: Exception,
    *,
    memory: str = "Close other programs that use the memory.",
    bug: str = "Run the same command with --debug to see where, and report it with that output.",
) -> PairEditError:
    """Any error as one that says what to do next.

    Args:
        error: whatever was raised.
        memory: what takes less of it, where it ran out.
        bug: what to do about an error that nobody foresaw.
    """
    if isinstance(error, PairEditError):
        return error
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return PairEditError(f"The system refused: {error.strerror}{where}")
    if is_out_of_memory(error):
        return PairEditError("Out of memory", next_step=memory)
    said = " ".join(str(error).split()) or "no message"
    return PairEditError(
        f"This is a bug in pairedit, not in what you did: {type(error).__name__}: {said}",
        next_step=bug,
    )


def nearest(name: str, known: list[str]) -> str:
    """A hint "Did you mean …?" for a misspelt name, or the list of what there is."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=2, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(sorted(known))}" if known else "There is none yet"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, on whatever device, or Python had no memory left."""
    kind = type(error).__name__
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or kind == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in text)
    )
