"""Loading a model by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.quiet import quiet

if TYPE_CHECKING:
    from pairedit_sdk.models.protocol import FlowModel


def load_model(
    name_or_path: str = "mini-kontext",
    *,
    device: str | None = None,
    precision: str = "auto",
    offload: bool = False,
) -> FlowModel:
    """Load a model: the frozen network with its autoencoder and text encoders.

    Args:
        name_or_path: "mini-kontext" or "mini" (built in), a pipeline folder, or a Hugging Face id
            such as "black-forest-labs/FLUX.2-klein-base-4B" or its short name "klein-base-4b". The
            default is the model that ``pairedit train`` learns on by default, the built-in edit
            model.
        device: "cpu", "cuda", "cuda:1", "mps"; by default a GPU if there is one.
        precision: "fp32", "bf16", "fp16", or, with bitsandbytes, "nf4" (4 bits) or "int8"; "auto"
            is bf16 on a GPU and fp32 on a CPU.
        offload: keep only one of transformer, autoencoder and text encoders on the device at a
            time. It costs their way there and back for every picture.

    Raises:
        BaseModelError: not there, incomplete, or of an unsupported class.
        UsageError: a device or precision that does not exist here.
    """
    if not name_or_path:
        raise UsageError(
            "The model's name is empty", next_step="Use mini-kontext, a folder or a hub id"
        )
    with quiet():  # the first import of diffusers, and by it of transformers
        from pairedit_sdk.models.pipeline_model import PipelineModel

    return PipelineModel.load(name_or_path, device=device, precision=precision, offload=offload)


#: The name of version 0.1; it stays.
load_base = load_model
