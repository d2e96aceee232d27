"""Several edits at once: each mode does what its formula says, and leaves the model as it was."""

from dataclasses import replace

import pytest
import torch

from pairedit_sdk.basis.mix import EditMix
from pairedit_sdk.editing import composition
from pairedit_sdk.editing.composition import BranchVelocities, attached_stack, default_mode
from pairedit_sdk.editing.edit_image import edit_image, sweep
from pairedit_sdk.editing.edit_latents import edit_latents, sweep_latents
from pairedit_sdk.editing.generate import generate
from pairedit_sdk.edits.edit import Edit, EditInfo, EditStack
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.adapters import attached, lora_layers
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.conditioned import ConditionedModel
from pairedit_sdk.models.loading import load_base
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train

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


def _model(base):
    return ConditionedModel(base, base.condition(""), 3.5)


def test_merged_is_the_summed_update(base, edits, x):
    stack = edits[0] @ 0.8 + edits[1] @ -0.5
    sigma = torch.tensor(0.6)
    with attached_stack(_model(base), stack, "merged") as velocities, torch.no_grad():
        edited, plain = velocities.edited(x + 0.1, sigma), velocities.plain(x, sigma)
    _close(edited, _velocity(base, stack.layers(), x + 0.1, sigma))
    _close(plain, _velocity(base, None, x, sigma))


def test_branches_in_one_pass_are_the_passes_one_by_one(base, edits, x):
    loras = {"one": edits[0].layers, "two": edits[1].layers}
    each = torch.tensor([0.3, -0.7])  # a scale for each of the two pictures
    branches = [{"one": 0.8}, {"two": each}, {"one": 0.5, "two": -0.5}, {"one": 0.0}]
    noises, sigma = 2, torch.tensor(0.6)
    states = torch.cat([x + 0.1 * k for k in range(len(branches))]).repeat_interleave(noises, 0)
    plain_states = x.repeat_interleave(noises, 0)
    with attached(base.transformer, loras), torch.no_grad():
        velocities = BranchVelocities(_model(base), branches)
        edited, plain = velocities(states, plain_states.repeat(len(branches), 1, 1, 1), sigma)
    assert edited.shape == plain.shape == states.shape
    for k, (branch, v) in enumerate(zip(branches, edited.chunk(len(branches)), strict=True)):
        for row in range(len(x) * noises):
            picture = row // noises
            scales = {n: float(torch.as_tensor(s).expand(2)[picture]) for n, s in branch.items()}
            stack = EditStack([(edits[("one", "two").index(n)], s) for n, s in scales.items()])
            wanted = _velocity(base, stack.layers(), x[picture : picture + 1] + 0.1 * k, sigma)
            _close(v[row : row + 1], wanted)
    for v in plain.chunk(len(branches)):
        _close(v, _velocity(base, None, plain_states, sigma))


def test_guided_is_the_sum_of_the_edits_own_changes(base, edits, x):
    stack = edits[0] @ 0.8 + edits[1] @ -0.5 + edits[0] @ 0
    sigma = torch.tensor(0.6)
    with attached_stack(_model(base), stack, "guided") as velocities:
        assert len(velocities.scales) == 2  # an edit at scale 0 costs no row
        with torch.no_grad():
            edited, plain = velocities.edited(x + 0.1, sigma), velocities.plain(x, sigma)
    own = _velocity(base, None, x + 0.1, sigma)
    changes = [
        scale * (_velocity(base, edit.layers, x + 0.1, sigma) - own) for edit, scale in stack.parts
    ]
    assert max(float(change.abs().max()) for change in changes) > 0.01
    _close(edited, own + sum(changes))
    _close(plain, _velocity(base, None, x, sigma))


@pytest.mark.parametrize("mode", ["merged", "guided"])
@pytest.mark.parametrize("tokens", [8192, 1])  # all scales in one pass, and one by one
def test_scales_in_one_pass_are_the_edits_at_these_scales(
    base, edits, x, mode, tokens, monkeypatch
):
    monkeypatch.setattr(composition, "TOKENS", tokens)
    stack = edits[0] @ 0.8 + edits[1] @ -0.5
    settings = {**SMALL, "n_avg": 2}
    swept = sweep_latents(base, x, stack, [0, 0.5, 1.0, -1.0], mode=mode, **settings)
    assert torch.equal(swept[0], x)
    for scale, z in zip([0.5, 1.0, -1.0], swept[1:], strict=True):
        alone = edit_latents(base, x, stack @ scale, mode=mode, **settings)
        assert (alone - x).abs().max() > 0.01
        _close(z, alone)


@pytest.mark.parametrize("scale", [1.0, -0.6])
def test_one_edit_is_the_same_in_every_mode(base, edits, x, scale):
    merged = edit_latents(base, x, edits[0] @ scale, **SMALL)
    for mode in (None, "guided", "sequential"):
        assert torch.equal(edit_latents(base, x, edits[0] @ scale, mode=mode, **SMALL), merged)


def test_guided_by_flowedit_is_the_sum_of_what_each_edit_does_alone(base, edits, x):
    settings = {**SMALL, "n_avg": 2, "threshold": 0.3}  # every change is damped by itself
    stack = edits[0] @ 0.8 + edits[1] @ -0.5 + edits[0] @ 0
    together = edit_latents(base, x, stack, mode="guided", **settings)
    alone = [edit_latents(base, x, edit @ scale, **settings) - x for edit, scale in stack.parts[:2]]
    assert min(float(change.abs().max()) for change in alone) > 0.01
    _close(together, x + sum(alone))
    _close(edit_latents(base, x, EditStack(stack.parts[::-1]), mode="guided", **settings), together)


def test_an_edit_named_twice_is_that_edit_at_both_scales_together(base, edits, x):
    whole = edit_latents(base, x, edits[0] @ 0.8 + edits[1] @ 0.5, **SMALL)
    parts = edits[0] @ 0.5 + edits[1] @ 0.5 + edits[0] @ 0.3
    _close(edit_latents(base, x, parts, **SMALL), whole)
    assert torch.equal(edit_latents(base, x, parts, mode="guided", **SMALL),
                       edit_latents(base, x, parts, **SMALL))  # fmt: skip


def test_the_default_suits_the_method_and_the_answer_of_a_basis(edits):
    stack = edits[0] @ 1 + edits[1] @ 1
    assert default_mode(stack, "flowedit") == "guided"
    assert default_mode(stack, "rf-inversion") == default_mode(stack, "inversion-lora") == "merged"
    route = EditMix(stack.parts, {"one": 1.0}, {"one": 0.5})
    assert default_mode(route @ 0.5, "flowedit") == "merged"


def test_sequential_edits_the_result_of_the_edit_before(base, edits, x):
    one, two = edits
    by_hand = edit_latents(base, edit_latents(base, x, one @ 0.5, **SMALL), two @ 0.7, **SMALL)
    stack = one @ 0.5 + two @ 0.7
    assert torch.equal(edit_latents(base, x, stack, mode="sequential", **SMALL), by_hand)
    back = EditStack(stack.parts[::-1])
    assert not torch.equal(edit_latents(base, x, back, mode="sequential", **SMALL), by_hand)


@pytest.mark.parametrize("mode", ["merged", "guided", "sequential"])
@pytest.mark.parametrize("method", ["flowedit", "rf-inversion"])
def test_a_stack_at_scale_0_changes_nothing(base, edits, x, mode, method):
    stack = edits[0] @ 0 + edits[1] @ 0
    plain = edit_latents(base, x, edits[0] @ 0, method=method, steps=4)
    assert torch.equal(edit_latents(base, x, stack, mode=mode, method=method, steps=4), plain) or (
        mode == "sequential" and method == "rf-inversion"  # without a part nothing is inverted
    )
    if method == "flowedit":
        assert torch.equal(plain, x)


@pytest.mark.parametrize("mode", ["merged", "guided", "sequential"])
def test_every_mode_generates_and_leaves_the_base_as_it_was(base, edits, mode):
    before = {n: p.clone() for n, p in base.transformer.named_parameters()}
    stack = edits[0] @ 1 + edits[1] @ 1
    size = {"steps": 4, "start_step": 1, "width": 64, "height": 64}
    seen = []
    picture = generate(
        base, "", stack, mode=mode, on_step=lambda done, total: seen.append((done, total)), **size
    )
    first = generate(base, "", edits[0], **size)
    assert picture.tobytes() != first.tobytes()  # the second one counts, too
    assert seen[-1][0] == seen[-1][1]
    assert [done / total for done, total in seen] == sorted(done / total for done, total in seen)
    after = dict(base.transformer.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not list(lora_layers(base.transformer))


def test_a_sweep_takes_the_mode(base, edits, face_pairs):
    picture = face_pairs({"hat": "beanie"}, 1, size=64, seed=3)[0].before
    stack = edits[0] @ 1 + edits[1] @ 1
    steps = {"steps": 4, "n_max": 3, "mode": "sequential"}
    none, half = sweep(base, picture, stack, [0, 0.5], **steps)
    assert half.tobytes() == edit_image(base, picture, stack @ 0.5, **steps).tobytes()
    assert none.tobytes() == edit_image(base, picture, stack @ 0, **steps).tobytes()


def test_edits_of_different_guidance_one_after_the_other(base, edits, x):
    other = Edit(edits[1].layers, replace(edits[1].info, guidance=2.0))
    stack = edits[0] @ 1 + other @ 1
    with pytest.raises(UsageError, match="trained with different guidance"):
        edit_latents(base, x, stack, **SMALL)
    each = edit_latents(base, x, stack, mode="sequential", **SMALL)
    by_hand = edit_latents(base, edit_latents(base, x, edits[0], **SMALL), other, **SMALL)
    assert torch.equal(each, by_hand)
    assert stack.merged("both", guidance=3.0).info.guidance == 3.0
    with pytest.raises(UsageError, match="trained with different guidance"):
        stack.merged("both")


def test_guided_on_a_base_in_bf16_loses_no_more_than_merged(tiny_folder, base, edits, x):
    half = load_base(str(tiny_folder), device="cpu", precision="bf16")
    stack = edits[0] @ 0.5 + edits[1] @ 0.5
    lost = {
        mode: (
            edit_latents(half, x, stack, mode=mode, **SMALL)
            - edit_latents(base, x, stack, mode=mode, **SMALL)
        ).norm()
        for mode in ("merged", "guided")
    }
    assert 0 < lost["guided"] < 1.5 * lost["merged"]


def test_what_does_not_exist_is_said_to_be_so(base, edits, x):
    for call in (
        lambda: edit_latents(base, x, edits[0], mode="both", **SMALL),
        lambda: generate(base, "", edits[0], steps=2, mode="both"),
        lambda: generate(base, "", steps=2, mode="both"),
    ):
        with pytest.raises(UsageError, match=r"no mode 'both'\. Expected one of merged, gui"):
            call()
    with pytest.raises(UsageError, match="inversion-lora has no mode guided"):
        edit_latents(base, x, edits[0], mode="guided", method="inversion-lora", steps=4)


def test_layers_of_one_name_and_two_shapes_are_not_mixed(edits):
    name = next(iter(edits[0].layers))
    strange = Edit({name: LoraLayer(torch.ones(1, 5), torch.ones(7, 1))}, EditInfo("strange"))
    with pytest.raises(EditError, match=f"whose layer {name} differs in shape"):
        (edits[0] + strange).merged("both")
