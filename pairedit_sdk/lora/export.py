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
from pairedit_sdk.lora.flux_names import FLUX
from pairedit_sdk.lora.formats import KOHYA_PREFIX, PEFT_PREFIX, adapter_config, to_diffusers
from pairedit_sdk.lora.layers import LoraLayer

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("pairedit_sdk")
FORMATS = ("diffusers", "kohya", "peft")
DTYPES = ("fp32", "bf16", "fp16")
#: FLUX's MLPs are so many times as wide as the tokens.
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
        form: one of :data:`FORMATS`: "diffusers" (also read by ComfyUI), "kohya", or "peft", which
            is a folder.
        path: of the file or folder.
        header: metadata besides the form's own.
        dtype: one of :data:`DTYPES`.
        base: its name, for peft's description.

    Layers outside the blocks are logged as a warning in kohya's form, as diffusers drops them.

    Raises:
        UsageError: an unknown form or dtype.
        EditError: a layer that has no name in this form.
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
    if form == "kohya":
        _warn_of_outer_layers(layers)
    tensors, own = (to_kohya(layers), {}) if form == "kohya" else to_diffusers(layers)
    return write_tensors(path, tensors, {**header, **own})


def to_kohya(layers: Mapping[str, LoraLayer]) -> dict[str, torch.Tensor]:
    """The layers by the first release's names, with alpha = rank.

    q, k, v (and a single block's MLP) are rows of one weight: each keeps its own rank components,
    and the others' rows are zero in them, so that the fused update is exact, and can be taken
    apart again.
    """
    import torch

    groups: dict[str, dict[str, LoraLayer]] = {}
    fused: dict[str, tuple[str, ...]] = {}
    for name, layer in layers.items():
        found = FLUX.other_of(name)
        if found is None:
            raise EditError(f"Layer {name} has no name in kohya's form")
        fused[found[0]] = found[1]
        groups.setdefault(found[0], {})[name] = layer
    tensors: dict[str, torch.Tensor] = {}
    for module, own in groups.items():
        parts = fused[module]
        first = next(iter(own.values()))
        down, up = first.down, first.up
        if len(parts) > 1:
            down, up = _fused([own.get(name) for name in parts], first)
        elif parts[0] in FLUX.swapped:
            up = up.roll(up.shape[0] // 2, 0)
        key = f"{KOHYA_PREFIX}{module}"
        tensors[f"{key}.lora_down.weight"] = down
        tensors[f"{key}.lora_up.weight"] = up
        # In 16 bits it would be rounded from 256 on, and the strength with it.
        tensors[f"{key}.alpha"] = torch.tensor(float(down.shape[0]), dtype=torch.float32)
    return tensors


def _warn_of_outer_layers(layers: Mapping[str, LoraLayer]) -> None:
    outer = sorted(set(layers) & set(FLUX.outside.values()))
    if outer:
        _log.warning(
            "Of kohya's form stock diffusers leaves out layers outside the blocks, here %s. "
            "ComfyUI and Forge read them; for diffusers export as diffusers.",
            ", ".join(outer),
        )


def _fused(parts: list[LoraLayer | None], like: LoraLayer) -> tuple[torch.Tensor, torch.Tensor]:
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
    return down, up


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
