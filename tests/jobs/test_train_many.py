"""Many edits are those of training each alone; a failed one is left, a finished one skipped."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.errors import UsageError
from pairedit_sdk.jobs.manifest import ManifestEntry
from pairedit_sdk.jobs.outcomes import EditOutcome, log_path
from pairedit_sdk.jobs.train_many import train_many
from pairedit_sdk.lora.adapters import lora_layers
from pairedit_sdk.pairs.pair_set import PairSet
from pairedit_sdk.training.run_lock import run_lock
from pairedit_sdk.training.trainer import train

if TYPE_CHECKING:
    from pairedit_sdk.models.pipeline_model import PipelineModel

Entry = Callable[..., ManifestEntry]


def states(outcomes: list[EditOutcome]) -> dict[str, str]:
    return {outcome.name: outcome.state for outcome in outcomes}


def logged(library: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_path(library).read_text().splitlines()]


def equal(one: Edit, other: Edit) -> bool:
    return one.layers.keys() == other.layers.keys() and all(
        torch.equal(layer.down, other.layers[name].down)
        and torch.equal(layer.up, other.layers[name].up)
        for name, layer in one.layers.items()
    )


def trained_alone(base: PipelineModel, entry: ManifestEntry) -> Edit:
    return train(base, PairSet.from_folder(entry.pairs), entry.config, name=entry.name)


def test_the_edits_are_those_of_training_each_alone(
    tiny_model: PipelineModel, tiny_folder: Path, entry: Entry, library: Path
) -> None:
    from pairedit_sdk.models.loading import load_base

    entries = [entry("hat", "mine"), entry("glasses", seed=3)]
    outcomes = train_many(tiny_model, entries, library)
    assert [(o.name, o.state, o.path, o.reason) for o in outcomes] == [
        (e.name, "made", library / f"{e.name}.safetensors", "") for e in entries
    ]
    for one in entries:
        alone = trained_alone(load_base(str(tiny_folder), device="cpu"), one)
        made = Edit.load(library / f"{one.name}.safetensors")
        assert equal(made, alone)
        assert made.info == replace(
            alone.info, created=made.info.created, licence=one.licence or ""
        )
        assert (library / f"{one.name}.png").is_file()
        assert (library / "runs" / one.name / "config.json").is_file()
    assert [(line["name"], line["state"]) for line in logged(library)] == [
        ("hat", "made"), ("glasses", "made"),
    ]  # fmt: skip


def test_the_empty_prompt_is_encoded_once_for_all(
    tiny_model: PipelineModel, entry: Entry, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = []
    real = tiny_model.encode_prompt
    monkeypatch.setattr(
        tiny_model, "encode_prompt", lambda prompt: prompts.append(prompt) or real(prompt)
    )
    monkeypatch.setattr("pairedit_sdk.models.empty_prompt.kept", lambda *_: None)
    train_many(tiny_model, [entry("hat"), entry("glasses")], library)
    assert prompts == [""]
    assert tiny_model._text.loaded is None


def test_guidance_that_the_model_ignores_makes_no_other_edit(
    tiny_model: PipelineModel, entry: Entry, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = entry("hat", guidance=2.0)
    monkeypatch.setattr(tiny_model, "takes_guidance", False)
    train_many(tiny_model, [entry("hat")], library)
    assert states(train_many(tiny_model, [other], library)) == {"hat": "skipped"}
    monkeypatch.setattr(tiny_model, "takes_guidance", True)
    (failed,) = train_many(tiny_model, [other], library)
    assert "guidance was 0" in failed.reason


def test_what_is_finished_is_skipped_and_not_touched(
    tiny_model: PipelineModel, entry: Entry, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry("hat"), entry("glasses")]
    train_many(tiny_model, entries[:1], library)
    before = (library / "hat.safetensors").read_bytes()
    assert states(train_many(tiny_model, entries, library)) == {"hat": "skipped", "glasses": "made"}
    assert (library / "hat.safetensors").read_bytes() == before

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained a finished edit")

    monkeypatch.setattr("pairedit_sdk.jobs.train_many.make_edit", never)
    # What does not change an edit may change, and the run's own files may be gone.
    free = [replace(e, config=replace(e.config, keep=5, precision="fp32")) for e in entries]
    (library / "runs" / "hat").rename(library / "runs" / "elsewhere")
    outcomes = train_many(tiny_model, free, library, force=True)
    assert states(outcomes) == {"hat": "skipped", "glasses": "skipped"}
    assert outcomes[0].path == library / "hat.safetensors"
    assert len(logged(library)) == 2


def test_a_failed_edit_stops_no_other(
    tiny_model: PipelineModel, entry: Entry, library: Path, tmp_path: Path
) -> None:
    good, broken, apart = entry("hat"), entry("glasses"), entry("beard", lr=1.0, alpha=1e9)
    next((broken.pairs / "source").iterdir()).write_text("no picture")
    useless = replace(good, name="useless", pairs=tmp_path / "useless")
    for side in ("source", "target"):
        (useless.pairs / side).mkdir(parents=True)
        picture = (good.pairs / "source" / "1.png").read_bytes()
        (useless.pairs / side / "1.png").write_bytes(picture)
    apart = replace(apart, config=replace(apart.config, steps=60))
    outcomes = train_many(tiny_model, [broken, useless, apart, good], library)
    assert [o.state for o in outcomes] == ["failed", "failed", "failed", "made"]
    said = [o.reason for o in outcomes]
    assert "is not a picture that can be read" in said[0]
    assert said[1].startswith(f"Training on {useless.pairs} would be a waste (1: ")
    assert "not a finite number" in said[2]
    assert {o.traceback for o in outcomes} == {""}
    assert list(lora_layers(tiny_model.transformer)) == []
    assert equal(Edit.load(library / "hat.safetensors"), trained_alone(tiny_model, good))
    assert [line["state"] for line in logged(library)] == [o.state for o in outcomes]
    assert sorted(p.name for p in library.glob("*.safetensors")) == ["hat.safetensors"]


def test_an_error_that_nobody_foresaw_is_one_edit_s_too_and_leaves_its_traceback(
    tiny_model: PipelineModel, entry: Entry, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(base: object, edit: Edit, pairs: object) -> None:
        raise ZeroDivisionError("oh") if edit.name == "hat" else OSError(28, "No space left")

    monkeypatch.setattr("pairedit_sdk.training.previews.preview", fail)
    hat, glasses = train_many(tiny_model, [entry("hat"), entry("glasses")], library)
    assert hat.reason == (
        "This is a bug in pairedit, not in what you did: ZeroDivisionError: oh. The library's log "
        "has the traceback; report it with that."
    )
    assert logged(library)[0]["traceback"].startswith("Traceback (most recent call last)")
    assert glasses.reason == "The system refused: No space left."
    assert glasses.traceback == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"eta": 3.0}, "eta was 4.0, now 3.0"),
        ({"steps": 3}, "steps was 4, now 3"),
        ({"steps": 6}, "steps was 4, now 6"),
        ({}, "the pictures' hash was "),
    ],
)
def test_an_edit_of_other_settings_or_pictures_is_replaced_only_when_told_to(
    tiny_model: PipelineModel, entry: Entry, library: Path, change: dict[str, Any], said: str
) -> None:
    path = library / "hat.safetensors"
    train_many(tiny_model, [entry("hat")], library)
    before = path.read_bytes()
    other = entry("hat", **change)
    if not change:
        other = replace(other, pairs=entry("beard").pairs)
    (failed,) = train_many(tiny_model, [other], library)
    assert failed.state == "failed"
    assert failed.reason.startswith(f"There is another edit hat already ({path}): {said}")
    assert failed.reason.endswith("Choose another name, or replace it with --force.")
    assert path.read_bytes() == before

    assert states(train_many(tiny_model, [other], library, force=True)) == {"hat": "made"}
    assert equal(Edit.load(path), trained_alone(tiny_model, other))
    # The same command again has nothing to do.
    assert states(train_many(tiny_model, [other], library, force=True)) == {"hat": "skipped"}


@pytest.mark.parametrize("content", [b"damaged", None])
def test_what_is_no_edit_of_a_training_is_not_replaced_either(
    tiny_model: PipelineModel, entry: Entry, library: Path, content: bytes | None
) -> None:
    hat = entry("hat")
    path = library / "hat.safetensors"
    if content is None:
        (trained_alone(tiny_model, hat) @ 0.5).merged("hat").save(path)
    else:
        path.write_bytes(content)
    (failed,) = train_many(tiny_model, [hat], library)
    assert failed.state == "failed"
    assert "replace it with --force" in failed.reason
    assert states(train_many(tiny_model, [hat], library, force=True)) == {"hat": "made"}


def test_ctrl_c_keeps_a_checkpoint_and_the_same_call_goes_on_bit_for_bit(
    tiny_model: PipelineModel, entry: Entry, library: Path
) -> None:
    entries = [entry("hat"), entry("glasses", checkpoint_every=0), entry("beard")]

    def interrupt(entry: ManifestEntry, info: Any) -> None:
        if (entry.name, info.step) == ("glasses", 3):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_many(tiny_model, entries, library, on_step=interrupt)
    assert sorted(p.name for p in library.glob("*.safetensors")) == ["hat.safetensors"]
    # Told to replace what is of other settings, it still goes on with what is of the same.
    seen: list[tuple[str, int]] = []
    outcomes = train_many(
        tiny_model, entries, library, force=True,
        on_step=lambda entry, info: seen.append((entry.name, info.step)),
    )  # fmt: skip
    assert [(o.state, o.resumed_at) for o in outcomes] == [("skipped", 0), ("made", 3), ("made", 0)]
    assert seen[0] == ("glasses", 4)
    for one in entries:
        assert equal(Edit.load(library / f"{one.name}.safetensors"), trained_alone(tiny_model, one))
    assert [line["name"] for line in logged(library)] == ["hat", "glasses", "beard"]


def test_a_run_of_other_settings_is_begun_anew_only_when_told_to(
    tiny_model: PipelineModel, entry: Entry, library: Path
) -> None:
    hat = entry("hat")
    train_many(tiny_model, [hat], library)
    (library / "hat.safetensors").unlink()
    other = entry("hat", eta=3.0)
    (failed,) = train_many(tiny_model, [other], library)
    assert failed.state == "failed"
    assert "had other settings: eta was 4.0, now 3.0" in failed.reason
    assert "--force" in failed.reason
    # A run that is there to its end gives its edit without another step.
    (same,) = train_many(tiny_model, [hat], library, on_step=lambda *_: pytest.fail("a step"))
    assert same.state == "made"
    (library / "hat.safetensors").unlink()
    assert states(train_many(tiny_model, [other], library, force=True)) == {"hat": "made"}
    assert equal(Edit.load(library / "hat.safetensors"), trained_alone(tiny_model, other))


def test_a_damaged_checkpoint_fails_its_edit_or_is_done_without(
    tiny_model: PipelineModel, entry: Entry, library: Path
) -> None:
    hat = entry("hat")
    train_many(tiny_model, [hat], library)
    (library / "hat.safetensors").unlink()
    newest = max((library / "runs" / "hat" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:100])
    (failed,) = train_many(tiny_model, [hat], library)
    assert f"Checkpoint {newest} is damaged" in failed.reason
    assert states(train_many(tiny_model, [hat], library, force=True)) == {"hat": "made"}


def test_a_licence_that_is_said_later_is_written_without_training(
    tiny_model: PipelineModel, entry: Entry, library: Path
) -> None:
    train_many(tiny_model, [entry("hat", "old")], library)
    before = Edit.load(library / "hat.safetensors")
    for said, kept in ((None, "old"), ("new", "new")):
        assert states(train_many(tiny_model, [entry("hat", said)], library)) == {"hat": "skipped"}
        after = Edit.load(library / "hat.safetensors")
        assert after.info == replace(before.info, licence=kept)
        assert equal(after, before)


def test_an_edit_that_another_process_trains_is_left_to_it(
    tiny_model: PipelineModel, entry: Entry, library: Path
) -> None:
    with run_lock(library / "runs" / "hat"):
        hat, glasses = train_many(tiny_model, [entry("hat"), entry("glasses")], library)
    assert hat.reason.startswith("Another training is going on in ")
    assert glasses.state == "made"


def test_every_outcome_is_told_when_it_is_known(
    tiny_model: PipelineModel, entry: Entry, library: Path
) -> None:
    told: list[tuple[str, int]] = []
    entries = [entry("hat"), entry("glasses")]
    outcomes = train_many(
        tiny_model, entries, library,
        on_outcome=lambda outcome: told.append((outcome.name, len(logged(library)))),
    )  # fmt: skip
    assert told == [("hat", 1), ("glasses", 2)]
    assert all(outcome.seconds > 0 for outcome in outcomes)


def test_two_entries_of_one_name_are_refused(
    tiny_model: PipelineModel, entry: Entry, library: Path
) -> None:
    with pytest.raises(UsageError, match="Several entries are called hat"):
        train_many(tiny_model, [entry("hat"), entry("hat", eta=1.0)], library)


def test_it_is_one_process(
    tiny_model: PipelineModel, entry: Entry, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match=r"runs in one process\. Got 2 of them"):
        train_many(tiny_model, [entry("hat")], library)
