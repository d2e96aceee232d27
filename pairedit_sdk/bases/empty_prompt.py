"""The empty prompt's embeddings in a file of the pipeline's folder, as the built-in models have it.

Nearly every call needs these and no others, and making them means loading two text encoders.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.bases.protocol import Condition
from pairedit_sdk.files import read_tensors, write_tensors

if TYPE_CHECKING:
    from pairedit_sdk.bases.flux import FluxBase

FILE = "empty_prompt.safetensors"


def kept(base: FluxBase) -> Condition | None:
    """The embeddings, float32; nothing if there is no such file, or it is of other text encoders.

    Raises:
        EditError: the file is damaged.
    """
    path = base.folder / FILE
    if not path.is_file():
        return None
    tensors, header = read_tensors(path)
    if header.get("text_fingerprint") != base.text_fingerprint:
        return None
    return Condition(tensors["prompt_embeds"], tensors["pooled"])


def keep(base: FluxBase) -> Path:
    """Compute them with the base's text encoders, and write them into its folder.

    Args:
        base: held in fp32 on a CPU.
    """
    made = base.encode_prompt("")
    return write_tensors(
        base.folder / FILE,
        {"prompt_embeds": made.prompt_embeds, "pooled": made.pooled},
        {"text_fingerprint": base.text_fingerprint},
    )
