"""The empty prompt's embeddings in a file of the pipeline's folder, as the built-in models have it.

Nearly every call needs these and no others, and making them means loading two text encoders.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.io.files import read_tensors, write_tensors
from pairedit_sdk.models.protocol import Condition

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel

FILE = "empty_prompt.safetensors"


def kept(folder: Path, model: FlowModel) -> Condition | None:
    """The embeddings, float32; nothing if there is no such file, or it is damaged, or of other text
    encoders: then they are computed.

    Args:
        folder: the pipeline's.
        model: whose text encoders they must be of.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        tensors, header = read_tensors(path)
    except Exception:  # of damaged bytes; the reader has many kinds of errors for them
        return None
    whole = "prompt_embeds" in tensors
    if not whole or header.get("text_fingerprint") != model.text_fingerprint:
        return None
    return Condition.from_tensors(tensors)


def keep(folder: Path, model: FlowModel, made: Condition) -> Path:
    """Write them into the pipeline's folder.

    Args:
        folder: the pipeline's.
        model: whose text encoders made them.
        made: in float32.
    """
    return write_tensors(
        folder / FILE, made.tensors(), {"text_fingerprint": model.text_fingerprint}
    )
