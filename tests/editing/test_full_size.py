"""Full size: an edit made at the model's size, carried over to the original."""

import pytest
import torch
import torch.nn.functional as F

from pairedit_sdk.editing import full_size as fs
from pairedit_sdk.editing.covering import SEEN, covering
from pairedit_sdk.editing.full_size import (
    DetailTransfer,
    full_size,
    significant_change,
    structure_gate,
)
from pairedit_sdk.errors import UsageError


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def ring(side, radius, value):
    """A disc of a value on 0, [1, 3, side, side]."""
    at = (torch.arange(side) + 0.5) / side - 0.5
    inside = (at[:, None].square() + at.square()).sqrt() < radius
    return (inside * value).float().expand(1, 3, side, side).clone()


@pytest.mark.parametrize(("depth", "levels"), [(8, 255), (16, 65535)])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_a_change_every_pixel_is_the_original(depth, levels, channels):
    whole = torch.randint(
        0, levels + 1, (1, channels, 150, 97), generator=torch.Generator().manual_seed(depth)
    )
    original = whole.float() * (2 / levels) - 1
    seen = noise(1, channels, 32, 24)
    out = full_size(original, seen, seen.clone())
    assert (out - original).abs().max() <= 1e-6
    assert torch.equal(((out.double() + 1) * (levels / 2)).round().long(), whole)


def test_a_change_in_a_corner_leaves_the_others_bit_for_bit():
    original, before = noise(1, 3, 256, 256), noise(1, 3, 64, 64, seed=1)
    after = before.clone()
    after[..., :8, :8] = 1.0
    out = full_size(original, before, after)
    assert torch.equal(out[..., 128:, :], original[..., 128:, :])
    assert torch.equal(out[..., 128:], original[..., 128:])
    assert not torch.equal(out, original)


@pytest.mark.parametrize("size", [(130, 200), (48, 40), (20, 31), (64, 7)])
def test_it_is_the_formula_with_torchs_resampling(size):
    before, after = noise(1, 3, 48, 40), noise(1, 3, 48, 40, seed=1)
    original = noise(1, 3, *size, seed=2)
    gate = noise(1, 1, 48, 40, seed=3).abs()

    def up(x):
        return F.interpolate(x, size=size, mode="bicubic", antialias=True)

    kept = 1 - up(1 - gate).clamp(0, 1)
    expected = (up(after) + kept * (original - up(before))).clamp(-1, 1)
    out = DetailTransfer(before, after, size, gate=gate).rows(original[0], 0)
    assert torch.allclose(out, expected[0], atol=1e-5)


@pytest.mark.parametrize("band", [1, 7, 64, 100])
def test_bands_are_bit_for_bit_the_whole(band):
    original = noise(3, 230, 50)
    transfer = DetailTransfer(noise(1, 3, 40, 16, seed=1), noise(1, 3, 40, 16, seed=2), (230, 50))
    whole = transfer.rows(original, 0)
    bands = [transfer.rows(original[:, t : t + band], t) for t in range(0, 230, band)]
    assert torch.equal(torch.cat(bands, dim=1), whole)


def test_a_new_colour_keeps_the_originals_detail():
    """The texture that the model cannot see stays, on top of the new colour."""
    texture = 0.2 * (torch.arange(256) % 2 * 2.0 - 1).expand(1, 3, 256, 256)
    before, after = torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), 0.25)
    assert torch.allclose(full_size(texture, before, after), texture + 0.25, atol=1e-5)


def test_what_is_covered_does_not_show_through():
    """A disc is replaced by a flat surface: its outline at full size goes with it."""
    original, before, after = ring(512, 0.3, 0.8), ring(64, 0.3, 0.8), torch.zeros(1, 3, 64, 64)
    plain = original + F.interpolate(after - before, size=(512, 512), mode="bicubic")
    out = full_size(original, before, after)
    assert plain.abs().max() > 0.4
    assert out.abs().max() < 0.1


def unseen(side):
    """Lines that a model with a quarter of the side cannot see."""
    return 0.1 * (torch.arange(side) % 2 * 2.0 - 1).expand(1, 3, side, side)


def squares(value, ground, *, side=128, reach=24):
    """A square of one colour in the middle of a ground of another."""
    out = torch.tensor(ground).view(1, 3, 1, 1).repeat(1, 1, side, side)
    middle = slice(side // 2 - reach, side // 2 + reach)
    out[..., middle, middle] = torch.tensor(value).view(1, 3, 1, 1)
    return out


GROUND, RED, BLUE = (0.3, 0.2, 0.1), (0.7, -0.5, -0.5), (-0.6, -0.2, 0.8)


def detail_in_the_middle(out):
    lines = out[..., 248:264, 248:264]
    return (lines - lines.mean(dim=(2, 3), keepdim=True)).abs().mean()


@pytest.mark.parametrize("reach", [10, 24, 40])
def test_detail_that_the_model_cannot_see_goes_with_what_is_covered(reach):
    """Fine wrinkles on flat skin, and a hat over them; or a thing with fine lines, taken away."""
    skin, hat = squares(GROUND, GROUND), squares(RED, GROUND, reach=reach)
    wrinkled = F.interpolate(skin, size=(512, 512)) + unseen(512)
    added = full_size(wrinkled, skin, hat)
    assert detail_in_the_middle(added) < 0.01
    assert torch.equal(added[..., :20, :], wrinkled[..., :20, :])
    removed = full_size(F.interpolate(hat, size=(512, 512)) + unseen(512), hat, skin)
    assert detail_in_the_middle(removed) < 0.01


@pytest.mark.parametrize("reach", [10, 24, 40])
@pytest.mark.parametrize("colour", [BLUE, (0.1, 0.0, -0.1), (0.9, 0.9, 0.9)])
def test_it_stays_on_what_gets_another_colour(colour, reach):
    """Also where a lighter colour turns the contrast with the ground round."""
    before, after = squares(RED, GROUND, reach=reach), squares(colour, GROUND, reach=reach)
    original = F.interpolate(before, size=(512, 512)) + unseen(512)
    assert detail_in_the_middle(full_size(original, before, after)) == pytest.approx(0.1, abs=0.01)


def test_a_cover_of_nearly_the_same_colour_covers_nevertheless():
    """A red hat over skin and a strip of red hair: nothing of the strip is left in it."""
    before, after = squares(GROUND, GROUND), squares(RED, GROUND)
    strip = (..., slice(59, 69), slice(40, 88))
    before[strip] = after[strip] - torch.tensor([0.05, -0.05, 0.05])[:, None, None]
    kept = significant_change(before, after)
    assert (kept - after)[..., 44:84, 44:84].abs().max() < 0.01


def test_what_is_covered_is_the_same_at_a_larger_size():
    small = covering(squares(RED, BLUE), squares(RED, GROUND, reach=12))
    before, after = (
        F.interpolate(t, size=(4 * SEEN, 4 * SEEN))
        for t in (squares(RED, BLUE), squares(RED, GROUND, reach=12))
    )
    large = covering(before, after)
    assert large.shape == (1, 1, 4 * SEEN, 4 * SEEN)
    assert torch.allclose(F.avg_pool2d(large, 4), small, atol=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_does_not_change_is_not_covered(channels):
    before = noise(2, channels, 40, 24)
    gate = structure_gate(before, before.clone())
    assert torch.equal(gate, torch.ones(2, 1, 40, 24))
    assert not covering(before, before.clone()).any()


def test_the_gate_is_open_where_nothing_changes_and_closed_where_structure_goes():
    before, after = ring(64, 0.3, 0.8), torch.zeros(1, 3, 64, 64)
    assert torch.equal(structure_gate(before, before), torch.ones(1, 1, 64, 64))
    gate = structure_gate(before, after)
    assert gate.shape == (1, 1, 64, 64)
    assert gate.amin() < 0.02  # on the disc's edge
    assert gate[0, 0, 32, 32] < 0.02  # within it there is no structure, but its edge went
    both = structure_gate(torch.cat([before, before]), torch.cat([before, after]))
    assert torch.allclose(both[1:], gate)


def test_faint_changes_far_below_the_strongest_are_dropped():
    before = noise(1, 3, 128, 128)
    strong, faint = torch.zeros_like(before), torch.zeros_like(before)
    strong[..., 10:40, 10:40], faint[..., 80:110, 80:110] = 0.5, 0.02
    kept = significant_change(before, before + strong + faint)
    assert torch.equal(kept[..., 70:, 70:], before[..., 70:, 70:])
    assert torch.allclose((kept - before)[..., 14:36, 14:36], torch.tensor(0.5), atol=1e-6)
    alone = significant_change(before, before + faint)
    assert (alone - before)[..., 84:106, 84:106].mean() == pytest.approx(0.02, abs=1e-4)
    assert torch.equal(significant_change(before, before.clone()), before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: structure_gate(noise(1, 3, 8, 8), noise(1, 3, 8, 9)), "two tensors of one shape"),
        (lambda: significant_change(noise(3, 8, 8), noise(3, 8, 8)), "two tensors of one shape"),
        (lambda: DetailTransfer(*[noise(2, 3, 8, 8)] * 2, (9, 9)), "before and after"),
        (lambda: DetailTransfer(*[noise(1, 3, 8, 8)] * 2, (0, 9)), "0 x 9"),
        (lambda: DetailTransfer(*[noise(1, 3, 8, 8)] * 2, (9, 9), gate=noise(1, 8, 8)), "The gate"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize(("shape", "top"), [((1, 4, 9), 0), ((3, 4, 8), 0), ((3, 4, 9), 6)])
def test_rows_that_are_not_the_originals_are_refused(shape, top):
    transfer = DetailTransfer(*[noise(1, 3, 8, 8)] * 2, (9, 9))
    with pytest.raises(UsageError, match="within 9 rows"):
        transfer.rows(torch.zeros(shape), top)


def test_an_empty_band_is_an_empty_band():
    transfer = DetailTransfer(*[noise(1, 3, 8, 8)] * 2, (9, 9))
    assert transfer.rows(torch.zeros(3, 0, 9), 9).shape == (3, 0, 9)
    assert fs.BAND % fs.BLOCK == 0  # or blocks on the edge of two bands are resampled twice
