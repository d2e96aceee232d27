"""How long a basis takes to open and to answer, from ten edits to a hundred thousand.

The edits are one shipped edit under many names, their keys are random; what an answer costs does
not depend on what they are.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.basis.index import KEPT, Index, index_path, write_index
from pairedit_sdk.bench.edit_types import held_out_faces
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.io.resources import examples_dir
from pairedit_sdk.models.image_encoder import load_encoder

COUNTS = (10, 100, 1_000, 10_000, 100_000)
SHIPPED = "hat"
ASKED = 11


def measure(
    counts: Sequence[int] = COUNTS, on_part: Callable[[str], None] = lambda note: None
) -> list[dict[str, Any]]:
    """One row for each number of edits.

    Args:
        counts: of edits.
        on_part: called after each.

    Returns:
        ``edits``; ``open_seconds``, reading the index; ``first_seconds``, the first answer, with
        what is kept for later ones; ``route_ms``, the median of further answers: three pictures
        embedded, all keys compared, and the chosen edits loaded; ``index_mib``.
    """
    (a, a_prime), (b, _) = held_out_faces(SHIPPED, 2)
    shown = a.draw(), a_prime.draw(), b.draw()
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), count)
            basis = EditBasis.open(folder)
            opened = _seconds(getattr, basis, "index")
            basis.prepare("mini")
            first = _seconds(basis.route, *shown)
            later = [_seconds(basis.route, *shown) for _ in range(ASKED)]
            rows.append(
                {
                    "edits": count,
                    "open_seconds": opened,
                    "first_seconds": first,
                    "route_ms": 1000 * statistics.median(later),
                    "index_mib": index_path(Path(folder)).stat().st_size / 2**20,
                }
            )
        on_part(f"{count} edits")
    return rows


def fill(folder: Path, count: int) -> None:
    """A basis of ``count`` edits with random keys."""
    shipped = examples_dir() / "edits" / f"{SHIPPED}.safetensors"
    info = Edit.read_info(shipped)
    names = tuple(f"{SHIPPED}-{k}" for k in range(count))
    for name in names:
        EditLibrary(folder).target(name).symlink_to(shipped.resolve())
    encoder = load_encoder("mini")
    width = len(encoder.embed([held_out_faces(SHIPPED, 1)[0][0].draw()])[0])
    generator = torch.Generator().manual_seed(0)
    keys = F.normalize(torch.randn(count, width, generator=generator), dim=-1)
    own = 0.5 + 0.5 * torch.rand(count, KEPT, generator=generator)
    fingerprint = info.base_fingerprint
    write_index(folder, Index("mini", "mini", fingerprint, names, (3,) * count, keys, own))


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begun
