"""``pairedit bench photo``: an edit made at the model's size, on pictures several times as large.

Faces are drawn at 512 and 1024, so the true result is known at full size, and edited by a model
that sees them at its own size. Four ways lead back to full size, each forwards (something is added)
and backwards (the pictures before and after change places). Outside the true change the result is
compared with the original, inside it with the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from pairedit_sdk.bench.edit_types import EDIT_TYPES, held_out
from pairedit_sdk.bench.trained_edits import learned, plain_mean
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.editing.full_size import full_size
from pairedit_sdk.images import metrics
from pairedit_sdk.images.image import resized, to_tensor

if TYPE_CHECKING:
    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.models.protocol import FlowModel

#: What moves the latents: the true change of them, or a learned edit (at scale −1 to remove).
LATENTS = ("true", "learned")
DIRECTIONS = ("add", "remove")
#: Faces come from this number of the held-out split on: the gate's constants were chosen on
#: earlier ones.
FIRST = 1000

#: I, Dx and Dz to a picture of the size of I.
Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        edits: keys of ``EDIT_TYPES``.
        latents: of :data:`LATENTS`.
        sizes: sides of the drawn pictures, in pixels.
        seeds: how many; each learns the edits from faces of its own.
        faces: held-out faces per edit.
        recipe: what the edits are learned with.
    """

    edits: Sequence[str] = field(default_factory=lambda: tuple(EDIT_TYPES))
    latents: Sequence[str] = LATENTS
    sizes: Sequence[int] = (512, 1024)
    seeds: int = 1
    faces: int = 6
    recipe: str = "mini-kontext"

    @property
    def parts(self) -> int:
        """How often :func:`run` reports."""
        learning = len(self.edits) if "learned" in self.latents else 0
        return self.seeds * (learning + len(self.edits) * len(self.sizes))


SMALL = Plan(edits=("glasses", "hat"), sizes=(512,), faces=2)


@dataclass(frozen=True)
class Row:
    """One edit brought to full size in one way, of all faces as one.

    Attributes:
        edit: its name.
        direction: of :data:`DIRECTIONS`.
        latents: of :data:`LATENTS`.
        size: side of the pictures.
        way: of :data:`WAYS`.
        seed: of the edit.
        outside_db: PSNR against the original outside the true change; NaN if it is everywhere.
        inside_db: PSNR against the truth inside it.
        gained_db: ``inside_db`` less that of the enlarged decode.
    """

    edit: str
    direction: str
    latents: str
    size: int
    way: str
    seed: int
    outside_db: float
    inside_db: float
    gained_db: float


def run(
    model: FlowModel, plan: Plan, on_part: Callable[[str], None] = lambda note: None
) -> dict[str, Any]:
    """Learn the edits where they are wanted, and bring each to full size in every way.

    Args:
        model: the built-in model.
        plan: what to do.
        on_part: called after every edit learned and every edit measured at a size.

    Returns:
        ``rows``, and ``summary``: see :func:`summary`.
    """
    rows: list[Row] = []
    for seed in range(plan.seeds):
        drawer: Mapping[str, Edit] = {}
        if "learned" in plan.latents:
            drawer = learned(
                model, plan.edits, seed, plan.recipe, limit_scale=True, on_edit=on_part
            )
        for name in plan.edits:
            for size in plan.sizes:
                rows += _rows(model, plan, name, size, seed, drawer.get(name))
                on_part(f"{name}, {size}")
    return {"summary": summary(rows), "rows": [asdict(row) for row in rows]}


@torch.no_grad()
def _rows(
    model: FlowModel, plan: Plan, name: str, size: int, seed: int, edit: Edit | None
) -> list[Row]:
    """One edit at one size: all directions, latents and ways."""
    faces = held_out(EDIT_TYPES[name].example, plan.faces, FIRST)
    drawn = [[face.draw(size) for face in side] for side in zip(*faces, strict=True)]
    side = model.resolution
    small = [torch.cat([to_tensor(resized(p, (side, side))) for p in half]) for half in drawn]
    large = [torch.cat([to_tensor(p) for p in half]) for half in drawn]
    latents = [model.encode(half).float() for half in small]
    rows = []
    for direction in DIRECTIONS:
        order = slice(None) if direction == "add" else slice(None, None, -1)
        (original, truth), (x, x_true) = large[order], latents[order]
        mask = metrics.edit_mask(original, truth, dilate=max(1, size // side))
        before = model.decode(x).float().cpu().clamp(-1, 1)
        for kind in plan.latents:
            z = x_true
            if kind == "learned" and edit is not None:
                scale = 1.0 if direction == "add" else -1.0
                z = edit_latents(model, x, edit @ scale, seed=seed)
            after = model.decode(z).float().cpu().clamp(-1, 1)
            scores = {
                way: _score(function, original, before, after, truth, mask)
                for way, function in WAYS.items()
            }
            base = scores["decode"][1]
            rows += [
                Row(name, direction, kind, size, way, seed, out, within, within - base)
                for way, (out, within) in scores.items()
            ]
    return rows


def _score(
    way: Way,
    original: torch.Tensor,
    before: torch.Tensor,
    after: torch.Tensor,
    truth: torch.Tensor,
    mask: torch.Tensor,
) -> tuple[float, float]:
    """PSNR outside and inside, in dB, from the mean square over all faces.

    A mean of decibels would be carried by the faces that are kept bit for bit.
    """
    faces = zip(original, before, after, strict=True)
    out = torch.cat([way(i[None], dx[None], dz[None]).clamp(-1, 1) for i, dx, dz in faces])
    outside = float(metrics.masked_mse(out, original, ~mask).nanmean())
    inside = float(metrics.masked_mse(out, truth, mask).nanmean())
    return _db(outside), _db(inside)


def _db(mse: float) -> float:
    if math.isnan(mse):
        return mse
    return min(metrics.CAP_DB, 10 * math.log10(4 / mse)) if mse > 0 else metrics.CAP_DB


def _enlarged(x: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, size=original.shape[-2:], mode="bicubic", antialias=True)


def _decode(original: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """U(Dz)."""
    return _enlarged(after, original)


def _residual(original: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """I + U(Dz − Dx)."""
    return original + _enlarged(after - before, original)


def _paste(original: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """I + U(m) (U(Dz) − I), the mask m from where |Dz − Dx| is large, widened and softened."""
    changed = F.max_pool2d((after - before).abs().amax(dim=1, keepdim=True), 5, 1, padding=2)
    mask = ((metrics.gaussian_blur(changed, 1.5) - 0.08) / 0.25).clamp(0, 1)
    pasted = _enlarged(after, original) - original
    return original + _enlarged(mask, original).clamp(0, 1) * pasted


WAYS: dict[str, Way] = {
    "gated": full_size,
    "decode": _decode,
    "residual": _residual,
    "paste": _paste,
}


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By way the means over edits, and the least of what is gained inside.

    The figures are ``outside``, ``inside``, ``gained`` and ``gained_least``, each with the latents,
    the size and the direction in front: ``true_512_add_outside``.
    """
    result: dict[str, dict[str, float]] = {}
    for way in dict.fromkeys(row.way for row in rows):
        figures = result.setdefault(way, {})
        groups: dict[str, list[Row]] = {}
        for row in rows:
            if row.way == way:
                groups.setdefault(f"{row.latents}_{row.size}_{row.direction}", []).append(row)
        for group, own in groups.items():
            gained = [row.gained_db for row in own]
            figures[f"{group}_outside"] = plain_mean([row.outside_db for row in own])
            figures[f"{group}_inside"] = plain_mean([row.inside_db for row in own])
            figures[f"{group}_gained"] = plain_mean(gained)
            figures[f"{group}_gained_least"] = min(gained)
    return result
