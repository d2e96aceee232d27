"""The phrases that are asked: the model's own, a file's, or those of a command line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.builtin.faces.instructions import all_instructions, open_instructions
from pairedit_sdk.edits.edit_words import LONGEST_PHRASE
from pairedit_sdk.errors import InputError, UsageError

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

#: The list for edit models that have none of their own.
COMMON = Path(__file__).resolve().parent / "common.txt"
#: The architecture whose instructions are known: the built-in edit model's.
DRAWN_FACES = "flux-1-mini-kontext"
#: Kinds of files, and what their phrases are in.
LISTS = {".json": "JSON", ".yaml": "YAML", ".yml": "YAML"}
SEPARATOR = ";"
_FORM = f'a text file with a phrase a line, a JSON or YAML list, or "a{SEPARATOR} b{SEPARATOR} c"'


@dataclass(frozen=True)
class Vocabulary:
    """Phrases to be asked, each once, in their order.

    Args:
        phrases: instructions such as "add glasses". Blanks around them and repetitions are dropped.

    Raises:
        InputError: there is none, or one is longer than an edit can carry.
    """

    phrases: tuple[str, ...]

    def __post_init__(self) -> None:
        said = tuple(dict.fromkeys(" ".join(p.split()) for p in self.phrases if p.strip()))
        if not said:
            raise InputError("The vocabulary is empty", expected=_FORM)
        long = next((p for p in said if len(p) > LONGEST_PHRASE), None)
        if long is not None:
            raise InputError(
                f"The phrase {long[:40]!r}… is too long",
                expected=f"at most {LONGEST_PHRASE} characters",
                got=f"{len(long)}",
                next_step="Put each phrase on a line of its own",
            )
        object.__setattr__(self, "phrases", said)

    def __iter__(self) -> Iterator[str]:
        return iter(self.phrases)

    def __len__(self) -> int:
        return len(self.phrases)

    @property
    def text(self) -> str:
        """All of it in one line that :meth:`parse` reads, and that is never taken for a file's
        name: "a; b", "a;" for one phrase, and a JSON list where a phrase has a semicolon."""
        if any(SEPARATOR in phrase for phrase in self.phrases) or self.phrases[0].startswith("["):
            return json.dumps(self.phrases, ensure_ascii=False)
        return f"{SEPARATOR} ".join(self.phrases) + (SEPARATOR if len(self) == 1 else "")

    @classmethod
    def parse(cls, text: str) -> Vocabulary:
        """Phrases in one line, such as "glasses; sunglasses; monocle", or a JSON list of them.

        Raises:
            InputError: there is none.
        """
        return cls(tuple(_json_list(text) or text.split(SEPARATOR)))

    @classmethod
    def read(cls, path: str | Path) -> Vocabulary:
        """The phrases of a file: JSON or YAML by its extension, else a phrase a line.

        A line of a text file that begins with # is a comment.

        Raises:
            InputError: the file cannot be read, or is no list of phrases.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise InputError(
                f"There is no vocabulary {path}", expected=_FORM, next_step="Check the path"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"The vocabulary {path} cannot be read",
                expected=_FORM,
                got=getattr(error, "strerror", None) or "bytes that are no UTF-8 text",
            ) from error
        kind = LISTS.get(path.suffix.lower())
        lines = text.splitlines() if kind is None else _listed(path, text, kind)
        phrases = [line for line in lines if kind or not line.lstrip().startswith("#")]
        if not any(phrase.strip() for phrase in phrases):
            raise InputError(f"The vocabulary {path} has no phrase in it", expected=_FORM)
        return cls(tuple(phrases))

    @classmethod
    def of_model(cls, model: FlowModel) -> Vocabulary:
        """What a model is asked without another vocabulary.

        For the built-in edit model every instruction that it was taught, for others a list of
        common ones.
        """
        if has_phrases(model.architecture):
            return cls(all_instructions())
        return cls.read(COMMON)

    @classmethod
    def named(cls, given: str | None, model: FlowModel) -> Vocabulary:
        """The vocabulary of a setting: a file, "a; b; c", or for ``None`` the model's own.

        Raises:
            InputError: a file that is not there or cannot be read, or no phrase.
        """
        if given is None:
            return cls.of_model(model)
        return cls.read(given) if is_file_name(given) else cls.parse(given)


def has_phrases(architecture: str) -> bool:
    """Whether a model of this architecture has a vocabulary of its own: what it was taught."""
    return architecture == DRAWN_FACES


def leaves_open(architecture: str, phrase: str) -> bool:
    """Whether a phrase of a model's own vocabulary is known to leave something open that a picture
    shows, such as the colour of a hat.

    Args:
        architecture: the model's.
        phrase: in the words of the vocabulary.
    """
    return has_phrases(architecture) and phrase in open_instructions()


#: Phrases in any of these forms.
Phrases = Vocabulary | str | Path | Iterable[str]


def as_vocabulary(given: Phrases | None, model: FlowModel) -> Vocabulary:
    """Phrases of any of these kinds; of ``None`` the model's own.

    Raises:
        InputError: a file that cannot be read, or no phrase.
        UsageError: something else than phrases.
    """
    if isinstance(given, Vocabulary):
        return given
    if isinstance(given, Path):
        return Vocabulary.read(given)
    if given is None or isinstance(given, str):
        return Vocabulary.named(given, model)
    phrases = tuple(given) if isinstance(given, Iterable) else ()
    if not phrases or not all(isinstance(p, str) for p in phrases):
        raise UsageError(
            "The vocabulary is of no use", expected=_FORM, got=f"a {type(given).__name__}"
        )
    return Vocabulary(phrases)


def is_file_name(text: str) -> bool:
    """Whether a vocabulary is named by a file, there or not, rather than said in full.

    What has a semicolon in it is a file only if it is there.
    """
    if os.path.isfile(text):
        return True
    known = re.search(r"\.(txt|json|ya?ml)$", text.strip(), re.IGNORECASE) is not None
    return known and SEPARATOR not in text and _json_list(text) is None


def settled_vocabulary(given: str | None, folder: str | Path | None = None) -> str | None:
    """A vocabulary's setting that means the same everywhere and later: a file's phrases.

    Args:
        given: the setting: a file, or phrases.
        folder: that a file's path is relative to; ``None`` is the working directory.

    Raises:
        InputError: a file that cannot be read, or no phrase.
    """
    if given is None:
        return None
    path = given if folder is None else os.path.join(folder, given)
    if is_file_name(path) and _json_list(given) is None:
        return Vocabulary.read(path).text
    Vocabulary.parse(given)
    return given


def _json_list(text: str) -> list[str] | None:
    """The texts of a JSON list, if that is what the text is."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    texts = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return found if texts else None


def _listed(path: Path, text: str, kind: str) -> list[str]:
    import yaml

    try:
        found: Any = json.loads(text) if kind == "JSON" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"The vocabulary {path} is no {kind}", expected="a list of phrases", got=said[:120]
        ) from error
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InputError(
            f"The vocabulary {path} is no list of phrases",
            expected='for example ["add glasses", "add a hat"]',
            got="a list with other things in it" if isinstance(found, list) else "no list",
        )
    return found
