"""What is computed once: the latents of the pairs, and the embeddings of prompts.

Both live in safetensors files whose names are hashes of everything they depend on, so a changed
picture, base or size simply misses the cache. A file says which schema it is of and what its
tensors hash to; one of another schema, or a damaged one, is no error: what it held is computed
again from what is there anyway, and written in its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.bases.folders import BUILT_IN
from pairedit_sdk.bases.protocol import Condition
from pairedit_sdk.files import cache_folder, read_tensors, write_tensors
from pairedit_sdk.pictures.images import fit_size, to_tensor

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.bases.protocol import FlowBase
    from pairedit_sdk.pairs import PairSet

SCHEMA = 1


@dataclass(frozen=True)
class PairLatents:
    """A pair as the model sees it: latents [1, C, h, w] in float32 on the base's device."""

    name: str
    x_a: torch.Tensor
    x_b: torch.Tensor


def encode_pairs(
    base: FlowBase, pairs: PairSet, resolution: int | None = None, folder: Path | None = None
) -> list[PairLatents]:
    """Encode every picture of the pairs once, keeping its aspect ratio.

    Args:
        base: whose autoencoder is used.
        pairs: the training pairs.
        resolution: side of the square with the wanted area; ``None`` is the base's own.
        folder: where to keep the latents; ``None`` keeps them in memory only.
    """
    budget = resolution or base.resolution
    result = []
    for pair in pairs:
        size = fit_size(*pair.before.size, budget, base.multiple)
        x_a = _encode(base, pair.before, size, folder)
        x_b = _encode(base, pair.after, size, folder)
        result.append(PairLatents(pair.name, x_a, x_b))
    return result


def condition(base: FlowBase, prompt: str) -> Condition:
    """The prompt's embeddings; for large text encoders they are also kept on disk.

    Loading FLUX.1's text encoders takes far longer than an edit, and nearly every call needs only
    the empty prompt.
    """
    if base.name in BUILT_IN or base.knows(prompt):
        return base.condition(prompt)
    path = _prompt_path(base, prompt)
    kept = _read_condition(path)
    if kept is not None:
        base.remember(prompt, kept)
    else:
        made = base.condition(prompt)
        # They are larger than some transformers: not to be kept beside one.
        base.release_text_encoders()
        with suppress(OSError):  # an unwritable home costs time, not the edit
            _write_condition(path, made)
    return base.condition(prompt)


def conditions(base: FlowBase, prompts: Iterable[str]) -> Mapping[str, Condition]:
    """The embeddings of many prompts, with the text encoders loaded once, and released after it.

    Those of large text encoders (4 MiB each with FLUX.1) stay on disk, and are read when they are
    asked for: a data set has more captions than fit into memory.

    Raises:
        WriteError: they cannot be written there.
    """
    prompts = sorted(set(prompts))
    if base.name in BUILT_IN:
        return {prompt: base.condition(prompt) for prompt in prompts}
    paths = {prompt: _prompt_path(base, prompt) for prompt in prompts}
    for prompt, path in paths.items():
        if not _is_current(path):
            _write_condition(path, base.condition(prompt))
            base.forget(prompt)
    base.release_text_encoders()
    return _OnDisk(base, paths)


class _OnDisk(Mapping[str, Condition]):
    """Embeddings by their prompt, read from files."""

    def __init__(self, base: FlowBase, paths: Mapping[str, Path]) -> None:
        self._base, self._paths = base, paths

    def __getitem__(self, prompt: str) -> Condition:
        path = self._paths[prompt]
        kept = _read_condition(path)
        if kept is None:  # it was there when the training began
            kept = self._base.condition(prompt)
            self._base.forget(prompt)
            self._base.release_text_encoders()
            _write_condition(path, kept)
        return kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _prompt_path(base: FlowBase, prompt: str) -> Path:
    key = _hash("prompt", base.text_fingerprint, str(base.dtype), prompt)
    return cache_folder() / f"prompt-{key}.safetensors"


def _read_condition(path: Path) -> Condition | None:
    kept = _read(path, "prompt_embeds", "pooled")
    return None if kept is None else Condition(kept["prompt_embeds"], kept["pooled"])


def _write_condition(path: Path, made: Condition) -> None:
    _write(path, {"prompt_embeds": made.prompt_embeds, "pooled": made.pooled})


def _read(path: Path, *names: str) -> dict[str, torch.Tensor] | None:
    """The tensors that :func:`_write` put there; nothing if that is not what is there."""
    if not path.is_file():
        return None
    try:
        tensors, header = read_tensors(path)
        whole = header.get("schema") == str(SCHEMA) and header.get("digest") == _digest(tensors)
    except Exception:  # of damaged bytes; the reader has many kinds of errors for them
        return None
    return tensors if whole and set(tensors) == set(names) else None


def _is_current(path: Path) -> bool:
    """Whether a file is of this schema and as long as it should be, without reading it all."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            return (handle.metadata() or {}).get("schema") == str(SCHEMA)
    except Exception:  # also where there is none
        return False


def _write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    write_tensors(path, tensors, {"schema": str(SCHEMA), "digest": _digest(tensors)})


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    parts: list[str | bytes] = []
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        about = f"{name} {values.dtype} {list(values.shape)}"
        parts += [about, values.flatten().view(torch.uint8).numpy().tobytes()]
    return _hash(*parts)


def _encode(
    base: FlowBase, image: Image.Image, size: tuple[int, int], folder: Path | None
) -> torch.Tensor:
    from PIL import Image as PILImage

    fitted = image if image.size == size else image.resize(size, PILImage.Resampling.LANCZOS)
    path = None
    if folder is not None:
        key = _hash("latents", base.fingerprint, base.precision, str(size), fitted.tobytes())
        path = folder / f"latents-{key}.safetensors"
        kept = _read(path, "latents")
        if kept is not None:
            return kept["latents"].to(base.device)
    latents = base.encode(to_tensor(fitted)).float()
    if path is not None:
        _write(path, {"latents": latents})
    return latents


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256(str(SCHEMA).encode())
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]
