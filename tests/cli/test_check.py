from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Pairedit = Callable[..., Result]


@pytest.fixture
def swapped(pairs: Path) -> Path:
    """The targets of two people exchanged: no edit can be learnt from that."""
    target = pairs / "target"
    shutil.move(target / "0.png", target / "x.png")
    shutil.move(target / "1.png", target / "0.png")
    shutil.move(target / "x.png", target / "1.png")
    return pairs


def test_good_pairs(pairedit: Pairedit, pairs: Path) -> None:
    result = pairedit("check", pairs)
    assert result.exit_code == 0
    assert (
        "Worth training: 2 pairs. Nobody checked which side is before: that takes three pairs.\n"
        f"Next: pairedit train {pairs} --name NAME\n"
    ) in result.stdout


def test_swapped_pairs_exit_with_2(pairedit: Pairedit, swapped: Path) -> None:
    result = pairedit("check", swapped)
    assert result.exit_code == 2
    assert "Not worth training: 2 of 2 pairs cannot be used as they are." in result.stdout
    assert result.stderr == ""


def test_one_bad_pair_is_said_in_the_singular(pairedit: Pairedit, pairs: Path) -> None:
    shutil.copy(pairs / "source" / "0.png", pairs / "target" / "0.png")
    result = pairedit("check", pairs)
    assert "Not worth training: 1 of 2 pairs cannot be used as it is." in result.stdout
    for side in ("source", "target"):
        (pairs / side / "1.png").unlink()
    result = pairedit("check", pairs)
    assert "Not worth training: 1 of 1 pair cannot be used as it is." in result.stdout


def test_json_is_one_object_with_every_pair(pairedit: Pairedit, pairs: Path) -> None:
    result = pairedit("check", pairs, "--json")
    said = json.loads(result.stdout)
    assert said["worth_training"] is True
    assert [pair["name"] for pair in said["pairs"]] == ["0", "1"]
    assert said["advice"] == []
    assert all(0 < pair["changed_area"] < 0.3 for pair in said["pairs"])
    assert {"shift", "aligned", "verdict", "reason", "advice"} <= said["pairs"][0].keys()


def test_json_is_there_for_bad_pairs_too(pairedit: Pairedit, swapped: Path) -> None:
    result = pairedit("check", swapped, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["worth_training"] is False


def test_quiet_says_it_by_the_status_alone(pairedit: Pairedit, swapped: Path) -> None:
    result = pairedit("check", swapped, "-q")
    assert (result.exit_code, result.output) == (2, "")
