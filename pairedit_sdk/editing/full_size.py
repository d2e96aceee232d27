"""An edit at a photograph's own size: the original's pixels wherever the edit keeps its structure.

A model sees a photograph at a small size. With D the decoder, x and z the latents before and after
the edit, I the original and U bicubic resampling to its size,

    out = U(Dz) + U(g) (I − U(Dx)),

where I − U(Dx) is what the model did not see: fine detail, and what its autoencoder loses. The gate
g (:func:`structure_gate`) is 1 where the edit keeps the structure and falls to 0 where something
else covers it, so that old hair does not show through a new hat. Where there is little structure to
go by, that around tells what is covered from what is recoloured
(:mod:`pairedit_sdk.editing.covering`). Faint changes far below the strongest are dropped first
(:func:`significant_change`). Where z = x, out is I exactly.

All functions are pure: pictures are float32 in −1 … 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pairedit_sdk.editing.covering import (
    EPSILON,
    STRUCTURE,
    check_pair,
    covering,
    hiding,
    rise,
    side,
    strength,
)
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.metrics import gaussian_blur

#: The gate compares structure in windows of this many of the model's pixels. Wider ones leave a
#: ghost of small things that are removed, as the edge beside them that stays outweighs them.
COMPARED = 0.4
#: Changes below the first share of the strongest are dropped, above the second they are kept.
FAINT, STRONG = 0.08, 0.25
#: The local strength of a change is measured in windows of this share of the picture's side.
WINDOW = 1 / 64
#: Gaps in a cover, up to twice this share of the side, are changed with it.
GAP = 1 / 25
#: Rows that are resampled at a time. Blocks begin at multiples of it, whatever rows are asked for,
#: so that a band comes out bit for bit as in the whole picture.
BLOCK = 64
#: Rows that :func:`full_size` does at a time.
BAND = 256


class DetailTransfer:
    """Carries an edit over to the original, a band of rows at a time.

    out = I + U(Dz − Dx) − U(1 − g) (I − U(Dx)), which is the formula above written so that it is I
    exactly where Dz = Dx and g = 1. U is :func:`torch.nn.functional.interpolate` with ``bicubic``
    and ``antialias``, so that it may also shrink. It is separable: columns are resampled once, rows
    for each band.

    Args:
        before: Dx, [1, C, h, w] in the original's colour space and −1 … 1; C is 1 or 3.
        after: Dz, of the same shape. It is taken as it is: :func:`significant_change` is the
            caller's to apply, on sRGB.
        size: height and width of the original, in pixels.
        gate: g, [1, 1, h, w], if these pictures are not in sRGB; else it is their
            :func:`structure_gate`.

    Raises:
        UsageError: shapes that do not fit together, or an empty size.
    """

    def __init__(
        self,
        before: torch.Tensor,
        after: torch.Tensor,
        size: tuple[int, int],
        *,
        gate: torch.Tensor | None = None,
    ) -> None:
        check_pair(before, after)
        height, width = size
        if len(before) != 1 or before.shape[1] not in (1, 3) or min(size) < 1:
            raise UsageError(
                "DetailTransfer",
                expected="before and after [1, 1 or 3, h, w] and a size of at least 1 x 1",
                got=f"{list(before.shape)} and {height} x {width}",
            )
        gate = structure_gate(before, after) if gate is None else gate
        if gate.shape != (1, 1, *before.shape[2:]):
            raise UsageError(
                "The gate",
                expected=f"a tensor {[1, 1, *before.shape[2:]]}",
                got=f"{list(gate.shape)}",
            )
        self._size = (height, width)
        self._channels = before.shape[1]
        before, after, gate = (t.detach().cpu().float() for t in (before, after, gate))
        maps = torch.cat([before, after - before, 1 - gate], dim=1)[0]
        self._wide = maps @ _resampling(maps.shape[2], width).T
        self._down = _resampling(maps.shape[1], height)

    def rows(self, original: torch.Tensor, top: int) -> torch.Tensor:
        """A band of the edited picture.

        Args:
            original: rows top … top + n of I, float32 [C, n, W] on the CPU.
            top: the first row's number, from 0.

        Returns:
            The same rows edited, float32 [C, n, W] in −1 … 1.

        Raises:
            UsageError: another width or number of channels, or rows beyond the picture.
        """
        height, width = self._size
        fits = original.ndim == 3 and original.shape[0] == self._channels
        if not fits or original.shape[2] != width or not 0 <= top <= height - original.shape[1]:
            raise UsageError(
                "Rows of the original",
                expected=f"[{self._channels}, n, {width}] within {height} rows",
                got=f"{list(original.shape)} from row {top} on",
            )
        bottom = top + original.shape[1]
        out = torch.empty_like(original, dtype=torch.float32)
        for start in range(top - top % BLOCK, bottom, BLOCK):
            first, last = max(start, top), min(start + BLOCK, bottom)
            block = self._resampled(start)[:, first - start : last - start]
            channels = self._channels
            before, change, lost = block[:channels], block[channels:-1], block[-1:]
            picture = original[:, first - top : last - top].float()
            unseen = (picture - before).mul_(lost.clamp_(0, 1))
            out[:, first - top : last - top] = (picture + change).sub_(unseen).clamp_(-1, 1)
        return out

    def _resampled(self, start: int) -> torch.Tensor:
        """U of Dx, Dz − Dx and 1 − g in the block of rows that starts here, [2 C + 1, n, W]."""
        down = self._down[start : start + BLOCK]
        used = down.any(dim=0).nonzero()
        low, high = int(used[0]), int(used[-1]) + 1
        return down[:, low:high] @ self._wide[:, low:high]


def structure_gate(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """g: how much of the structure in Dx is still there in Dz.

    With h = D − G D, G a Gaussian of :data:`STRUCTURE` pixels, and ⟨ ⟩ the mean over channels and a
    Gaussian window of :data:`COMPARED` pixels, g = clamp[(⟨h_x h_z⟩ + ε) / (⟨h_x²⟩ + ε), 0, 1]. Of
    that the least within one pixel is taken: the original's detail on the edge of a change reaches
    as far as resampling spreads it. Where there is little structure that says nothing, so g is at
    most 1 − m c, with c the :func:`~pairedit_sdk.editing.covering.covering` and m the
    :func:`~pairedit_sdk.editing.covering.hiding`.

    Args:
        before: Dx, [B, C, h, w] in sRGB and −1 … 1.
        after: Dz, of the same shape.

    Returns:
        float32 [B, 1, h, w] in 0 … 1; exactly 1 where both pictures are the same around.

    Raises:
        UsageError: two different shapes.
    """
    check_pair(before, after)
    h_x, h_z = (t.float() - gaussian_blur(t, STRUCTURE) for t in (before, after))
    kept = gaussian_blur((h_x * h_z).mean(dim=1, keepdim=True), COMPARED) + EPSILON
    whole = gaussian_blur((h_x * h_x).mean(dim=1, keepdim=True), COMPARED) + EPSILON
    gate = -F.max_pool2d(-(kept / whole).clamp(0, 1), 3, stride=1, padding=1)
    return torch.minimum(gate, 1 - hiding(before, after) * covering(before, after))


def significant_change(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Dx + k (Dz − Dx): the edit without its faint changes, of which a learned one makes a few
    everywhere.

    With e the root of the local mean square of Dz − Dx (a Gaussian window of :data:`WINDOW` of the
    side), k₀ rises smoothly from 0 at e = :data:`FAINT` max e to 1 at :data:`STRONG` max e. A cover
    may have nearly the colour of what it hides, such as a red hat on red hair: k = k₀ + c (k̄ − k₀),
    with c the :func:`~pairedit_sdk.editing.covering.covering` and k̄ the morphological closing of
    k₀, which fills gaps up to twice :data:`GAP`.

    Args:
        before: Dx, [B, C, h, w] in sRGB and −1 … 1.
        after: Dz, of the same shape.

    Returns:
        float32, of the same shape; ``before`` bit for bit where nothing significant changed.

    Raises:
        UsageError: two different shapes.
    """
    check_pair(before, after)
    before, change = before.float(), after.float() - before.float()
    kept = rise(strength(change, WINDOW), FAINT, STRONG)
    closed = _closed(kept, round(GAP * side(before)))
    return before + torch.lerp(kept, closed, covering(before, after)) * change


def full_size(original: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """The original with an edit that was made at the model's size.

    :func:`significant_change` and :class:`DetailTransfer` over bands of rows.

    Args:
        original: I, [1, C, H, W] in sRGB and −1 … 1; C is 1 or 3.
        before: Dx, [1, C, h, w].
        after: Dz, of the same shape.

    Returns:
        float32 [1, C, H, W] in −1 … 1.

    Raises:
        UsageError: shapes that do not fit together.
    """
    height, width = original.shape[-2:]
    transfer = DetailTransfer(before, significant_change(before, after), (height, width))
    out = torch.empty_like(original, dtype=torch.float32, device="cpu")
    for top in range(0, height, BAND):
        band = original[0, :, top : top + BAND].detach().cpu()
        out[0, :, top : top + BAND] = transfer.rows(band, top)
    return out


def _closed(x: torch.Tensor, reach: int) -> torch.Tensor:
    """The greatest within a square of ``reach`` around each pixel, of that the least."""
    for sign in (1, -1):
        x = F.max_pool2d(sign * x, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
        x = sign * F.max_pool2d(x, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    return x


def _resampling(given: int, wanted: int) -> torch.Tensor:
    """The matrix [wanted, given] of bicubic resampling of one side, antialiased if it shrinks."""
    unit = torch.eye(given)[None, None]
    return F.interpolate(unit, size=(wanted, given), mode="bicubic", antialias=True)[0, 0]
