"""A basis whose parts do not belong together is not taken."""

import pytest
import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.checks import require_whole
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
