from __future__ import annotations

import math

import pytest
import torch

from pairedit_sdk.images.metrics import (
    CAP_DB,
    edit_accuracy,
    edit_mask,
    evenness,
    gaussian_blur,
    identity_gap,
    leakage,
    masked_mse,
    mean_over_edits,
    monotonicity,
    pooled_accuracy,
    preservation_db,
    progress,
    remaining_error,
    success,
)


def pictures(count: int = 2, height: int = 24, width: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.manual_seed(seed)) * 1.6 - 0.8


def whole(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(x), 1, *x.shape[2:], dtype=torch.bool)


def left_half(x: torch.Tensor) -> torch.Tensor:
    mask = ~whole(x)
    mask[..., : x.shape[-1] // 2] = True
    return mask


# M


def test_mask_is_the_changed_pixel_and_its_neighbours() -> None:
    b = torch.zeros(1, 3, 7, 7)
    true = b.clone()
    true[0, 1, 3, 2] = -0.09  # one channel is enough, in either direction
    mask = edit_mask(b, true)
    expected = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    expected[0, 0, 2:5, 1:4] = True
    assert torch.equal(mask, expected)
    assert edit_mask(b, true, dilate=0).nonzero().tolist() == [[0, 0, 3, 2]]
    assert edit_mask(b, true, dilate=2).sum() == 25


def test_mask_leaves_out_differences_up_to_the_threshold() -> None:
    b = torch.zeros(1, 3, 4, 4)
    assert not edit_mask(b, b + 0.08).any()
    assert edit_mask(b, b + 0.081).all()
    assert not edit_mask(b, b + 0.4, threshold=0.5).any()


def test_mask_is_made_for_each_picture_alone_and_is_symmetric() -> None:
    b, true = pictures(seed=1), pictures(seed=2)
    true[1] = b[1]
    mask = edit_mask(b, true)
    assert mask.shape == (2, 1, 24, 32)
    assert mask[0].any()
    assert not mask[1].any()
    assert torch.equal(mask, edit_mask(true, b))


# G


def test_blur_of_an_impulse_is_the_normalised_gaussian() -> None:
    x = torch.zeros(1, 1, 15, 15)
    x[0, 0, 7, 7] = 1
    weights = [math.exp(-(k**2) / 2) for k in range(-3, 4)]
    total = sum(weights)
    blurred = gaussian_blur(x, 1.0)
    assert blurred[0, 0, 7, 7].item() == pytest.approx((1 / total) ** 2, rel=1e-5)
    assert blurred[0, 0, 7, 9].item() == pytest.approx(math.exp(-2) / total**2, rel=1e-5)
    assert blurred[0, 0, 4, 8].item() == pytest.approx(math.exp(-5) / total**2, rel=1e-4)
    assert blurred[0, 0, 7, 11] == 0  # beyond three sigma
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)


def test_blur_keeps_a_flat_picture_and_the_channels_apart() -> None:
    x = torch.tensor([0.3, -0.7, 1.0]).view(1, 3, 1, 1).expand(1, 3, 5, 6)
    torch.testing.assert_close(gaussian_blur(x, 2.5), x.contiguous())


def test_blur_of_zero_changes_nothing() -> None:
    x = pictures()
    assert torch.equal(gaussian_blur(x, 0.0), x)


# edit accuracy


@pytest.mark.parametrize("blur", [0.0, 0.02, 0.1])
def test_accuracy_is_one_for_the_true_edit_and_zero_for_none(blur: float) -> None:
    rb, true = pictures(seed=1), pictures(seed=2)
    mask = left_half(rb)
    assert edit_accuracy(true, rb, true, mask, blur).tolist() == [1, 1]
    assert edit_accuracy(rb, rb, true, mask, blur).tolist() == [0, 0]


@pytest.mark.parametrize("blur", [0.0, 0.02])
@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 0.75), (0.75, 0.9375), (2.0, 0.0), (-1.0, -3.0)]
)
def test_accuracy_along_the_line_from_b_to_its_edit(
    share: float, expected: float, blur: float
) -> None:
    rb, true = pictures(seed=1), pictures(seed=2)
    out = rb + share * (true - rb)
    accuracy = edit_accuracy(out, rb, true, left_half(rb), blur)
    assert accuracy.tolist() == pytest.approx([expected] * 2, abs=1e-4)


def test_accuracy_by_hand_on_two_pixels() -> None:
    rb = torch.zeros(1, 3, 1, 4)
    true, out = rb.clone(), rb.clone()
    true[..., 0], true[..., 1] = 1.0, 0.5  # MSE before: (1 + 0.25) / 2
    out[..., 0], out[..., 1], out[..., 3] = 0.8, 0.1, 1.0  # after: (0.04 + 0.16) / 2; 3 is outside
    mask = left_half(rb)
    accuracy = edit_accuracy(out, rb, true, mask, blur=0)
    assert accuracy.item() == pytest.approx(1 - 0.20 / 1.25, abs=1e-6)


def test_blur_forgives_half_a_pixel() -> None:
    rb = torch.zeros(1, 3, 100, 100)
    true, out = rb.clone(), rb.clone()
    true[..., 50] = 1.0
    out[..., 50], out[..., 51] = 0.5, 0.5
    mask = edit_mask(rb, true)
    sharp = edit_accuracy(out, rb, true, mask, blur=0).item()
    assert sharp == pytest.approx(0.5)
    assert edit_accuracy(out, rb, true, mask, blur=0.02).item() > 0.95


def test_pooled_accuracy_weighs_faces_by_what_there_is_to_change() -> None:
    rb = torch.zeros(2, 3, 1, 1)
    true = torch.tensor([1.0, 0.01]).view(2, 1, 1, 1).expand_as(rb)
    out = torch.tensor([0.9, 0.11]).view(2, 1, 1, 1).expand_as(rb)
    mask = torch.ones(2, 1, 1, 1, dtype=torch.bool)
    # The second face hardly changes, and the edit does ten times as much to it.
    assert edit_accuracy(out, rb, true, mask, blur=0)[1].item() == pytest.approx(-99, abs=0.01)
    expected = 1 - (0.1**2 + 0.1**2) / (1 + 0.01**2)
    assert pooled_accuracy(out, rb, true, mask, blur=0) == pytest.approx(expected, abs=1e-5)
    assert math.isnan(pooled_accuracy(rb, rb, rb, ~mask))


# how far, and what else is wrong


@pytest.mark.parametrize("blur", [0.0, 0.02])
@pytest.mark.parametrize("share", [-0.5, 0.0, 0.6, 1.0, 1.4])
def test_progress_is_the_share_of_the_way_and_nothing_else_is_wrong(
    share: float, blur: float
) -> None:
    rb, true = pictures(seed=1), pictures(seed=2)
    mask = left_half(rb)
    out = rb + share * (true - rb)
    gone = progress(out, rb, true, mask, blur)
    assert gone.tolist() == pytest.approx([share] * 2, abs=1e-5)
    left = remaining_error(edit_accuracy(out, rb, true, mask, blur), gone)
    assert left.tolist() == pytest.approx([0] * 2, abs=2e-3)


def test_progress_and_the_remaining_error_by_hand() -> None:
    rb = torch.zeros(1, 3, 1, 4)
    true, out = rb.clone(), rb.clone()
    true[..., 0] = 1.0
    out[..., 0], out[..., 1], out[..., 3] = 0.7, 0.4, 1.0  # 3 is outside
    mask = left_half(rb)
    gone = progress(out, rb, true, mask, blur=0)
    accuracy = edit_accuracy(out, rb, true, mask, blur=0)
    assert gone.item() == pytest.approx(0.7, abs=1e-6)
    assert accuracy.item() == pytest.approx(1 - 0.3**2 - 0.4**2, abs=1e-6)
    assert remaining_error(accuracy, gone).item() == pytest.approx(0.4, abs=1e-6)


def test_both_grow_in_proportion_to_the_edit() -> None:
    rb, true, other = pictures(seed=1), pictures(seed=2), pictures(seed=3)
    mask = whole(rb)
    change = other - rb
    half, twice = rb + 0.5 * change, rb + change
    one, two = (progress(out, rb, true, mask) for out in (half, twice))
    torch.testing.assert_close(two, 2 * one)
    left = [
        remaining_error(edit_accuracy(out, rb, true, mask), gone)
        for out, gone in ((half, one), (twice, two))
    ]
    torch.testing.assert_close(left[1], 2 * left[0])  # what is wrong grows alike


def test_rounding_makes_no_error_and_nothing_to_change_has_no_value() -> None:
    accuracy, gone = torch.tensor([0.9901, math.nan]), torch.tensor([0.9, 1.0])
    left = remaining_error(accuracy, gone)
    assert left[0] == 0
    assert left[1].isnan()
    rb = pictures()
    assert progress(rb, rb, rb, whole(rb)).isnan().all()


def test_accuracy_without_an_edit_has_no_value() -> None:
    rb, true = pictures(seed=1), pictures(seed=2)
    mask = left_half(rb)
    mask[0] = False
    true[1] = rb[1]
    assert edit_accuracy(rb, rb, true, mask).isnan().all()


def test_accuracy_of_half_precision_pictures_is_computed_in_float32() -> None:
    rb, true = pictures(seed=1).bfloat16(), pictures(seed=2).bfloat16()
    accuracy = edit_accuracy((rb + true) / 2, rb, true, left_half(rb))
    assert accuracy.dtype == torch.float32
    assert accuracy.tolist() == pytest.approx([0.75] * 2, abs=0.01)


# preservation and identity


def test_preservation_by_hand_outside_the_mask_only() -> None:
    rb = pictures(seed=1)
    out = rb.clone()
    out[..., 16:] += 0.2
    out[..., :16] -= 0.7
    assert preservation_db(out, rb, left_half(rb)).tolist() == pytest.approx([20, 20], abs=1e-3)
    assert preservation_db(out, rb, ~whole(rb))[0] < 20


def test_preservation_of_an_identical_surrounding_is_the_cap() -> None:
    rb = pictures(seed=1)
    out = rb.clone()
    out[..., :16] = 0
    assert preservation_db(out, rb, left_half(rb)).tolist() == [CAP_DB, CAP_DB]
    assert preservation_db(rb + 1e-7, rb, left_half(rb)).max() <= CAP_DB


def test_preservation_without_a_surrounding_has_no_value() -> None:
    rb = pictures()
    assert preservation_db(rb, rb, whole(rb)).isnan().all()


def test_identity_gap() -> None:
    rb = pictures()
    out = rb.clone()
    out[1, 2, 3, 4] -= 0.25
    assert identity_gap(out, rb).tolist() == pytest.approx([0, 0.25], abs=1e-6)


# along the strength, and between faces


def test_monotonicity_by_hand() -> None:
    accuracy = torch.tensor([[0.0, 0.0], [0.5, 0.4], [0.4, 0.4]])
    assert monotonicity(accuracy) == 0.75  # three of four steps do not fall
    assert monotonicity(accuracy, tolerance=0.11) == 1.0
    assert monotonicity(accuracy.flip(0)) == 0.5
    accuracy[1, 0] = math.nan
    assert monotonicity(accuracy) == 1.0


def test_monotonicity_needs_two_strengths() -> None:
    with pytest.raises(ValueError, match=r"expected \[S, B\] with S >= 2; got \(1, 5\)"):
        monotonicity(torch.zeros(1, 5))
    assert math.isnan(monotonicity(torch.full((3, 2), math.nan)))


def test_evenness_by_hand() -> None:
    assert evenness(torch.tensor([0.2, 0.8, math.nan])) == pytest.approx(0.3)
    assert evenness(torch.full((5,), 0.4)) == pytest.approx(0, abs=1e-7)
    assert evenness(torch.tensor([0.9])) == 0
    assert math.isnan(evenness(torch.tensor([])))


def test_every_edit_weighs_the_same() -> None:
    values = {"hat": torch.tensor([1.0, 1.0, 1.0, math.nan]), "smile": torch.tensor([0.5, 0.0])}
    assert mean_over_edits(values) == pytest.approx(0.625)


# what a classifier reads

READ_B = {"glasses": ["none"] * 3, "hat": ["cap"] * 3, "age": ["old"] * 3, "nose": ["big"] * 3}


def test_success_is_the_wanted_value_or_any_of_several() -> None:
    pred = {"glasses": ["round", "none", "square"]}
    assert success(pred, "glasses", "round").tolist() == [1, 0, 0]
    assert success(pred, "glasses", {"round", "square"}).tolist() == [1, 0, 1]


def test_leakage_counts_the_other_attributes_only() -> None:
    out = {**READ_B, "glasses": ["round"] * 3, "hat": ["cap", "none", "none"],
           "age": ["old", "old", "young"]}  # fmt: skip
    assert leakage(READ_B, READ_B, "glasses").tolist() == [0, 0, 0]
    shares = leakage(out, READ_B, "glasses").tolist()
    assert shares == pytest.approx([0, 1 / 3, 2 / 3])
    assert leakage(out, READ_B, {"glasses", "hat"}).tolist() == [0, 0, 0.5]


def test_leakage_leaves_out_what_cannot_be_seen() -> None:
    out = {**READ_B, "hat": ["none"] * 3}
    seen = [{"hat", "nose"}, {"age", "nose", "glasses"}, {"glasses"}]
    shares = leakage(out, READ_B, "glasses", seen)
    assert shares[:2].tolist() == [0.5, 0]
    assert shares[2].isnan()


# bad input


def test_shapes_are_checked() -> None:
    x = pictures()
    with pytest.raises(ValueError, match=r"one shape \[B, 3, H, W\]; got b .*, b_true"):
        edit_mask(x, x[..., :-1])
    with pytest.raises(ValueError, match=r"mask: expected bool \(2, 1, 24, 32\); got torch.float"):
        masked_mse(x, x, whole(x).float())
    with pytest.raises(ValueError, match="mask: expected bool"):
        preservation_db(x, x, whole(x)[:1])
