"""The mix of the page, saved as one edit."""

from __future__ import annotations

import pytest

from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio.composing import changed_scales, compose, request_of, suggested_name
from pairedit_sdk.studio.requests import ScaledEdit
from pairedit_sdk.studio.service import Service


def test_a_mix_is_saved_under_the_suggested_name(service: Service) -> None:
    request = request_of(None, {"hat": 0.5, "cap": 0.0}, 0, True, False)
    assert request.edits == [ScaledEdit(name="hat", scale=0.5)]
    composed = compose(service.engine, request_of(" ", {"hat": 0.5, "cap": -1}, 0, True, False))
    assert composed.info.name == "hat-cap"
    assert composed.sentence == f"Saved hat-cap, rank {composed.info.rank}."
    assert service.library.info("hat-cap").parts == [("hat", 0.5), ("cap", -1.0)]
    with pytest.raises(UsageError, match="There is an edit hat-cap already"):
        compose(service.engine, request_of("hat-cap", {"hat": 1}, 0, True, False))
    small = compose(service.engine, request_of("hat-cap", {"hat": 1}, 2, False, True))
    assert small.info.rank == 2
    assert small.error is not None
    assert 0 < small.error < 1
    assert small.sentence.endswith(f"Relative error of the update: {small.error:.2%}.")


def test_no_mix_is_said_so() -> None:
    with pytest.raises(UsageError, match="no mix to be saved"):
        request_of("both", {"hat": 0.0}, 0, True, False)


def test_a_suggested_name_can_be_one() -> None:
    assert suggested_name({}) == "both"
    assert len(suggested_name({"a" * 40: 1, "b" * 40: 1})) == 64


def test_a_table_changes_scales_and_nothing_else() -> None:
    scales = {"hat": 1.0, "cap": 0.5, "tie": 0.1}
    rows = [["hat", "0.25"], ["cap", ""], ["tie", 99], ["other", 1]]
    assert changed_scales(scales, rows) == {"hat": 0.25, "cap": 0.5, "tie": 10.0}
    assert changed_scales(scales, [["hat", float("nan")], ["cap", None]]) == scales
