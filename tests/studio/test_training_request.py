"""A request, the command line that does it, and what is refused before anything begins."""

import json
from pathlib import Path

import pytest

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.studio.training_request import TrainingRequest

WHOLE = TrainingRequest(
    "glasses", Path("/pairs"), "mini-kontext", "mini-kontext", ("steps=6", "rank=4"), True,
    "add glasses", True, True, True, "cpu", "fp32", True,
)  # fmt: skip


def test_the_command_line():
    assert TrainingRequest("x", Path("/pairs")).command("/edits") == [
        "train", "/pairs", "--name", "x", "--library", "/edits",
    ]  # fmt: skip
    assert WHOLE.command("/edits") == [
        "train", "/pairs", "--name", "glasses", "--library", "/edits", "--base", "mini-kontext",
        "--recipe", "mini-kontext", "--device", "cpu", "--precision", "fp32", "--words",
        "add glasses", "--set", "steps=6", "--set", "rank=4", "--find-words", "--place",
        "--skip-check", "--offload", "--force",
    ]  # fmt: skip
    resumed = WHOLE.command("/edits", resume=True)
    assert (resumed[-1], "--force" in resumed) == ("--resume", False)
    assert TrainingRequest("x", Path("/p"), find_words=False).command("/e")[-1] == "--no-words"


def test_the_command_line_has_all_of_a_request(monkeypatch, tmp_path):
    """It is what ``pairedit train`` understands, and comes to the same settings."""
    from typer.testing import CliRunner

    from pairedit_sdk.cli import app
    from pairedit_sdk.cli import train as command

    given = {}

    def noted(base, recipe, overrides, values=None):
        given.update(base=base, recipe=recipe, overrides=overrides, values=values)
        raise UsageError("far enough")

    monkeypatch.setattr(command, "settings_for", noted)
    monkeypatch.setattr("pairedit_sdk.studio.training_request.settings_for", noted)
    with pytest.raises(UsageError, match="far enough"):
        WHOLE.config()
    ours = dict(given)
    said = CliRunner().invoke(app, WHOLE.command(tmp_path)).stderr
    assert said == "Error: far enough.\n"
    assert sorted(given.pop("overrides")) == sorted(ours.pop("overrides"))
    assert given == ours
    assert ours["values"] == {"words.find": True, "words.vocabulary": "add glasses;"}


def test_it_outlives_json():
    assert TrainingRequest.from_dict(json.loads(json.dumps(WHOLE.as_dict()))) == WHOLE


def test_settled(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIREDIT_BASE", "mini")
    monkeypatch.chdir(tmp_path)
    Path("pairs").mkdir()
    Path("own.yaml").write_text("steps: 30\nbase: mini")
    request, steps = TrainingRequest("x", Path("pairs")).settled()
    assert (request.base, request.pairs, steps) == ("mini-kontext", tmp_path / "pairs", 150)
    assert request.settings == ("checkpointing.preview_every=25",)
    assert request.settled() == (request, steps)
    request, steps = TrainingRequest("x", Path("pairs"), recipe="own.yaml").settled()
    assert (request.base, request.recipe, steps) == ("mini", str(tmp_path / "own.yaml"), 30)


@pytest.mark.parametrize(
    "settings", [("preview_every=0",), (" checkpointing.preview_every = 0",), ("preview_every=9",)]
)
def test_previews_that_are_asked_for_stay(tmp_path, settings):
    assert TrainingRequest("x", tmp_path, settings=settings).settled()[0].settings == settings


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"settings": ("step=6",)}, "unknown key 'step'"),
        ({"settings": ("steps=0",)}, "steps is 0, expected a whole number of at least 1"),
        ({"settings": ("steps",)}, "steps"),
        ({"settings": ("base=mini",)}, "--set cannot change the model"),
        ({"recipe": "fast"}, "There is no recipe 'fast'"),
        ({"words": "add a hat", "find_words": False}, "no words are to be found"),
        ({"words": " "}, "The vocabulary is empty"),
        ({"settings": ("track=wandb",)}, "wandb"),
        ({"pairs": Path("/no/pairs")}, "Pairs folder '/no/pairs' does not exist"),
    ],
)
def test_refused(tmp_path, changed, said):
    with pytest.raises((UsageError, InputError)) as caught:
        TrainingRequest(**{"name": "x", "pairs": tmp_path, **changed}).settled()
    assert said in str(caught.value)
