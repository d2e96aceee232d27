"""The whole build, with budgets of a moment: every part is trained once, assembled, trained on."""

import json

import numpy as np
import pytest

from pairedit_sdk.builtin.build import clip, mini, parts
from pairedit_sdk.builtin.build import stages as module
from pairedit_sdk.builtin.build.mini import build
from pairedit_sdk.builtin.build.stages import Options
from pairedit_sdk.builtin.faces.numbered import face_at, pictures_of
from pairedit_sdk.errors import UsageError
from pairedit_sdk.models.loading import load_base

FACES = 96


@pytest.fixture
def small(monkeypatch):
    """Small models, few faces, drawn here and not in other processes."""
    transformer = parts.transformer
    monkeypatch.setattr(parts, "transformer", lambda: transformer(width=64, double=1, single=1))
    monkeypatch.setattr(module, "HELD_OUT", 2)
    monkeypatch.setattr(module, "SHARES", dict.fromkeys(module.SHARES, 1.0))
    monkeypatch.setattr(module, "FLOW_BATCH", 4)
    drawn = pictures_of([face_at(i) for i in range(8)])
    for where in (mini, clip):
        monkeypatch.setattr(
            where, "picture_pool", lambda _, count, *__: np.resize(drawn, (count, *drawn.shape[1:]))
        )


def _options(tmp_path, minutes, chosen=tuple(module.SHARES), start=None):
    return Options(
        tmp_path / "folder", tmp_path / "base", minutes, chosen, start, FACES, "cpu", False
    )


def _steps(tmp_path, part):
    return json.loads((tmp_path / "folder" / f"{part}.json").read_text())["step"]


def test_a_base_is_built_and_trained_on(small, tmp_path):
    moment = 1e-4 / 60  # a step each, as no part looks at the clock within one
    build(_options(tmp_path, moment))
    assert {part: _steps(tmp_path, part) for part in ("autoencoder", "flow", "guidance")} == {
        "autoencoder": 1, "flow": 1, "guidance": 1,
    }  # fmt: skip
    first = load_base(str(tmp_path / "base"), device="cpu").fingerprint
    config = json.loads((tmp_path / "base" / "text_encoder" / "config.json").read_text())
    assert config["dtype"] == "float32"  # what stock diffusers loads it in, beside the others

    # Guidance is distilled from what the flow model then is, not taken from the checkpoint.
    spent = json.loads((tmp_path / "folder" / "flow.json").read_text())["elapsed"]
    longer = (spent + 1e-6) / 60  # one step more, however quick it is
    build(_options(tmp_path, longer, chosen=("flow", "guidance")))
    assert _steps(tmp_path, "flow") == 2
    parent = json.loads((tmp_path / "folder" / "guidance.json").read_text())["parent"]
    assert parent == f" flow {_steps(tmp_path, 'flow')}"
    assert load_base(str(tmp_path / "base"), device="cpu").fingerprint != first

    # With more minutes for everything every part trains on, and none begins anew.
    parts_of = ("autoencoder", "text", "clip", "flow", "guidance")
    before = {part: _steps(tmp_path, part) for part in parts_of}
    states = [json.loads((tmp_path / "folder" / f"{p}.json").read_text()) for p in parts_of]
    build(_options(tmp_path, (max(state["elapsed"] for state in states) + 0.01) / 60))
    for part in parts_of[:-1]:
        assert _steps(tmp_path, part) > before[part], part


def test_parts_that_would_not_fit_each_other_are_refused(small, tmp_path):
    with pytest.raises(UsageError, match="There is no checkpoint of autoencoder, text, clip in"):
        build(_options(tmp_path, 1, chosen=("flow",)))
    with pytest.raises(UsageError, match="With another text the flow model no longer fits"):
        build(_options(tmp_path, 1, chosen=("text",), start=tmp_path))
