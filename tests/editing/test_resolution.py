"""An edit that is used far above the resolution that it was learned at says so, once."""

import pytest
import torch

from pairedit_sdk.editing import resolution
from pairedit_sdk.editing.edit_photos import seen_size
from pairedit_sdk.editing.resolution import warn_if_far_above
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    monkeypatch.setattr(resolution, "_noted", set())


def _edit(name, side):
    layer = LoraLayer(torch.ones(1, 64), torch.ones(64, 1))
    return Edit({"x_embedder": layer}, EditInfo(name, resolution=side))


@pytest.mark.parametrize(
    ("own", "asked", "said"),
    [
        (512, None, False), (512, 512, False), (512, 600, False), (512, 256, False),
        (512, 640, True), (512, 1024, True), (0, 4096, False),
    ],
)  # fmt: skip
def test_above_a_fifth_more(tiny_model, caplog, own, asked, said):
    seen_size(tiny_model, (640, 480), _edit("hat", own), asked)
    assert bool(caplog.records) is said
    if said:
        assert caplog.records[0].message.startswith(
            f"Edit hat was learned at a resolution of {own}, and the picture is seen at {asked}"
        )


def test_once_for_each_edit_that_acts(caplog):
    both = _edit("hat", 128) @ 1 + _edit("off", 128) @ 0 + _edit("glasses", 512) @ 1
    for side in (512, 512, 1024):
        warn_if_far_above(both, side)
    said = [(record.args[0], record.args[2]) for record in caplog.records]
    assert said == [("hat", 512), ("hat", 1024), ("glasses", 1024)]


def test_edits_of_different_resolutions_need_no_option(tiny_model, caplog):
    seen_size(tiny_model, (64, 64), _edit("hat", 128) + _edit("glasses", 512))
    assert [record.args for record in caplog.records] == [("hat", 128, 512)]
