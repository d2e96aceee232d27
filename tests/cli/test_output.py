from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pairedit_sdk.cli.output import Output


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (Output(), "hello [b]\n"),
        (Output(as_json=True), '{\n  "a": 1\n}\n'),
        (Output(quiet=True), ""),
        (Output(as_json=True, quiet=True), '{\n  "a": 1\n}\n'),
    ],
)
def test_words_or_json(output: Output, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.say("hello [b]")
    output.result({"a": 1})
    assert capsys.readouterr().out == shown


def test_json_has_only_what_json_knows(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).result(
        {"nan": math.nan, "path": Path("a") / "b", "deep": [{"x": (1.5, -math.inf)}]}
    )
    said = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert said == {"nan": None, "path": str(Path("a") / "b"), "deep": [{"x": [1.5, None]}]}
