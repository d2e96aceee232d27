"""How pictures are edited: what is asked for comes before what the edits want."""

import re

import numpy as np
import pytest
import torch

from pairedit_sdk import EditOptions
from pairedit_sdk.editing.edit_image import edit_image, sweep
from pairedit_sdk.editing.edit_latents import edit_latents, sweep_latents
from pairedit_sdk.editing.options import ResolvedOptions, options_from
from pairedit_sdk.edits.edit import Edit, EditDirection, EditInfo, EditorSettings, EditStack
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer

SHOWN = EditDirection("any", [1.0], 0.2)


def _edit(name: str, editor: EditorSettings, **info: object) -> Edit:
    layers = {"layer": LoraLayer(torch.ones(1, 4), torch.ones(4, 1))}
    return Edit(layers, EditInfo(name, editor=editor, **info))


ONE = _edit("one", EditorSettings(5, 2, 0.2, limit_scale=True), direction=SHOWN)
TWO = _edit("two", EditorSettings(14, 1, 0.1), guidance=2.0)


def test_what_is_not_asked_for_suits_the_edits(tiny_model):
    found = EditOptions().resolved(ONE @ 1 + TWO @ 0.5)
    assert (found.steps, found.n_max, found.n_avg, found.threshold) == (14, 12, 2, 0.1)
    assert (found.mode, found.guidance, found.limit_scale) == ("guided", None, None)
    assert (found.limit_of(ONE), found.limit_of(TWO)) == (SHOWN, None)
    assert found.guidance_of(ONE @ 1, tiny_model) == 3.5
    with pytest.raises(UsageError, match="different guidance"):
        found.guidance_of(ONE + TWO, tiny_model)


def test_what_is_asked_for_comes_first(tiny_model):
    asked = EditOptions(
        steps=8, n_max=3, n_avg=1, threshold=0.0, limit_scale=False, guidance=1.0, mode="sequential"
    )
    found = asked.resolved(ONE @ 1 + TWO @ 0.5)
    assert (found.steps, found.n_max, found.n_avg, found.threshold) == (8, 3, 1, 0.0)
    assert (found.mode, found.limit_of(ONE), found.guidance_of(ONE + TWO, tiny_model)) == (
        "sequential", None, 1.0,
    )  # fmt: skip


def test_resolved_options_stay_as_they_are():
    found = EditOptions(method="rf-inversion").resolved(ONE @ 1)
    assert isinstance(found, ResolvedOptions)
    assert (found.steps, found.mode, found.limit_of(ONE)) == (28, "merged", None)
    assert found.resolved(TWO @ 1) is found


def test_a_lora_of_several_edits_has_no_limit():
    both = EditStack([(ONE, 1.0), (ONE.with_info(name="b"), 1.0)])
    assert EditOptions(mode="merged").resolved(both).limit_of(ONE) is None
    assert EditOptions().resolved(both).limit_of(ONE) == SHOWN


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"method": "magic"}, "There is no method 'magic'"),
        ({"mode": "both"}, "There is no mode 'both'"),
        ({"method": "inversion-lora", "mode": "guided"}, "inversion-lora has no mode guided"),
    ],
)
def test_what_does_not_exist_is_refused_at_once(fields, sentence):
    with pytest.raises(UsageError, match=sentence):
        EditOptions(**fields)


def test_a_seed_is_any_whole_number():
    seed = EditOptions(seed=np.int64(3)).seed
    assert (seed, type(seed)) == (3, int)
    for wrong in ("3", 1.5, None):
        with pytest.raises(UsageError, match="Expected a whole number"):
            EditOptions(seed=wrong)


@pytest.mark.parametrize(
    "fields", [{"steps": 0}, {"steps": 4, "n_max": 5}, {"n_avg": 0}, {"threshold": 1.5}]
)
def test_numbers_out_of_range_are_refused(fields):
    with pytest.raises(UsageError, match="Expected steps and n_avg of at least 1"):
        EditOptions(**fields).resolved(ONE @ 1)


def test_keyword_settings_take_the_place_of_fields():
    options = EditOptions(steps=8, seed=1)
    assert options_from(options, {"seed": 2, "n_avg": 1}) == EditOptions(steps=8, seed=2, n_avg=1)
    assert options_from(None, {}) == EditOptions()


@pytest.mark.parametrize("call", [edit_image, edit_latents])
def test_an_unknown_keyword_is_named(call):
    with pytest.raises(TypeError, match="strenght"):
        call(None, None, ONE, strenght=1)


@pytest.mark.parametrize("call", [sweep, sweep_latents])
def test_an_unknown_keyword_of_a_sweep_is_named(call):
    with pytest.raises(TypeError, match="strenght"):
        call(None, None, ONE, [1], strenght=1)


def test_the_former_name_of_the_scale_limit_still_works():
    with pytest.warns(DeprecationWarning, match="even is now called limit_scale") as seen:
        zero = edit_latents(None, None, EditStack([(TWO, 0.0)]), even=False)
    assert zero is None  # nothing runs at scale 0
    assert seen[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="limit_scale"):
        assert options_from(None, {"even": True}) == EditOptions(limit_scale=True)
    with pytest.raises(TypeError, match="both are given"):
        options_from(None, {"even": True, "limit_scale": True})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"steps": "x"}, "steps is 'x'. Expected a whole number"),
        ({"n_avg": 1.5}, "n_avg is 1.5. Expected a whole number"),
        ({"resolution": "big"}, "resolution is 'big'"),
        ({"threshold": "a"}, "threshold is 'a'. Expected a number"),
    ],
)
def test_what_is_no_number_is_refused(given, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        EditOptions(**given)
