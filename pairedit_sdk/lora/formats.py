"""LoRA files: the SDK's own form, which is diffusers', and reading those of other tools.

Own files have alpha baked into B and keys ``transformer.LAYER.lora_A.weight``. A file of another
tool is told by its keys, layer by layer:

- diffusers: ``transformer.LAYER.lora_A.weight``, alpha in the header's adapter metadata;
- peft: ``base_model.model.LAYER.lora_A.weight``, alpha in the ``adapter_config.json`` beside it;
- kohya: ``lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight``, alpha in tensors;
- ComfyUI: the same layers with dots, after ``diffusion_model.``;
- PairEdit and Concept Sliders: ``lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight``,
  alpha in tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors
from pairedit_sdk.lora.alphas import METADATA, PEFT_WEIGHTS, PREFIX, Alphas
from pairedit_sdk.lora.kohya_names import SWAPPED, of_first_release, of_flat
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.pickles import read_pickled

if TYPE_CHECKING:
    import torch

PEFT_PREFIX = "base_model.model."

_HALF = re.compile(r"(.+?)\.lora_?(A|B|down|up)(?:\.default)?\.weight")
#: Left out of an error's list beyond so many.
SHOWN = 5


def to_diffusers(layers: Mapping[str, LoraLayer]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and header with which stock ``load_lora_weights`` has exactly this effect.

    diffusers takes alpha = rank when nothing says otherwise, so alpha is said to be the rank and
    the true alpha / rank is in B already. The header's adapter metadata holds only the five keys
    that every version reads.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in layers.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = layer.down
        tensors[f"{PREFIX}{name}.lora_B.weight"] = layer.up
    header = {f"{PREFIX}{key}": value for key, value in adapter_config(layers).items()}
    return tensors, {METADATA: json.dumps(header, sort_keys=True)}


def adapter_config(layers: Mapping[str, LoraLayer]) -> dict[str, Any]:
    """peft's description of layers whose alpha is baked in."""
    ranks = {name: layer.rank for name, layer in layers.items()}
    rank = max(ranks.values(), default=0)
    other = {name: r for name, r in ranks.items() if r != rank}
    return {
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted(layers),
        "rank_pattern": other,
        "alpha_pattern": other,
    }


@dataclass(frozen=True)
class LoraFile:
    """What a file of LoRAs holds.

    Attributes:
        layers: by diffusers' names, every alpha baked in.
        header: the file's metadata.
        forms: those of which layers were found.
        left_out: keys that are no LoRA of a FLUX transformer's layer.
    """

    layers: dict[str, LoraLayer]
    header: dict[str, str]
    forms: list[str]
    left_out: list[str]


@dataclass
class _Found:
    """The halves of one module of a file."""

    down: torch.Tensor | None = None
    up: torch.Tensor | None = None
    alpha: float | None = None
    keys: list[str] = field(default_factory=list)


def read_lora(
    path: Path, alpha: float | None = None, *, partly: bool = False, pickled: bool = False
) -> LoraFile:
    """The layers of a file in any of the forms above.

    Args:
        path: a safetensors file, or the folder that peft writes.
        alpha: of layers in a form that states none and for which there is no custom.
        partly: take what can be read, whatever else there is.
        pickled: read a ``.pt`` file too. Its pickle is not executed: torch's ``weights_only``
            reader knows tensors and plain containers alone.

    Raises:
        EditError: no such file, damaged, no LoRA of FLUX, only in part one (and not ``partly``),
            or of an alpha that cannot be known.
    """
    if path.is_dir():
        path = path / PEFT_WEIGHTS
    if path.suffix in (".pt", ".pth", ".bin") and path.is_file():
        if not pickled:
            raise EditError(
                f"{path.name} is a pickle, and none is opened here",
                next_step=f"Make an edit of it with `pairedit edits import {path} --name NAME`",
            )
        tensors = read_pickled(path)
        header: dict[str, str] = {}
    else:
        with _explained(path):
            tensors, header = read_tensors(path)
    with _explained(path):  # numbers of a kind that cannot be reckoned with
        found, left_out = _modules(tensors)
    layers, forms, unknown = _placed(found, Alphas(header, path, alpha), path.name)
    left_out += unknown
    grave = [key for key in left_out if not key.startswith(("lora_te", "text_encoder"))]
    expected = "the form of diffusers, peft, kohya, ComfyUI or PairEdit"
    if not layers:
        raise EditError(
            f"{path.name} is no LoRA of FLUX's layers",
            expected=expected,
            got=_list(left_out) or "no tensors",
        )
    if grave and not partly:
        raise EditError(
            f"{path.name} can be read only in part: {len(grave)} of its tensors are unknown",
            expected=expected,
            got=_list(grave),
            next_step="Take what can be read with `pairedit edits import --partly`",
        )
    return LoraFile(dict(sorted(layers.items())), header, forms, sorted(left_out))


def read_lora_header(path: Path) -> tuple[dict[str, str], list[int]]:
    """The header's metadata and the ranks of the layers, without any tensor.

    Raises:
        EditError: as :func:`read_lora`, but for what only the tensors would show.
    """
    from safetensors import safe_open

    with _explained(path), safe_open(path, framework="numpy") as handle:
        halves = {name: _HALF.fullmatch(name) for name in handle.keys()}  # noqa: SIM118
        downs = [name for name, half in halves.items() if half and half[2] in ("A", "down")]
        ranks = [(handle.get_slice(name).get_shape() or [0])[0] for name in downs]
        return dict(handle.metadata() or {}), ranks


def _modules(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, _Found], list[str]]:
    """The halves and alphas by module, and the keys that are neither."""
    found: dict[str, _Found] = {}
    others: list[str] = []
    for key, value in tensors.items():
        half = _HALF.fullmatch(key)
        module = half[1] if half else key.removesuffix(".alpha")
        if half is None and not (key.endswith(".alpha") and value.numel() == 1):
            others.append(key)
            continue
        own = found.setdefault(module, _Found())
        own.keys.append(key)
        if half is None:
            own.alpha = float(value)
        elif half[2] in ("A", "down"):
            own.down = value
        else:
            own.up = value
    return found, others


def _placed(
    found: Mapping[str, _Found], alphas: Alphas, source: str
) -> tuple[dict[str, LoraLayer], list[str], list[str]]:
    """The layers, the forms they came in, and the keys of modules that FLUX does not have."""
    layers: dict[str, LoraLayer] = {}
    forms: dict[str, None] = {}
    unknown: list[str] = []
    for module, halves in found.items():
        form, names = _names(module)
        if not names:
            unknown += halves.keys
            continue
        if halves.down is None or halves.up is None:
            raise EditError(
                f"{source}: {module} has only one half of a LoRA",
                expected="lora_A and lora_B of every layer",
                next_step="Copy the file again",
            )
        down, up = halves.down, halves.up
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
            raise EditError(
                f"{source}: layer {module} has halves that do not fit together",
                expected="lora_A [rank, in] and lora_B [out, rank]",
                got=f"{list(down.shape)} and {list(up.shape)}",
                next_step="Copy the file again",
            )
        some = down.numel() and up.numel()
        if some:
            factor = alphas.factor(form, names[0], down.shape[0], halves.alpha)
            up = up if factor == 1 else up.float() * factor
        if not some or not all(map(_finite, (down, up))):  # an alpha may be beyond all bounds too
            raise EditError(
                f"{source}: layer {module} has no values, or some that are no numbers",
                next_step="Copy the file again",
            )
        if names == (SWAPPED,) and form in ("kohya", "ComfyUI"):
            up = up.roll(up.shape[0] // 2, 0)
        forms[form] = None
        layers |= _split(names, down, up, f"{source}: {module}")
    return layers, list(forms), unknown


def _finite(half: torch.Tensor) -> bool:
    return not half.is_complex() and bool(half.float().isfinite().all())


def _names(module: str) -> tuple[str, tuple[str, ...]]:
    """The form that a module's name is of, and the layers that it stands for."""
    for form, prefix in (("diffusers", PREFIX), ("peft", PEFT_PREFIX)):
        if module.startswith(prefix):
            return form, (module.removeprefix(prefix).removeprefix(PREFIX),)
    if module.startswith("diffusion_model."):
        return "ComfyUI", of_first_release(
            module.removeprefix("diffusion_model.").replace(".", "_")
        )
    if module.startswith("lora_unet_"):
        name = module.removeprefix("lora_unet_")
        if flat := of_flat(name):
            return "PairEdit", (flat,)
        return "kohya", of_first_release(name)
    return "", ()


def _split(
    names: Sequence[str], down: torch.Tensor, up: torch.Tensor, what: str
) -> dict[str, LoraLayer]:
    """The layers whose rows ``up`` has; each keeps those rank components that reach it."""
    if len(names) == 1:
        return {names[0]: LoraLayer(down, up)}
    # q, k and v are as wide as what they read; what remains is the MLP's.
    width = down.shape[1]
    rows = [width] * 3 + ([up.shape[0] - 3 * width] if len(names) == 4 else [])
    if sum(rows) != up.shape[0] or rows[-1] <= 0:
        raise EditError(
            f"{what} does not have the rows of {', '.join(n.split('.')[-1] for n in names)}",
            expected=f"three times {width} rows"
            + (" and those of the MLP" if len(names) == 4 else ""),
            got=f"{up.shape[0]} rows",
        )
    layers = {}
    parts = up.split(rows)  # type: ignore[no-untyped-call]
    for name, part in zip(names, parts, strict=True):
        used = part.abs().amax(dim=0) > 0
        if used.any():
            layers[name] = LoraLayer(down[used], part[:, used].contiguous())
    return layers


def _list(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(sorted(keys)[:SHOWN]) + more


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise EditError(f"There is no edit file {path}", next_step="Check the path")
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # the readers of damaged bytes raise nearly every kind
        reason = " ".join(str(error).split())[:120]
        raise EditError(
            f"{path.name} is not a readable safetensors file ({reason})",
            next_step="Copy it again or train the edit again; pickles are never opened",
        ) from error
