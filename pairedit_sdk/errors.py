"""The errors a user can cause. Each says what it is about, what was expected, what came, what next.

Everything raised on purpose is a :class:`PairEditError`; the command line renders it in one place
and exits with its ``exit_code``.
"""

from __future__ import annotations


class PairEditError(Exception):
    """Something that the user can put right.

    Args:
        what: the thing that is wrong, by name.
        expected: what would have been right.
        got: what was found instead.
        next_step: what to do now.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, expected: str = "", got: str = "", next_step: str = ""
    ) -> None:
        self.what, self.expected, self.got, self.next_step = what, expected, got, next_step
        super().__init__(self.message())

    def message(self) -> str:
        """The whole as one paragraph."""
        parts = [
            self.what,
            f"Expected {self.expected}" if self.expected else "",
            f"Got {self.got}" if self.got else "",
            self.next_step,
        ]
        return " ".join(p if p.endswith("?") else p.rstrip(".") + "." for p in parts if p)


class UsageError(PairEditError):
    """A bad argument, setting or name."""

    exit_code = 2


class InputError(PairEditError):
    """A picture, folder or file that cannot be used as it is."""

    exit_code = 2


class BaseModelError(PairEditError):
    """A base model that is missing, incomplete or of an unsupported kind."""

    exit_code = 2


class EditError(PairEditError):
    """An edit file that is damaged, of another base, or matches nothing."""

    exit_code = 2


class TrainingError(PairEditError):
    """A training run that cannot go on."""


class OtherRunError(UsageError):
    """A run's folder holds a run of other settings, pairs or another base."""


class DamagedRunError(TrainingError):
    """A run's folder holds files that cannot be read."""


def explained(
    error: Exception, *,
    memory: str = "Close other programs that use the memory.",
    bug: str = "Run the same command with --debug to see where, and report it with that output.",
) -> str:  # fmt: skip
    """Any error as one paragraph for the user.

    Args:
        error: whatever was raised.
        memory: what takes less of it, where it ran out.
        bug: what to do about an error that nobody foresaw.
    """
    if isinstance(error, PairEditError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"The system refused: {error.strerror}{where}."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"Out of memory. {memory}"
    said = " ".join(str(error).split()) or "no message"
    return f"This is a bug in pairedit, not in what you did: {type(error).__name__}: {said}. {bug}"


def nearest(name: str, known: list[str]) -> str:
    """A hint "Did you mean …?" for a misspelt name, or the list of what there is."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=2, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(sorted(known))}" if known else "There is none yet"
