from __future__ import annotations

import errno
import importlib
import pickle
import pkgutil

import pytest

import pairedit_sdk
from pairedit_sdk.errors import PairEditError, WriteError, counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("pair",), "0 pairs"),
        (1, ("pair",), "1 pair"),
        (1234, ("left-out pair",), "1234 left-out pairs"),
        (1, ("analogy", "analogies"), "1 analogy"),
        (2, ("analogy", "analogies"), "2 analogies"),
    ],
)
def test_a_number_takes_the_right_noun(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


def every_kind() -> list[type[PairEditError]]:
    """All of the SDK's errors, wherever they are."""
    for _, name, _ in pkgutil.walk_packages(pairedit_sdk.__path__, "pairedit_sdk."):
        if name.rpartition(".")[2] in ("errors", "guard", "work_queue"):
            importlib.import_module(name)
    found, pending = [], [PairEditError]
    while pending:
        kind = pending.pop()
        found.append(kind)
        pending.extend(kind.__subclasses__())
    return sorted(set(found), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_in_another_process(kind: type[PairEditError]) -> None:
    if kind is WriteError:
        error: PairEditError = WriteError("edits", OSError(errno.ENOSPC, "No space left"))
    else:
        error = kind(
            "Pairs", expected="some", got="none", next_step="Take some", details=["a", "b"]
        )
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))
    assert back.details == ([] if kind is WriteError else ["a", "b"])
    assert getattr(back, "errno", None) == getattr(error, "errno", None)
