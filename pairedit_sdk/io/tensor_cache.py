"""Tensors that are kept between two runs, in files named by what they depend on.

A file says which schema it is of and what its tensors hash to. One of another schema, or a damaged
one, is no error: what it held is computed again from what is there anyway, and written in its
place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from pairedit_sdk.io.files import read_tensors, write_tensors

SCHEMA = 1


def read_kept(path: Path, *names: str) -> dict[str, torch.Tensor] | None:
    """The tensors that :func:`write_kept` put there; nothing if that is not what is there.

    Args:
        path: of the file.
        names: that the tensors must have; without any, whatever they are.
    """
    if not path.is_file():
        return None
    try:
        tensors, header = read_tensors(path)
        whole = header.get("schema") == str(SCHEMA) and header.get("digest") == _digest(tensors)
    except Exception:  # of damaged bytes; the reader has many kinds of errors for them
        return None
    return tensors if whole and set(names) in (set(), set(tensors)) else None


def is_current(path: Path) -> bool:
    """Whether a file is of this schema and as long as it should be, without reading it all."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            return (handle.metadata() or {}).get("schema") == str(SCHEMA)
    except Exception:  # also where there is none
        return False


def write_kept(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Keep named tensors in a file.

    Raises:
        WriteError: they cannot be written there.
    """
    write_tensors(path, tensors, {"schema": str(SCHEMA), "digest": _digest(tensors)})


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    parts: list[str | bytes] = []
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        about = f"{name} {values.dtype} {list(values.shape)}"
        parts += [about, values.flatten().view(torch.uint8).numpy().tobytes()]
    return key(*parts)


def key(*parts: str | bytes) -> str:
    """A name made of everything that the kept tensors depend on."""
    digest = hashlib.sha256(str(SCHEMA).encode())
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]
