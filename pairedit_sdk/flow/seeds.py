"""One seed for everything that is drawn, from the seed of a run and what it is drawn for."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *path: int | str) -> int:
    """A seed of its own for whatever ``path`` names, e.g. the number of a draw.

    Seeds of neighbours share nothing, unlike ``seed + k``: the first 8 bytes of the SHA-256 of
    ``seed/path[0]/path[1]/…``.

    Args:
        seed: of the run.
        path: numbers and words without "/" that tell one use from another.

    Returns:
        A whole number from 0 to 2⁶³ − 1, as ``torch.Generator.manual_seed`` takes it.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *path))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
