"""Fidelity of an edit, measured against the true edited picture. Pure functions on tensors.

Symbols: ``b`` and ``b_true`` are the new picture and its true edit, ``rb`` and ``rb_true`` their
VAE round trips r(b) and r(b′), ``out`` is what the editor made of b. All are pictures
[B, 3, H, W] in −1 … 1; a ``mask`` is boolean [B, 1, H, W]. A value that has no meaning for a
face (no pixel was edited, or every pixel was) is NaN, so that it cannot pass for a good or a bad
one; :func:`mean_over_edits` leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
import torch.nn.functional as F

#: What :func:`preservation_db` gives for identical pictures, and at most.
CAP_DB = 100.0

#: A classifier's reading of B pictures: attribute to B values.
Reading = Mapping[str, Sequence[str]]


def edit_mask(
    b: torch.Tensor, b_true: torch.Tensor, threshold: float = 0.08, dilate: int = 1
) -> torch.Tensor:
    """M, the pixels where the true edit changes the picture.

    A pixel belongs to M if any channel differs by more than ``threshold``, or if such a pixel is
    within ``dilate`` rows and columns of it.

    Args:
        b: [B, 3, H, W], the drawn picture, not its round trip.
        b_true: [B, 3, H, W], the same face drawn with the attribute changed.
        threshold: on the range −1 … 1.
        dilate: in pixels; 0 leaves M as it is.

    Returns:
        Boolean [B, 1, H, W].
    """
    _same_shape(b=b, b_true=b_true)
    changed = ((b.float() - b_true.float()).abs() > threshold).any(dim=1, keepdim=True)
    if dilate == 0:
        return changed
    side = 2 * dilate + 1
    return F.max_pool2d(changed.float(), side, stride=1, padding=dilate) > 0


def edit_accuracy(
    out: torch.Tensor,
    rb: torch.Tensor,
    rb_true: torch.Tensor,
    mask: torch.Tensor,
    blur: float = 0.02,
) -> torch.Tensor:
    """1 − MSE_M(G out, G r(b′)) / MSE_M(G r(b), G r(b′)).

    1 is the true edit exactly, 0 is as far from it as no edit at all, negative is farther. The
    blur G is over the whole picture, before the mask is applied: a glasses rim that sits half a
    pixel off is not a miss.

    Args:
        blur: standard deviation of G as a share of the picture's width; 0 for unblurred.

    Returns:
        float32 [B]; NaN where M is empty or r(b) equals r(b′) on it.
    """
    left, whole = left_of_whole(out, rb, rb_true, mask, blur)
    return 1 - left / _nan_where_zero(whole)


def pooled_accuracy(
    out: torch.Tensor,
    rb: torch.Tensor,
    rb_true: torch.Tensor,
    mask: torch.Tensor,
    blur: float = 0.02,
) -> float:
    """:func:`edit_accuracy` of all faces as one: 1 − Σ MSE_M(out, …) / Σ MSE_M(r(b), …).

    A face on which the true edit hardly shows, such as red lips on red skin, divides by next to
    nothing and can outweigh all others in a mean of accuracies. Here each counts by what there is
    to change.

    Returns:
        NaN where no face has anything to change.
    """
    left, whole = left_of_whole(out, rb, rb_true, mask, blur)
    return float(1 - left.nansum() / _nan_where_zero(whole.nansum()))


def progress(
    out: torch.Tensor,
    rb: torch.Tensor,
    rb_true: torch.Tensor,
    mask: torch.Tensor,
    blur: float = 0.02,
) -> torch.Tensor:
    """How far the edit went towards the truth: p = ⟨out − r(b), r(b′) − r(b)⟩ / ‖r(b′) − r(b)‖².

    Both products are over M, of blurred pictures as in :func:`edit_accuracy`. 1 is as far as the
    truth, 0 is nowhere, above 1 is too far. A larger scale or gain mends p alone.

    Args:
        blur: as in :func:`edit_accuracy`.

    Returns:
        float32 [B]; NaN where M is empty or r(b) equals r(b′) on it.
    """
    seen, before, wanted = _blurred(out, rb, rb_true, blur)
    along = _masked_mean((seen - before) * (wanted - before), mask)
    return along / _nan_where_zero(masked_mse(wanted, before, mask))


def remaining_error(accuracy: torch.Tensor, progress: torch.Tensor) -> torch.Tensor:
    """What is wrong with an edit beside how far it went: e = √(1 − accuracy − (1 − p)²).

    1 − accuracy is the squared distance from the truth, in units of the true change. (1 − p)² is
    its part along that change, and e² the part across it: content that the truth does not have.

    Args:
        accuracy: of :func:`edit_accuracy`, [B].
        progress: of :func:`progress` for the same pictures and blur, [B].

    Returns:
        [B], at least 0, as e² is rounded below it for an edit that only went too short or too far;
        NaN where either is.
    """
    return (1 - accuracy - (1 - progress).square()).clamp(min=0).sqrt()


def left_of_whole(
    out: torch.Tensor,
    rb: torch.Tensor,
    rb_true: torch.Tensor,
    mask: torch.Tensor,
    blur: float = 0.02,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two errors of :func:`edit_accuracy`: within M after the edit, and without one, each [B];
    NaN where M is empty."""
    seen, before, wanted = _blurred(out, rb, rb_true, blur)
    return masked_mse(seen, wanted, mask), masked_mse(before, wanted, mask)


def _blurred(
    out: torch.Tensor, rb: torch.Tensor, rb_true: torch.Tensor, blur: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """G of each picture, ``blur`` as a share of the width."""
    _same_shape(out=out, rb=rb, rb_true=rb_true)
    sigma = blur * out.shape[-1]
    return gaussian_blur(out, sigma), gaussian_blur(rb, sigma), gaussian_blur(rb_true, sigma)


def preservation_db(out: torch.Tensor, rb: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """PSNR outside M between ``out`` and r(b): 10 log10(2² / MSE), at most :data:`CAP_DB`.

    Returns:
        float32 [B], in dB for a data range of 2; NaN where M is the whole picture.
    """
    _same_shape(out=out, rb=rb)
    mse = masked_mse(out, rb, ~mask)
    return (10 * torch.log10(4 / mse)).clamp(max=CAP_DB)


def identity_gap(out: torch.Tensor, rb: torch.Tensor) -> torch.Tensor:
    """max |out − r(b)| of each picture, float32 [B]; must be 0 at strength s = 0."""
    _same_shape(out=out, rb=rb)
    return (out.float() - rb.float()).abs().flatten(1).amax(dim=1)


def monotonicity(accuracy: torch.Tensor, tolerance: float = 0.0) -> float:
    """Share of all (step, face) in which edit accuracy does not fall as s grows.

    With A[k, i] the accuracy of face i at the k-th strength, the share of the (S − 1) · B
    differences with A[k + 1, i] ≥ A[k, i] − tolerance. Differences with a NaN are left out.

    Args:
        accuracy: [S, B], rows in the order of growing strength, S ≥ 2.
        tolerance: a fall up to this does not count.

    Returns:
        0 … 1; NaN if no difference is left.
    """
    if accuracy.ndim != 2 or len(accuracy) < 2:
        raise ValueError(f"accuracy: expected [S, B] with S >= 2; got {tuple(accuracy.shape)}")
    steps = accuracy.diff(dim=0)
    steps = steps[~steps.isnan()]
    return float((steps >= -tolerance).float().mean()) if len(steps) else math.nan


def evenness(accuracy: torch.Tensor) -> float:
    """Standard deviation of edit accuracy between faces, √(mean (A_i − mean A)²); NaN left out.

    Args:
        accuracy: [B].

    Returns:
        0 if the edit works equally well on every face (or there is one face); NaN without any.
    """
    values = accuracy[~accuracy.isnan()].double()
    return float(values.std(correction=0)) if len(values) else math.nan


def success(pred: Reading, attribute: str, wanted: str | Collection[str]) -> torch.Tensor:
    """Whether the edited attribute is found as it should be.

    Args:
        pred: the classifier's reading of the outputs.
        wanted: the value that counts, or several of which any counts.

    Returns:
        float32 [B] of 0 and 1; its mean is the share of faces.
    """
    values = {wanted} if isinstance(wanted, str) else set(wanted)
    return torch.tensor([float(v in values) for v in pred[attribute]])


def leakage(
    pred_out: Reading,
    pred_reference: Reading,
    attribute: str | Collection[str],
    seen: Sequence[Collection[str]] | None = None,
) -> torch.Tensor:
    """Share of the other attributes that the edit changed, as the classifier reads them.

    The reference is the classifier's own reading of r(b), not the record of b, so that its
    mistakes on b are not held against the edit.

    Args:
        pred_out: reading of the outputs.
        pred_reference: reading of r(b).
        attribute: the edited attribute, or all that the edit may change; not counted.
        seen: for each face the attributes that can be told from both b and b′; others are not
            counted (a hat hides the eyebrows: that is no leak). All count if not given.

    Returns:
        float32 [B], 0 … 1; NaN where no other attribute counts.
    """
    edited = {attribute} if isinstance(attribute, str) else set(attribute)
    others = [name for name in pred_reference if name not in edited]
    shares = []
    for face in range(len(next(iter(pred_reference.values())))):
        counted = [name for name in others if seen is None or name in seen[face]]
        changed = sum(pred_out[name][face] != pred_reference[name][face] for name in counted)
        shares.append(changed / len(counted) if counted else math.nan)
    return torch.tensor(shares)


def mean_over_edits(values: Mapping[str, torch.Tensor]) -> float:
    """The mean over edits of each edit's mean over faces and seeds; NaN left out.

    An edit that was tried on more faces weighs no more than the others.
    """
    means = torch.stack([v.double().nanmean() for v in values.values()])
    return float(means.nanmean())


def masked_mse(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of (x − y)² over the mask's pixels and the channels, float32 [B]; NaN if empty."""
    return _masked_mean((x.float() - y.float()).square(), mask)


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of [B, 3, H, W] over the mask's pixels and the channels, [B]; NaN if it is empty."""
    expected = (values.shape[0], 1, *values.shape[2:])
    if tuple(mask.shape) != expected or mask.dtype != torch.bool:
        raise ValueError(f"mask: expected bool {expected}; got {mask.dtype} {tuple(mask.shape)}")
    total = values.mean(dim=1, keepdim=True).mul(mask).sum(dim=(1, 2, 3))
    return total / mask.sum(dim=(1, 2, 3))


def gaussian_blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """G x: a Gaussian of ``sigma`` pixels, cut at 3σ, borders repeated; float32 [B, C, H, W]."""
    x = x.float()
    radius = math.ceil(3 * sigma)
    if radius == 0:
        return x
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = x.reshape(-1, 1, *x.shape[2:])
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel)
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel.transpose(2, 3))
    return flat.view_as(x)


def _nan_where_zero(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x == 0, torch.full_like(x, math.nan), x)


def _same_shape(**pictures: torch.Tensor) -> None:
    shapes = {name: tuple(p.shape) for name, p in pictures.items()}
    if len(set(shapes.values())) > 1 or any(len(s) != 4 for s in shapes.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected pictures of one shape [B, 3, H, W]; got {listed}")
