"""Writing an edit's LoRA for other tools; :mod:`pairedit_sdk.lora.reading` reads them back."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.io.files import write_tensors
from pairedit_sdk.io.optional import imported
from pairedit_sdk.lora.alphas import PEFT_WEIGHTS
from pairedit_sdk.lora.families import STATED, family_of_layers
from pairedit_sdk.lora.formats import (
    COMFYUI_PREFIX,
    KOHYA_PREFIX,
    PEFT_PREFIX,
    adapter_config,
    to_diffusers,
)
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.names import LayerNames, flat

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("pairedit_sdk")
FORMATS = ("diffusers", "comfyui", "kohya", "peft")
DTYPES = ("fp32", "bf16", "fp16")
#: The MLP that is fused with q, k and v, in FLUX.1 and Chroma, is so many times as wide as they.
MLP = 4


def export(
    layers: Mapping[str, LoraLayer],
    form: str,
    path: Path,
    header: Mapping[str, str],
    dtype: str = "fp32",
    base: str = "",
) -> Path:
    """Write the layers in another tool's form; the update of every weight is the same.

    Args:
        layers: by diffusers' names.
        form: one of :data:`FORMATS`; "peft" is a folder.
        path: of the file or folder.
        header: metadata besides the form's own. Its ``modelspec.architecture`` tells the family of
            models where the layers' names do not.
        dtype: one of :data:`DTYPES`.
        base: its name, for peft's description.

    Raises:
        UsageError: an unknown form or dtype.
        EditError: a layer that has no name in this form, or one that depends on a family of models
            which is not known.
        OSError: it could not be written.
    """
    import torch

    if form not in FORMATS or dtype not in DTYPES:
        raise UsageError(
            f"There is no export as {form} in {dtype}",
            expected=f"{', '.join(FORMATS)}; {', '.join(DTYPES)}",
        )
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    layers = {
        name: LoraLayer(layer.down.to(kind), layer.up.to(kind)) for name, layer in layers.items()
    }
    if form == "peft":
        return _write_peft(layers, path, header, base)
    architecture = header.get(STATED[0], "")
    own: dict[str, str] = {}
    if form == "kohya":
        tensors = to_kohya(layers, architecture)
    elif form == "comfyui":
        tensors = to_comfyui(layers, architecture)
    else:
        tensors, own = to_diffusers(layers)
    return write_tensors(path, tensors, {**header, **own})


def to_kohya(layers: Mapping[str, LoraLayer], architecture: str = "") -> dict[str, torch.Tensor]:
    """The layers by the names of the model's first release, with ``_`` for each dot and alpha =
    rank. Layers that stock diffusers does not read of this form are logged.

    Args:
        layers: by diffusers' names.
        architecture: of the edit, if it is known.

    Raises:
        EditError: as :func:`export`.
    """
    import torch

    family = family_of_layers(layers, architecture, "kohya")
    _warn_of_dropped_layers(layers, family)
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in _renamed(layers, family, "kohya").items():
        key = f"{KOHYA_PREFIX}{flat(name)}"
        tensors[f"{key}.lora_down.weight"] = layer.down
        tensors[f"{key}.lora_up.weight"] = layer.up
        # In 16 bits it would be rounded from 256 on, and the strength with it.
        tensors[f"{key}.alpha"] = torch.tensor(float(layer.rank), dtype=torch.float32)
    return tensors


def to_comfyui(layers: Mapping[str, LoraLayer], architecture: str = "") -> dict[str, torch.Tensor]:
    """The layers by names that ComfyUI has for them with ``diffusion_model.`` before: the first
    release's, or diffusers' where it knows those too. Without alpha, which is the rank then.

    Args:
        layers: by diffusers' names.
        architecture: of the edit, if it is known.

    Raises:
        EditError: as :func:`export`.
    """
    family = family_of_layers(layers, architecture, "ComfyUI")
    named = _renamed(layers, family, "ComfyUI")
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in (layers if family.own_names else named).items():
        tensors[f"{COMFYUI_PREFIX}{name}.lora_A.weight"] = layer.down
        tensors[f"{COMFYUI_PREFIX}{name}.lora_B.weight"] = layer.up
    return tensors


def _renamed(
    layers: Mapping[str, LoraLayer], family: LayerNames, form: str
) -> dict[str, LoraLayer]:
    """The layers by another tool's names, with dots.

    q, k, v (and a single block's MLP) are rows of one weight: each keeps its own rank components,
    and the others' rows are zero in them, so that the fused update is exact, and can be taken
    apart again.
    """
    groups: dict[str, dict[str, LoraLayer]] = {}
    fused: dict[str, tuple[str, ...]] = {}
    for name, layer in layers.items():
        found = family.other_of(name)
        if found is None:
            raise EditError(
                f"Layer {name} has no name in the form of {form}",
                expected=f"layers of {family.name}",
                next_step="Export the edit as diffusers or peft, which name every layer",
            )
        fused[found[0]] = found[1]
        groups.setdefault(found[0], {})[name] = layer
    renamed: dict[str, LoraLayer] = {}
    for module, own in groups.items():
        parts = fused[module]
        layer = next(iter(own.values()))
        if len(parts) > 1:
            layer = _fused([own.get(name) for name in parts], layer)
        elif parts[0] in family.swapped:
            layer = LoraLayer(layer.down, layer.up.roll(layer.up.shape[0] // 2, 0))
        renamed[module] = layer
    return renamed


def _warn_of_dropped_layers(layers: Mapping[str, LoraLayer], family: LayerNames) -> None:
    dropped = sorted(set(layers) & family.dropped)
    if dropped:
        _log.warning(
            "Of kohya's form stock diffusers leaves out layers outside the blocks, here %s. "
            "ComfyUI reads them; for diffusers export as diffusers.",
            ", ".join(dropped),
        )


def _fused(parts: list[LoraLayer | None], like: LoraLayer) -> LoraLayer:
    width = like.down.shape[1]
    rank = max(part.rank for part in parts if part is not None)
    rows = [width, width, width, MLP * width][: len(parts)]
    down = like.down.new_zeros(rank * len(parts), width)
    up = like.up.new_zeros(sum(rows), rank * len(parts))
    for number, part in enumerate(parts):
        if part is None:
            continue
        at, top = rank * number, sum(rows[:number])
        down[at : at + part.rank] = part.down
        up[top : top + part.up.shape[0], at : at + part.rank] = part.up
    return LoraLayer(down, up)


def _write_peft(
    layers: Mapping[str, LoraLayer], folder: Path, header: Mapping[str, str], base: str
) -> Path:
    config_of = imported("peft").LoraConfig

    if folder.exists():
        raise UsageError(
            f"{folder} is there already", expected="a new folder", next_step="Name another one"
        )
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{PEFT_PREFIX}{name}.lora_A.weight"] = layer.down
        tensors[f"{PEFT_PREFIX}{name}.lora_B.weight"] = layer.up
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        write_tensors(part / PEFT_WEIGHTS, tensors, header)
        config = config_of(
            **adapter_config(layers), base_model_name_or_path=base or None, inference_mode=True
        )
        config.save_pretrained(part)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder
