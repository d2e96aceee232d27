"""A bounded number of values: those used last."""

from __future__ import annotations

from pairedit_sdk.studio.recent import Recent


def test_what_was_not_used_for_longest_goes() -> None:
    made: list[str] = []
    recent: Recent[str] = Recent(2)

    def get(key: str) -> str:
        return recent.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(key) for key in "abacab"] == list("ABACAB")
    assert made == ["a", "b", "c", "b"]
    recent.clear()
    get("b")
    assert made[-1] == "b"
    assert len(made) == 5
