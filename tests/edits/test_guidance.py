"""The guidance that suits edits: their own, where it means the same to the model."""

from types import SimpleNamespace

import pytest
import torch

from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.guidance import own_guidance
from pairedit_sdk.edits.instruction import Instruction
from pairedit_sdk.errors import UsageError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models import families


def _edit(name="one", **info):
    return Edit({"layer": LoraLayer(torch.ones(1, 4), torch.ones(4, 1))}, EditInfo(name, **info))


def _model(architecture, *, takes=True, fingerprint="f"):
    return SimpleNamespace(
        architecture=architecture, takes_guidance=takes, default_guidance=4.0 if takes else 0.0,
        fingerprint=fingerprint,
    )  # fmt: skip


@pytest.fixture
def other(monkeypatch):
    """A model of a family to which guidance means something else."""
    monkeypatch.setitem(families.FAMILIES, "OtherPipeline", ("other", "Other"))
    monkeypatch.setitem(families._ARCHITECTURES, "other-1", "OtherPipeline")
    return _model("other-1-dev")


OWN = _edit("own", guidance=2.0, architecture="flux-1-dev", base_fingerprint="f")


@pytest.mark.parametrize("architecture", ["flux-1-dev", "flux-1-kontext", "stand-in"])
def test_it_is_the_edits_own_on_the_family_that_it_was_learned_on(architecture):
    model = _model(architecture, fingerprint="g")
    assert own_guidance(OWN @ 1, model) == 2.0
    assert own_guidance(_edit() @ 1, model) == 3.5
    assert own_guidance(Instruction("add a hat") @ 1, model) == 2.5
    with pytest.raises(UsageError, match=r"different guidance.*own 2, one 3\.5"):
        own_guidance(OWN + _edit(), model)


def test_on_another_family_the_model_says_it(other):
    # A LoRA from elsewhere and an instruction do not say their family: their values are FLUX.1's.
    stack = _edit() + Instruction("add a hat") + OWN.with_info(base_fingerprint="")
    assert own_guidance(stack, other) == 4.0
    trained = _edit(guidance=6.0, architecture="other-1-dev", base_fingerprint="f")
    assert own_guidance(trained @ 1, other) == 6.0
    with pytest.raises(UsageError, match=r"one 6, far 4"):
        own_guidance(trained + _edit("far"), other)


def test_a_model_that_takes_none_has_none():
    assert own_guidance(OWN + _edit(), _model("flux-1-schnell", takes=False)) == 0


@pytest.mark.parametrize("said", ["Flux.2-dev", "flux2_dev", "FLUX-2-Klein-4B"])
def test_capitals_and_punctuation_of_an_architecture_make_no_difference(said):
    assert own_guidance(_edit(architecture=said) @ 1, _model("flux-2-dev")) == 3.5
    assert own_guidance(_edit(architecture=said) @ 1, _model("flux-1-dev")) == 4.0
    assert families.hub_tag(said) == "flux"
