"""Full size: an edit made at the model's size, carried over to the original."""

import pytest
import torch
import torch.nn.functional as F

from pairedit_sdk.editing import full_size as fs
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


def test_the_gate_is_open_where_nothing_changes_and_closed_where_structure_goes():
    before, after = ring(64, 0.3, 0.8), torch.zeros(1, 3, 64, 64)
    assert torch.equal(structure_gate(before, before), torch.ones(1, 1, 64, 64))
    gate = structure_gate(before, after)
    assert gate.shape == (1, 1, 64, 64)
    assert gate.amin() < 0.02  # on the disc's edge
    assert gate[0, 0, 32, 32] == 1  # within it there is no structure
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
