"""Several edits at once: each mode does what its formula says, and leaves the base as it was."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.bases import load_base
from pairedit_sdk.compose import GuidedRows, MergedRows, attached_stack
from pairedit_sdk.config import TrainConfig
from pairedit_sdk.edit import EditStack
from pairedit_sdk.editing import edit_latents
from pairedit_sdk.errors import UsageError
from pairedit_sdk.generation import generate
from pairedit_sdk.lora.adapters import attached, lora_layers
from pairedit_sdk.training import train

SMALL = {"steps": 4, "n_max": 3}


@pytest.fixture(scope="module")
def base(tiny_folder):
    return load_base(str(tiny_folder), device="cpu")


@pytest.fixture(scope="module")
def edits(base, face_pairs):
    config = TrainConfig(steps=6, rank=4, sigma_count=8, lr=2e-2)
    return [
        train(base, face_pairs(change, 1, size=64), replace(config, rank=rank), name=name)
        for name, change, rank in (
            ("hat", {"hat": "beanie"}, 4),
            ("glasses", {"glasses": "round"}, 2),
        )
    ]


@pytest.fixture(scope="module")
def x(base):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, *base.latent_shape(64, 64), generator=generator)


def _close(one, two, tolerance=2e-4):
    assert float((one - two).abs().max()) < tolerance


def _velocity(base, layers, x, sigma, guidance=3.5):
    with attached(base.transformer, {"own": layers} if layers else {}), torch.no_grad():
        return base.velocity(x, sigma, base.condition(""), guidance)


def test_merged_rows_are_the_summed_update(base, edits, x):
    stack = edits[0] @ 0.8 + edits[1] @ -0.5
    sigma = torch.tensor(0.6)
    with attached_stack(base, stack, "merged", base.condition(""), 3.5) as rows:
        assert isinstance(rows, MergedRows)
        with torch.no_grad():
            edited, plain = rows(x, x, sigma)
    _close(edited, _velocity(base, stack.layers(), x, sigma))
    _close(plain, _velocity(base, None, x, sigma))


def test_guided_rows_are_the_sum_of_the_edits_own_changes(base, edits, x):
    stack = edits[0] @ 0.8 + edits[1] @ -0.5 + edits[0] @ 0
    sigma = torch.tensor(0.6)
    with attached_stack(base, stack, "guided", base.condition(""), 3.5) as rows:
        assert isinstance(rows, GuidedRows)
        assert len(rows.strengths) == 2  # what is silent costs no row
        with torch.no_grad():
            edited, plain = rows(x + 0.1, x, sigma)
            alone, bare = rows.edited(x + 0.1, sigma), rows.plain(x, sigma)
    own = _velocity(base, None, x + 0.1, sigma)
    changes = [
        scale * (_velocity(base, edit.layers, x + 0.1, sigma) - own) for edit, scale in stack.parts
    ]
    assert max(float(change.abs().max()) for change in changes) > 0.01
    _close(edited, own + sum(changes))
    _close(alone, edited)
    _close(plain, _velocity(base, None, x, sigma))
    _close(bare, plain)


def test_one_edit_guided_at_scale_1_is_the_edit(base, edits, x):
    merged = edit_latents(base, x, edits[0], **SMALL)
    _close(edit_latents(base, x, edits[0], mode="guided", **SMALL), merged)
    assert torch.equal(edit_latents(base, x, edits[0], mode="sequential", **SMALL), merged)


def test_sequential_edits_the_result_of_the_edit_before(base, edits, x):
    one, two = edits
    by_hand = edit_latents(base, edit_latents(base, x, one @ 0.5, **SMALL), two @ 0.7, **SMALL)
    stack = one @ 0.5 + two @ 0.7
    assert torch.equal(edit_latents(base, x, stack, mode="sequential", **SMALL), by_hand)
    back = EditStack(stack.parts[::-1])
    assert not torch.equal(edit_latents(base, x, back, mode="sequential", **SMALL), by_hand)


@pytest.mark.parametrize("mode", ["merged", "guided", "sequential"])
def test_every_mode_generates_and_leaves_the_base_as_it_was(base, edits, mode):
    before = {n: p.clone() for n, p in base.transformer.named_parameters()}
    stack = edits[0] @ 1 + edits[1] @ 1
    picture = generate(base, "", stack, steps=4, start_step=1, width=64, height=64, mode=mode)
    plain = generate(base, "", None, steps=4, width=64, height=64)
    assert picture.tobytes() != plain.tobytes()
    after = dict(base.transformer.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not list(lora_layers(base.transformer))


def test_what_does_not_exist_is_said_to_be_so(base, edits, x):
    with pytest.raises(UsageError, match=r"no mode 'both'\. Expected one of merged, gui"):
        edit_latents(base, x, edits[0], mode="both", **SMALL)
    with pytest.raises(UsageError, match="no mode 'both'"):
        generate(base, "", edits[0], steps=2, mode="both")
    with pytest.raises(UsageError, match="inversion-lora has no mode guided"):
        edit_latents(base, x, edits[0], mode="guided", method="inversion-lora", steps=4)
