"""Reading the checkpoints of LoRWeB's own trainer, whose adapter's settings are in a YAML beside.

Per module, with n LoRAs of rank r: ``lora_A`` [n, in, r] and ``lora_B`` [n, r, out] (also called
``lora_down`` and ``lora_up``), ``lora_keys`` [n, d] and ``att_lora_to_q.weight`` [d, 3 D] (also
``projection``). No alpha is saved, and none acts: the trainer sets it to the rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pairedit_sdk.basis.router import Router
from pairedit_sdk.errors import EditError, counted
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.io.settings import read_yaml
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.parts import BasisLayer, LearnedInfo
from pairedit_sdk.lorweb.settings import BasisSettings

_KEY = re.compile(
    r"(?:transformer\.)?(?P<module>.+?)\."
    r"(?P<part>lora_A|lora_B|lora_down|lora_up|lora_keys|att_lora_to_q|projection)(?:\.weight)?"
)
_PARTS = {
    "lora_A": "down",
    "lora_down": "down",
    "lora_B": "up",
    "lora_up": "up",
    "lora_keys": "keys",
    "att_lora_to_q": "projection",
    "projection": "projection",
}
#: Settings that the checkpoint's shapes do not tell, and what this SDK can do with them.
_NEEDED: dict[str, tuple[Any, ...]] = {
    "lora_softmax": (True, False),
    "query_mode": ("cat-aa'b",),
    "external_query_model": (),
    "lora_heads": (1,),
    "query_projection_type": ("linear",),
}


def read_lorweb(path: str | Path, config: str | Path, *, name: str, base: str = "") -> LoRWeBBasis:
    """A checkpoint of LoRWeB's trainer as a learned basis.

    Args:
        path: its safetensors file.
        config: the YAML that it was trained with.
        name: of the basis.
        base: name of the FLUX.1-Kontext it is for.

    Raises:
        EditError: no such checkpoint, one with tensors that are not known here, or settings that
            are missing or not known, all at once.
        UsageError: the YAML cannot be read.
    """
    settings = _settings(Path(config))
    modules = _modules(Path(path))
    first = next(iter(modules.values()))
    count, _, rank = first["down"].shape
    key_width = first["keys"].shape[1]
    layers = {
        module: BasisLayer(parts["down"].transpose(1, 2), parts["up"].transpose(1, 2))
        for module, parts in modules.items()
    }
    softmax = settings["lora_softmax"]
    router = Router(
        torch.stack([parts["projection"] for parts in modules.values()]),
        torch.stack([parts["keys"] for parts in modules.values()]),
        key_width**0.5,
        normalised=False,
        activation="softmax" if softmax else "tanh",
    )
    known = BasisSettings(count=count, rank=rank, key_width=key_width, activation=router.activation)
    info = LearnedInfo(
        name,
        base,
        architecture="flux-1-kontext",
        encoder=settings["external_query_model"],
        settings=known,
    )
    return LoRWeBBasis(layers, router, info)


def _modules(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """By module: down [n, in, r], up [n, r, out], keys and projection, in float32."""
    from safetensors import SafetensorError

    try:
        tensors, _ = read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise EditError(f"{path} is no safetensors file ({error})") from error
    modules: dict[str, dict[str, torch.Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        if match := _KEY.fullmatch(key):
            modules.setdefault(match["module"], {})[_PARTS[match["part"]]] = tensor.float()
        else:
            unknown.append(key)
    lacking = [
        f"{part} of {module}"
        for module, parts in modules.items()
        for part in ("down", "up", "keys", "projection")
        if part not in parts
    ]
    if not modules or lacking:
        raise EditError(
            f"{path.name} is no checkpoint of a LoRA basis",
            expected="lora_A, lora_B, lora_keys and att_lora_to_q of every module",
            got="none of them" if not modules else f"no {', '.join(lacking[:5])}",
        )
    if unknown:
        raise EditError(
            f"{path.name} has {counted(len(unknown), 'tensor')} that would act and are not known",
            expected="lora_A, lora_B, lora_keys and att_lora_to_q alone",
            got=", ".join(sorted(unknown)[:5]),
        )
    shapes = {
        (p["keys"].shape, p["projection"].shape, p["down"].shape[2]) for p in modules.values()
    }
    if len(shapes) > 1:
        raise EditError(
            f"{path.name} has modules of different numbers of LoRAs, ranks or key widths",
            expected="the same for all",
        )
    return modules


def _settings(path: Path) -> dict[str, Any]:
    """The adapter's settings, every problem reported at once."""
    values = read_yaml(path, "The settings")
    network = _network(values)
    problems = []
    for key, wanted in _NEEDED.items():
        if network.get(key) is None:
            problems.append(f"{key} is missing")
        elif wanted and network[key] not in wanted:
            said = " or ".join(map(repr, wanted))
            problems.append(f"{key} is {network[key]!r}, and only {said} is known here")
    if not network.get("external_query", True):
        problems.append("external_query is false: the query is not of pictures")
    if problems:
        raise EditError(
            f"{path.name} does not say how the LoRAs are mixed: " + "; ".join(problems),
            next_step="Add to the YAML, under network_kwargs, what the basis was trained with",
        )
    return network


def _network(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the YAML that is about the adapter; or the whole, if it is only that."""
    try:
        network = values["config"]["process"][0]["network"]
    except (KeyError, IndexError, TypeError):
        network = values.get("network", values)
    more = network.get("network_kwargs") or {} if isinstance(network, dict) else {}
    if not isinstance(network, dict) or not isinstance(more, dict):
        raise EditError(
            "The adapter's settings in the YAML cannot be read",
            expected="keys and values under network, and under its network_kwargs",
        )
    return {**network, **more}
