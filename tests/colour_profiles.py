"""Small ICC profiles, version 2, for tests of pictures' colours."""

from __future__ import annotations

import struct
from collections.abc import Sequence

D50 = (0.9642, 1.0, 0.8249)
#: Red, green and blue in XYZ, adapted to D50.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def numbers(values: Sequence[float]) -> bytes:
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def curve(gamma: float) -> bytes:
    """A power; 1 is the empty curve, which is linear."""
    if gamma == 1:
        return b"curv" + bytes(8)
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def srgb_curve() -> bytes:
    """sRGB's own, in version 4's form of a power with a straight part."""
    values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para\0\0\0\0\0\x03\0\0" + numbers(values)


def colour(
    primaries: Sequence[Sequence[float]] = SRGB, tone: bytes = curve(1), name: str = "Test"
) -> bytes:
    tags = {b"wtpt": b"XYZ \0\0\0\0" + numbers(D50)}
    for letter, values in zip("rgb", primaries, strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ \0\0\0\0" + numbers(values)
        tags[f"{letter}TRC".encode()] = tone
    return _whole(b"RGB ", tags, name)


def grey(tone: bytes = curve(1), name: str = "Test") -> bytes:
    return _whole(b"GRAY", {b"wtpt": b"XYZ \0\0\0\0" + numbers(D50), b"kTRC": tone}, name)


def _whole(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    said = name.encode() + b"\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(said)) + said + bytes(8 + 3 + 67)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0", **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I", start + len(body)) + b"lcms\x02\x10\0\0mntr" + space + b"XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + numbers(D50)
    return head.ljust(128, b"\0") + table + body
