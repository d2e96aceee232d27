"""A basis whose parts do not belong together is not taken."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.checks import require_delta, require_description, require_whole
from pairedit_sdk.lorweb.delta import DeltaShape
from pairedit_sdk.lorweb.parts import BasisLayer, Joined


def parts():
    layers = {name: BasisLayer(torch.ones(3, 2, 8), torch.ones(3, 6, 2)) for name in "ab"}
    own = Edit({"a": LoraLayer(torch.ones(5, 8), torch.ones(6, 5))}, EditInfo("own"))
    router = Router(torch.ones(2, 4, 12), torch.ones(2, 3, 4), 2.0, False, "softmax")
    return layers, router, [Joined(own, torch.ones(2, 4))]


def test_a_basis_that_fits_together_is_taken_and_so_is_one_with_a_router_for_all():
    layers, router, joined = parts()
    require_whole(layers, router, joined)
    shared = Router(router.projection[:1], router.keys[:1], 2.0, False, "softmax")
    require_whole(layers, shared, [Joined(joined[0].edit, torch.ones(1, 4))])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r, _: r.__dict__.update(projection=torch.ones(3, 4, 12)), "for 3 weights of 2"),
        (lambda r, _: r.__dict__.update(projection=torch.ones(4, 12)), r"projection is \[4, 12\]"),
        (lambda r, _: r.__dict__.update(keys=torch.ones(2, 3, 5)), r"keys is \[2, 3, 5\]"),
        (lambda r, _: r.__dict__.update(keys=torch.full((2, 3, 4), torch.nan)), "keys is not of"),
        (lambda r, _: r.__dict__.update(keys=torch.ones(2, 3, 4, dtype=torch.int)), "keys is not"),
        (
            lambda _, own: own.update(a=BasisLayer(torch.ones(2, 2, 8), torch.ones(3, 6, 2))),
            "a/down",
        ),
        (lambda _, own: own.update(b=BasisLayer(torch.ones(3, 2, 8), torch.ones(3, 6, 1))), "b/up"),
        (
            lambda _, own: own.update(b=BasisLayer(torch.ones(3, 0, 8), torch.ones(3, 6, 0))),
            "b/down",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, said):
    layers, router, joined = parts()
    change(router, layers)
    with pytest.raises(ValueError, match=said):
        require_whole(layers, router, joined)


def test_an_edit_that_joined_is_looked_at_too():
    layers, router, joined = parts()
    with pytest.raises(ValueError, match=r"joined keys is \[2, 5\]"):
        require_whole(layers, router, [Joined(joined[0].edit, torch.ones(2, 5))])
    own = Edit({"a": LoraLayer(torch.ones(5, 8), torch.ones(6, 4))}, EditInfo("own"))
    with pytest.raises(ValueError, match="a/up"):
        require_whole(layers, router, [Joined(own, joined[0].keys)])


def test_an_edit_of_other_shapes_could_not_be_mixed():
    layers, router, joined = parts()
    own = Edit({"a": LoraLayer(torch.ones(5, 9), torch.ones(6, 5))}, EditInfo("own"))
    with pytest.raises(ValueError, match="a of the edit own has another shape"):
        require_whole(layers, router, [Joined(own, joined[0].keys)])


DESCRIBED = {
    "name": "b", "base": "mini-kontext", "base_fingerprint": "", "architecture": "", "steps": 3,
    "encoder": "mini", "temperature": 2.0, "normalised": False, "activation": "softmax",
    "layers": ["a", "b"], "joined": [], "settings": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder": 3}, "a name in it is no text"),
        ({"steps": True}, "its steps are not counted"),
        ({"steps": -1}, "its steps are not counted"),
        ({"temperature": "2"}, "its temperature is no number"),
        ({"temperature": 0}, "its temperature is not above 0"),
        ({"temperature": float("nan")}, "its temperature is not above 0"),
        ({"normalised": 0}, "its router is not known"),
        ({"activation": "best"}, "its router is not known"),
        ({"layers": {"a": 1}}, "layers is no list"),
        ({"layers": ["a", "a"]}, "its layers are not names, each once"),
        ({"settings": []}, "its settings are none"),
    ],
)
def test_a_description_of_other_kinds_is_refused(change, said):
    require_description(DESCRIBED)
    with pytest.raises(ValueError, match=said):
        require_description(DESCRIBED | change)


@pytest.mark.parametrize(
    "change", [{"layers": 65_536}, {"width": 7}, {"tokens": 0}, {"patches": 0}, {"prompt": 2.0}]
)
def test_a_delta_network_of_other_sizes_is_refused_before_it_is_made(change):
    shape = DeltaShape(2, 8, 1, 4, 3, 5, 6, 0)
    require_delta(shape)
    (name,) = change
    with pytest.raises(ValueError, match=f"the {name} of its delta network"):
        require_delta(replace(shape, **change))
