from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.studio.engine import LoadingOptions
from pairedit_sdk.studio.service import Service
from pairedit_sdk.studio.training_form import TrainingForm
from pairedit_sdk.studio.training_request import TrainingRequest
from pairedit_sdk.studio.training_status import TrainingStatus

FORM = TrainingForm(
    "example", None, None, "glasses", None, " specs ", "mini", 20, 16, 2e-3, False, False
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[TrainingRequest]:
    """What was started, in the place of starting it."""
    found: list[TrainingRequest] = []

    def start(_: object, request: TrainingRequest) -> TrainingStatus:
        found.append(request)
        return TrainingStatus(request.name, "starting")

    monkeypatch.setattr("pairedit_sdk.studio.trainings.Trainings.start", start)
    return found


@pytest.fixture
def studio(library: Path) -> Service:
    return Service(library, LoadingOptions("mini", "cpu"))


def test_the_form_becomes_a_training(studio: Service, started: list[TrainingRequest]) -> None:
    assert FORM.begin(studio, local=False).name == "specs"
    (asked,) = started
    assert (asked.name, asked.base, asked.settings) == ("specs", "mini", ("steps=20",))
    assert asked.pairs == examples_dir() / "pairs" / "glasses"


def test_the_estimate_is_of_the_studios_own_device(studio: Service) -> None:
    assert FORM.estimated(studio).startswith("About ")
    # Before there is a name or a pair.
    assert replace(FORM, name="", example=None).estimated(studio).startswith("About ")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"name": " "}, UsageError, "has no name yet"),
        ({"name": "../specs"}, UsageError, "cannot be the name"),
        ({"steps": None}, UsageError, "no number for steps"),
        ({"steps": None, "rate": None}, UsageError, "no number for steps and learning rate"),
        ({"rank": 2.5}, UsageError, "rank must be whole"),
        ({"recipe": "nothing"}, UsageError, "not for mini"),
        ({"example": None}, UsageError, "no example pairs"),
        ({"kind": "uploaded"}, InputError, "0 before pictures"),
        ({"kind": "folder", "folder": "/"}, UsageError, "can be named there alone"),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_is_kept(
    studio: Service,
    started: list[TrainingRequest],
    change: dict[str, str],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        replace(FORM, **change).begin(studio, local=False)
    assert started == []
    assert not (studio.folder / "pairs").exists()


def test_pairs_that_would_be_a_waste_need_to_be_insisted_on(
    studio: Service, started: list[TrainingRequest]
) -> None:
    same = str(examples_dir() / "pairs" / "glasses" / "source" / "1.png")
    form = replace(FORM, kind="uploaded", befores=[same], afters=[same])
    with pytest.raises(InputError, match="would be a waste"):
        form.begin(studio, local=False)
    replace(form, skip_check=True).begin(studio, local=False)
    assert started[0].pairs == studio.folder / "pairs" / "specs"
    assert started[0].skip_check


def test_a_taken_name_keeps_the_pairs_that_are_there(
    studio: Service, started: list[TrainingRequest]
) -> None:
    folder = examples_dir() / "pairs" / "glasses"
    form = replace(
        FORM,
        kind="uploaded",
        befores=[str(folder / "source" / "1.png")],
        afters=[str(folder / "target" / "1.png")],
    )
    form.begin(studio, local=False)
    kept = (studio.folder / "pairs" / "specs" / "source" / "1.png").read_bytes()
    (studio.library.folder / "specs.safetensors").write_bytes(b"")
    other = replace(
        form, befores=[str(folder / "source" / "2.png")], afters=[str(folder / "target" / "2.png")]
    )
    with pytest.raises(UsageError, match="There is an edit specs already"):
        other.begin(studio, local=False)
    assert (studio.folder / "pairs" / "specs" / "source" / "1.png").read_bytes() == kept
    replace(other, force=True).begin(studio, local=False)
    assert (studio.folder / "pairs" / "specs" / "source" / "1.png").read_bytes() != kept


@pytest.mark.parametrize(
    ("change", "empty"),
    [
        ({}, False),
        ({"example": None}, True),
        ({"kind": "uploaded"}, True),
        ({"kind": "uploaded", "befores": ["1.png"]}, False),
        ({"kind": "folder"}, True),
    ],
)
def test_a_form_without_pairs_is_empty(change: dict[str, str], empty: bool) -> None:
    assert replace(FORM, **change).is_empty is empty  # type: ignore[arg-type]
