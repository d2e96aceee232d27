"""A model of a published shape with random weights, made on the device: for measuring, not seeing.

Speed and memory do not depend on what the weights say, so nothing has to be downloaded. Layer by
layer, so that a quantised model never needs more memory than it will take.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pairedit_sdk.io.optional import QUANTIZED
from pairedit_sdk.models.meta import family_in, parts_without_weights
from pairedit_sdk.models.pipeline_model import PipelineModel
from pairedit_sdk.models.precision import choose_device, choose_precision, is_quantizable, quantized
from pairedit_sdk.models.protocol import Condition

#: Small enough that nothing overflows on its way through all blocks.
DEVIATION = 0.02


def random_model(
    folder: Path, *, device: str | None = None, precision: str = "auto"
) -> PipelineModel:
    """A model whose empty prompt is known, and which has no text encoders.

    Args:
        folder: a pipeline's, of which the configurations are read.
        device: as for :func:`pairedit_sdk.load_model`.
        precision: as there.

    Raises:
        BaseModelError: the folder's configurations are incomplete or damaged.
        UsageError: a device or precision that does not exist here.
    """
    where = choose_device(device)
    kind, dtype = choose_precision(precision, where)
    transformer, vae = parts_without_weights(folder, dtype, numbers=True)
    generator = torch.Generator(where).manual_seed(0)  # the program's own is not advanced
    blocks = family_in(folder).blocks
    _fill(transformer, generator, kind, blocks)
    _fill(vae, generator, kind, ())
    for part in (transformer, vae):
        nn.Module.to(part, where)  # what is no weight
    model = PipelineModel(
        str(folder), folder, transformer, vae, device=where, dtype=dtype, precision=kind
    )
    model.name_weights("random")
    generator = torch.Generator().manual_seed(0)
    made = {
        name: torch.randn(shape, generator=generator) for name, shape in model.text_shapes().items()
    }
    model.remember("", Condition.from_tensors(made))
    return model


@torch.no_grad()
def _fill(
    model: nn.Module, generator: torch.Generator, precision: str, blocks: tuple[str, ...]
) -> None:
    """Give every weight of a model on the meta device numbers, on the generator's device."""
    for name, module in list(model.named_modules()):
        for key, empty in list(module.named_parameters(recurse=False)):
            values = torch.empty(empty.shape, dtype=empty.dtype, device=generator.device)
            is_norm = "norm" in name and values.ndim == 1
            if is_norm:
                values.fill_(1.0)
            else:
                values.normal_(std=DEVIATION, generator=generator)
            setattr(module, key, nn.Parameter(values, requires_grad=False))
        if precision in QUANTIZED and is_quantizable(name, module, blocks):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, quantized(module, precision))
