"""Opening LoRA files: safetensors, pickles of tensors, and the folders that tools write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.lora.alphas import PEFT_WEIGHTS
from pairedit_sdk.lora.formats import taken_apart
from pairedit_sdk.lora.pickles import read_pickled

if TYPE_CHECKING:
    import torch

#: What diffusers calls the file in a folder.
DIFFUSERS_WEIGHTS = "pytorch_lora_weights.safetensors"


def weights_file(path: Path) -> Path:
    """The file itself, or that in a folder that peft or diffusers has written."""
    if not path.is_dir():
        return path
    within = (path / PEFT_WEIGHTS, path / DIFFUSERS_WEIGHTS)
    return next((file for file in within if file.is_file()), within[0])


def is_lora_folder(path: Path) -> bool:
    """Whether this is a folder that peft or diffusers has written a LoRA in."""
    return path.is_dir() and weights_file(path).is_file()


def read_lora_header(path: Path) -> tuple[dict[str, str], list[int]]:
    """The header's metadata and the ranks of the LoRA's layers, without any tensor.

    Raises:
        EditError: as :func:`read_lora`, but for what only the tensors would show.
    """
    from safetensors import safe_open

    path = weights_file(path)
    with explained(path), safe_open(path, framework="numpy") as handle:
        keys = {name: taken_apart(name) for name in handle.keys()}  # noqa: SIM118
        downs = [name for name, key in keys.items() if key and key.part == "down"]
        ranks = [(handle.get_slice(name).get_shape() or [0])[0] for name in downs]
        return dict(handle.metadata() or {}), ranks


def lora_tensors(path: Path, pickled: bool) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a file, and its header's metadata.

    Args:
        path: of the file.
        pickled: open a pickle of tensors too.

    Raises:
        EditError: no such file, damaged, or a pickle that is not to be opened.
    """
    if path.suffix in (".pt", ".pth", ".bin") and path.is_file():
        if not pickled:
            raise EditError(
                f"{path.name} is a pickle, and none is opened here",
                next_step=f"Make an edit of it with `pairedit edits import {path} --name NAME`",
            )
        return read_pickled(path), {}
    with explained(path):
        return read_tensors(path)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Within the block, whatever the readers of damaged bytes raise is about this file.

    Raises:
        EditError: it is not there, or cannot be read.
    """
    if not path.is_file():
        raise EditError(f"There is no edit file {path}", next_step="Check the path")
    try:
        yield
    except (MemoryError, EditError):
        raise
    except Exception as error:  # the readers of damaged bytes raise nearly every kind
        reason = " ".join(str(error).split())[:120]
        raise EditError(
            f"{path.name} is not a readable safetensors file ({reason})",
            next_step="Copy it again or train the edit again; pickles are never opened",
        ) from error
