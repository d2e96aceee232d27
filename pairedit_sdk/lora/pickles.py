"""Tensors out of a pickle, by the reader that executes nothing."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError

if TYPE_CHECKING:
    import torch


def read_pickled(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict that torch has saved; nothing in the file is executed.

    Raises:
        EditError: it is damaged, or holds something else.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd bytes; what is wrong with them is said below
            # From memory: of a file, torch reserves as much of it as a damaged length says.
            data = io.BytesIO(path.read_bytes())
            values = torch.load(data, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # the reader of damaged bytes raises nearly every kind
        raise EditError(
            f"{path.name} is not a readable file of tensors",
            expected="a state dict of tensors; anything else in a pickle is not executed",
        ) from error
    plain = isinstance(values, dict) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in values.items()
    )
    if not plain:
        raise EditError(f"{path.name} holds something else than named tensors")
    for key, value in values.items():
        # A view may claim any size on a few bytes, and take all memory once it is copied.
        if value.layout != torch.strided or (
            value.numel() * value.element_size() > value.untyped_storage().nbytes()
        ):
            raise EditError(
                f"{path.name}: {key} is no plain tensor",
                expected="a state dict of tensors, each in memory of its own",
            )
    return dict(values)
