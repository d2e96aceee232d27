"""Trackers: refused before anything is done, and a real run that TensorBoard can read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pairedit_sdk.errors import UsageError
from pairedit_sdk.lorweb.settings import BasisSettings, basis_settings
from pairedit_sdk.training import trackers
from pairedit_sdk.training.config import TrainConfig, load_recipe
from pairedit_sdk.training.trackers import TRACKERS, require_tracker

SHORT = TrainConfig(steps=3, rank=2, checkpoint_every=1, sigma_count=8, edit_steps=4)


def test_the_trackers_are_those_of_accelerate() -> None:
    from accelerate.utils import LoggerType

    assert set(TRACKERS) == {str(name) for name in LoggerType.list()} - {"all"}


def test_those_with_a_folder_are_what_accelerate_says() -> None:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    wanting = {n for n, kind in LOGGER_TYPE_TO_CLASS.items() if kind.requires_logging_directory}
    assert set(trackers.WITH_FOLDER) == {str(name) for name in wanting} & set(TRACKERS)


@pytest.mark.parametrize("settings", [load_recipe, basis_settings])
def test_an_unknown_tracker_is_refused_with_the_known_ones(settings) -> None:
    words = (["track=tensorbord"],) if settings is basis_settings else (None, ["track=tensorbord"])
    with pytest.raises(UsageError, match=r"track is 'tensorbord', expected one of aim, .*, wandb"):
        settings(*words)
    with pytest.raises(UsageError, match=r"There is no tracker 'tensorbord'\. Expected one of aim"):
        require_tracker("tensorbord")


def test_a_tracker_that_is_not_installed_names_the_command(monkeypatch) -> None:
    monkeypatch.setitem(trackers.TRACKERS, "wandb", ("no_such_package",))
    with pytest.raises(UsageError) as raised:
        require_tracker("wandb")
    assert str(raised.value) == (
        "The tracker wandb needs the package no_such_package, which is not installed. Install it "
        "with `pip install no_such_package`, or leave the tracker out: metrics.jsonl is written in "
        "any case."
    )
    require_tracker(None)


def _missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.TRACKERS, "swanlab", ("no_such_package",))


def test_nothing_is_computed_or_written_before_that(tiny_model, face_pairs, tmp_path, monkeypatch):
    from pairedit_sdk.training.trainer import train

    def fail(*_: object) -> None:
        raise AssertionError("an encoder was asked")

    _missing(monkeypatch)
    monkeypatch.setattr(tiny_model, "encode", fail)
    monkeypatch.setattr(tiny_model, "condition", fail)
    with pytest.raises(UsageError, match="needs the package no_such_package"):
        train(
            tiny_model, face_pairs({"glasses": "round"}, 1), replace(SHORT, track="swanlab"),
            name="g", run_dir=tmp_path / "run",
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_nor_for_a_basis(tiny_model, tmp_path, monkeypatch):
    from pairedit_sdk.lorweb.trainer import train_basis

    _missing(monkeypatch)
    # Neither the model, which is no Kontext, nor the lack of analogies is looked at before.
    with pytest.raises(UsageError, match="needs the package no_such_package"):
        train_basis(
            tiny_model, [], BasisSettings(track="swanlab"), name="b", run_dir=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads of a folder of logs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = folder.glob("events.out.tfevents.*")
    read = EventAccumulator(str(file))
    read.Reload()
    return {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
    }


def _lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_tensorboard_shows_what_metrics_jsonl_says(tiny_model, face_pairs, tmp_path):
    pytest.importorskip("tensorboard")
    from pairedit_sdk.training.trainer import train

    pairs = face_pairs({"glasses": "round"}, 2, size=64)
    run = tmp_path / "run"
    seen = train(tiny_model, pairs, replace(SHORT, track="tensorboard"), name="g", run_dir=run)
    lines = _lines(run)
    shown = _scalars(run / "pairedit")
    assert set(shown) == {"content_loss", "semantic_loss", "lr"}
    for tag, events in shown.items():
        assert [step for step, _ in events] == [1, 2, 3]
        assert [v for _, v in events] == pytest.approx([line[tag] for line in lines], rel=1e-5)
    # Every step has a checkpoint here, and so a fidelity; a tracker is not told of it.
    assert all(set(line) == {*shown, "step", "seconds", "fidelity"} for line in lines)
    # Watching changes nothing but the setting that says so.
    plain = train(tiny_model, pairs, SHORT, name="g", run_dir=tmp_path / "plain")
    for name, layer in plain.layers.items():
        assert layer.up.equal(seen.layers[name].up)
    assert [line["semantic_loss"] for line in _lines(tmp_path / "plain")] == [
        line["semantic_loss"] for line in lines
    ]
    with pytest.raises(UsageError, match="writes into the folder of the run, and this run has no"):
        train(tiny_model, pairs, replace(SHORT, track="tensorboard"), name="g")


def test_tensorboard_shows_a_basis(tiny_kontext_folder, face_pairs, tmp_path):
    pytest.importorskip("tensorboard")
    from pairedit_sdk.lorweb.analogies import Analogy
    from pairedit_sdk.lorweb.trainer import train_basis
    from pairedit_sdk.models.loading import load_base

    one, two = face_pairs({"hat": "beanie"}, 2)
    analogies = [Analogy(one.before, one.after, two.before, two.after, "add a beanie")]
    settings = BasisSettings(
        count=2, rank=2, key_width=4, targets="attention", steps=2, batch=1, track="tensorboard"
    )
    base = load_base(str(tiny_kontext_folder), device="cpu")
    run = tmp_path / "run"
    train_basis(base, analogies, settings, name="b", run_dir=run)
    (events,) = _scalars(run / "pairedit").values()
    losses = [line["loss"] for line in _lines(run)]
    assert [step for step, _ in events] == [1, 2]
    assert [value for _, value in events] == pytest.approx(losses, rel=1e-5)
