"""Attaching LoRAs to a frozen transformer through peft, reversibly and with a scale per row.

The base's weights are never written to: an update is added to a layer's output, and detaching
removes the wrappers, so afterwards every weight is bit for bit (and the very same object) it was.

peft multiplies a LoRA's output by ``scaling[name]``. Here that may be a column [B, 1, 1], so that
the rows of one batch can carry different LoRAs: the edited and the plain branch of an editor, or
the content and the semantic branch of training, run as one forward pass.

A LoRA in training is float32 unless asked for otherwise. A finished one takes the base's dtype, as
in stock diffusers.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.quiet import quiet

with quiet():  # peft imports bitsandbytes
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

#: Layers that compute one vector for a picture, [B, D], where all others compute one for a token.
_ONE_VECTOR = re.compile(r"(.*\.)?(norm\w*\.linear|time_text_embed\..+)")


def add_trainable(
    transformer: nn.Module, name: str, targets: Sequence[str], rank: int, alpha: float,
    generator: torch.Generator, dtype: torch.dtype = torch.float32,
) -> dict[str, nn.Parameter]:  # fmt: skip
    """Attach a new LoRA, A kaiming-uniform with gain 1 from ``generator``, as released,
    and B zero.

    Returns:
        Its parameters by "LAYER.lora_A" and "LAYER.lora_B".

    Raises:
        UsageError: the rank is above a layer's width.
        EditError: no layer matches.
    """
    check_rank(transformer, targets, rank)
    _inject(transformer, name, list(targets), {"": rank}, alpha)
    parameters: dict[str, nn.Parameter] = {}
    for layer_name, layer in lora_layers(transformer, name):
        down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
        bound = math.sqrt(3.0 / down.shape[1])
        with torch.no_grad():
            # Drawn on the CPU, so that a seed means the same run on every device.
            draw = torch.rand(down.shape, generator=generator) * 2 - 1
            down.data = (draw * bound).to(down.device, dtype)
            up.data = torch.zeros(up.shape, device=up.device, dtype=dtype)
        parameters[f"{layer_name}.lora_A"] = down
        parameters[f"{layer_name}.lora_B"] = up
    _require_layers(parameters, name, targets)
    return parameters


def share_frozen(transformer: nn.Module, name: str, twin: str) -> None:
    """Attach ``twin``: the same numbers as ``name``, in the same memory, without gradients.

    A row that carries the twin sees the LoRA as it is after every optimiser step, but gives it no
    gradient: θ_c in the semantic branch.
    """
    pairs = [(n, layer) for n, layer in lora_layers(transformer, name)]
    first = pairs[0][1]
    _inject(transformer, twin, [n for n, _ in pairs], {"": first.r[name]}, first.lora_alpha[name])
    for _, layer in pairs:
        for kind in ("lora_A", "lora_B"):
            source = getattr(layer, kind)[name].weight
            getattr(layer, kind)[twin].weight = nn.Parameter(source.data, requires_grad=False)


def attach(transformer: nn.Module, name: str, layers: Mapping[str, LoraLayer]) -> None:
    """Attach a finished LoRA at scale 1.

    Raises:
        EditError: a layer does not exist in this transformer, or has another shape.
    """
    _check_fit(transformer, layers)
    ranks = {layer_name: layer.rank for layer_name, layer in layers.items()}
    _inject(transformer, name, list(layers), ranks, None)
    found = 0
    for layer_name, module in lora_layers(transformer, name):
        given = layers[layer_name]
        for kind, value in (("lora_A", given.down), ("lora_B", given.up)):
            weight = getattr(module, kind)[name].weight
            weight.data = value.to(weight.device, weight.dtype)
            weight.requires_grad_(False)
        module.scaling[name] = 1.0
        found += 1
    if found != len(layers):
        raise EditError(f"Only {found} of the edit's {len(layers)} layers were attached")


def detach_all(transformer: nn.Module) -> None:
    """Remove every LoRA; the layers become the very modules they were before."""
    for module_name, module in list(transformer.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent_name, _, child = module_name.rpartition(".")
            setattr(transformer.get_submodule(parent_name), child, module.get_base_layer())
    for leftover in ("peft_config", "_hf_peft_config_loaded"):
        if leftover in transformer.__dict__:
            delattr(transformer, leftover)


@contextmanager
def attached(
    transformer: nn.Module, loras: Mapping[str, Mapping[str, LoraLayer]]
) -> Iterator[None]:
    """Within the block the LoRAs are attached at scale 1; afterwards the base is as it was."""
    require_bare(transformer)
    try:
        for name, layers in loras.items():
            attach(transformer, name, layers)
        activate(transformer, list(loras))
        yield
    finally:
        detach_all(transformer)


def activate(transformer: nn.Module, names: Sequence[str]) -> None:
    """Make these LoRAs active together, leaving ``requires_grad`` of all parameters as it is."""
    for _, layer in lora_layers(transformer):
        layer._active_adapter = list(names)
        layer._disable_adapters = False


def set_scales(transformer: nn.Module, scales: Mapping[str, float | torch.Tensor]) -> None:
    """Set each LoRA's factor, on top of nothing: training passes alpha / rank itself.

    Args:
        scales: a number for all rows, or one number per row [B].
    """
    for name, scale in scales.items():
        for layer_name, layer in lora_layers(transformer, name):
            value = scale
            if isinstance(scale, torch.Tensor):
                one = _ONE_VECTOR.fullmatch(layer_name)
                value = scale.view(-1, 1) if one else scale.view(-1, 1, 1)
            layer.scaling[name] = value


def lora_layers(
    transformer: nn.Module, name: str | None = None
) -> Iterator[tuple[str, BaseTunerLayer]]:
    """The wrapped layers with their names in the bare transformer, optionally of one LoRA."""
    for module_name, module in transformer.named_modules():
        if isinstance(module, BaseTunerLayer) and (name is None or name in module.lora_A):
            yield module_name, module


def _inject(
    transformer: nn.Module, name: str, targets: list[str], ranks: Mapping[str, int],
    alpha: float | None,
) -> None:  # fmt: skip
    first = next(iter(ranks.values()), 1)
    config = LoraConfig(
        r=first,
        lora_alpha=first if alpha is None else alpha,
        target_modules=targets,
        rank_pattern={} if alpha is not None else {f"^{n}$": r for n, r in ranks.items()},
        alpha_pattern={} if alpha is not None else {f"^{n}$": r for n, r in ranks.items()},
        init_lora_weights=False,
    )
    frozen = [p for p in transformer.parameters() if not p.requires_grad]
    with warnings.catch_warnings():
        # peft warns whenever a second adapter joins a model without its own wrapper class.
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        inject_adapter_in_model(config, transformer, adapter_name=name)
    for parameter in frozen:
        parameter.requires_grad_(False)


def check_rank(transformer: nn.Module, targets: Sequence[str], rank: int) -> None:
    """Refuse a rank above a layer's width.

    Raises:
        UsageError: naming the layer.
    """
    for target in targets:
        layer = transformer.get_submodule(target)
        narrow = min(int(layer.in_features), int(layer.out_features))  # type: ignore[arg-type]
        if rank > narrow:
            raise UsageError(
                f"rank is {rank}, above the width of layer {target}",
                expected=f"a rank of at most {narrow}",
                next_step=f"Say for example --set rank={min(16, narrow)}",
            )


def _check_fit(transformer: nn.Module, layers: Mapping[str, LoraLayer]) -> None:
    modules = dict(transformer.named_modules())
    missing = [n for n in layers if n not in modules]
    if missing or not layers:
        raise EditError(
            f"{len(missing)} of the edit's {len(layers)} layers match none of this base"
            + (f", the first is {missing[0]}" if missing else ""),
            expected="an edit made for this base",
            next_step="Load the base that the edit was trained on",
        )
    for name, layer in layers.items():
        module = modules[name]
        if not isinstance(module, (nn.Linear, BaseTunerLayer)):
            raise EditError(f"Layer {name} of the edit is a {type(module).__name__} in this base")
        fits = (module.out_features, module.in_features)
        got = (layer.up.shape[0], layer.down.shape[1])
        if fits != got:
            raise EditError(
                f"Layer {name} of the edit has another shape than this base's",
                expected=f"{fits[0]} × {fits[1]}", got=f"{got[0]} × {got[1]}",
                next_step="Load the base that the edit was trained on",
            )  # fmt: skip


def _require_layers(
    parameters: Mapping[str, nn.Parameter], name: str, targets: Sequence[str]
) -> None:
    if len(parameters) != 2 * len(targets) or not parameters:
        raise EditError(
            f"The {name} LoRA matched {len(parameters) // 2} of {len(targets)} layers",
            next_step="This base's layers are named differently from FLUX's",
        )


def require_bare(transformer: nn.Module) -> None:
    """Refuse a transformer that carries a LoRA already.

    Raises:
        UsageError: with what to do.
    """
    if not is_bare(transformer):
        raise UsageError(
            "The base already carries a LoRA",
            next_step="Detach it first: one edit or one sum of edits is attached at a time",
        )


def is_bare(transformer: nn.Module) -> bool:
    """Whether the transformer carries no LoRA."""
    return not any(True for _ in lora_layers(transformer))
