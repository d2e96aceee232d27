"""What an edit covers, and what it only gives another colour.

Detail that the model cannot see goes with what is covered, such as wrinkles under a new hat, and
stays on what is recoloured. All functions are pure: pictures are float32 in −1 … 1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.metrics import gaussian_blur

#: Structure is what a blur of this many pixels takes away.
STRUCTURE = 2.0
#: Structure of a mean square below this is noise, which decides nothing.
EPSILON = 1e-4
#: What is covered is seen at this side; larger pictures are shrunk to it.
SEEN = 128
#: There structure before and after is compared in windows of this many pixels.
COMPARED = 1.5
#: What the comparison says is gathered in windows of the first share of the side, and where that
#: holds no structure, from as far as the second, which weighs less.
AROUND, FAR, FAR_WEIGHT = 1 / 16, 1 / 4, 0.1
#: Shares of unlike structure below the first are taken for a recolouring, above the second for a
#: cover.
COVERED = 0.4, 0.7
#: A cover hides detail where the change, in windows of this share of the side, is above these
#: shares of the strongest.
WINDOW, HIDING = 1 / 128, (0.15, 0.3)


def covering(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """c: whether a change covers what was there (1) or gives it another colour (0).

    A cover has edges where there were none, and what it hides loses its own; a recoloured thing
    keeps its edges, though their contrast may change and even turn round. With h = D − G D, G a
    Gaussian of :data:`STRUCTURE` pixels, h_z is regressed on h_x in a Gaussian window of
    :data:`COMPARED` pixels, all channels on all channels, and h_x on h_z. With K the energy so
    explained in both, N the rest of it, m the :func:`hiding` and ⟨ ⟩ what is around, within
    :data:`AROUND` or, with less weight, :data:`FAR`, c rises smoothly from 0 to 1 while
    ⟨m N⟩ / (⟨m N⟩ + ⟨m K⟩ + ε) rises between the two of :data:`COVERED`.

    Args:
        before: Dx, [B, C, h, w] in sRGB and −1 … 1.
        after: Dz, of the same shape.

    Returns:
        float32 [B, 1, h, w] in 0 … 1; it means something in and near what changed only.

    Raises:
        UsageError: two different shapes.
    """
    check_pair(before, after)
    size = before.shape[2:]
    before, after = _seen(before.float()), _seen(after.float())
    h_x, h_z = (t - gaussian_blur(t, STRUCTURE) for t in (before, after))
    whole = (h_x.square() + h_z.square()).mean(dim=1, keepdim=True)
    explained = _explained(h_x, h_z) + _explained(h_z, h_x)
    rest = (gaussian_blur(whole, COMPARED) - explained).clamp_min(0)
    weights = hiding(before, after)
    unlike, like = _around(weights * rest), _around(weights * explained)
    share = unlike / (unlike + like + EPSILON)
    return F.interpolate(rise(share, *COVERED), size=size, mode="bilinear")


def hiding(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """m: how surely a pixel belongs to a change, from its strength as :data:`HIDING` says.

    Args:
        before: Dx, [B, C, h, w] in sRGB and −1 … 1.
        after: Dz, of the same shape.

    Returns:
        float32 [B, 1, h, w] in 0 … 1; exactly 0 where both pictures are the same around.
    """
    return rise(strength(after.float() - before.float(), WINDOW), *HIDING)


def strength(change: torch.Tensor, window: float) -> torch.Tensor:
    """e / max e, with e the root of the local mean square of a change.

    Args:
        change: Dz − Dx, float32 [B, C, h, w].
        window: standard deviation of the Gaussian window, as a share of the side.

    Returns:
        float32 [B, 1, h, w] in 0 … 1; 0 where there is no change at all.
    """
    square = change.square().mean(dim=1, keepdim=True)
    root = gaussian_blur(square, window * side(change)).clamp_min(0).sqrt()
    strongest = root.amax(dim=(2, 3), keepdim=True)
    return root / strongest.clamp_min(torch.finfo(torch.float32).tiny)


def rise(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Smoothly from 0 at ``low`` to 1 at ``high``."""
    risen = ((x - low) / (high - low)).clamp(0, 1)
    return risen.square() * (3 - 2 * risen)


def side(x: torch.Tensor) -> float:
    """The side of a square as large as a picture, in pixels."""
    return math.sqrt(x.shape[-2] * x.shape[-1])


def check_pair(before: torch.Tensor, after: torch.Tensor) -> None:
    """
    Raises:
        UsageError: two different shapes, or not [B, C, h, w].
    """
    if before.ndim != 4 or before.shape != after.shape:
        raise UsageError(
            "The pictures before and after the edit",
            expected="two tensors of one shape [B, C, h, w]",
            got=f"{list(before.shape)} and {list(after.shape)}",
        )


def _seen(x: torch.Tensor) -> torch.Tensor:
    """A picture of at most :data:`SEEN` pixels a side."""
    scale = SEEN / side(x)
    if scale >= 1:
        return x
    return F.interpolate(x, size=[max(1, round(s * scale)) for s in x.shape[2:]], mode="area")


def _around(x: torch.Tensor) -> torch.Tensor:
    near, far = (gaussian_blur(x, share * side(x)) for share in (AROUND, FAR))
    return near + FAR_WEIGHT * far


def _explained(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The local mean square of ``wanted`` that a linear map of the channels of ``given`` makes."""
    count = given.shape[1]
    squares, products = (
        torch.stack([gaussian_blur(t * given[:, i : i + 1], COMPARED) for i in range(count)])
        .permute(1, 3, 4, 0, 2)
        .contiguous()  # [B, h, w, channels of given, channels of t]
        for t in (given, wanted)
    )
    noise = EPSILON * torch.eye(count, device=given.device)
    slope: torch.Tensor = torch.linalg.solve(squares + noise, products)
    return (slope * products).sum(dim=(-2, -1))[:, None].clamp_min(0) / count
