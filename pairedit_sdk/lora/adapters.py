"""Attaching LoRAs to a frozen transformer, reversibly and with a scale per row.

The model's weights are never written to: an update is added to a layer's output, and detaching
removes the wrappers, so afterwards every weight is bit for bit (and the very same object) it was.

The rows of one batch can carry different LoRAs: the edited and the plain branch of an editor, or
the content and the semantic branch of training, run as one forward pass. See
:mod:`pairedit_sdk.lora.linear` for the layer itself.

From the first LoRA that is attached until all are detached, the thread that did it holds the
transformer's lock (:mod:`pairedit_sdk.lora.holding`): other threads that want the model wait. All
are to be detached by that thread.

A LoRA in training is float32 unless asked for otherwise. A finished one takes the model's dtype, as
in stock diffusers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

from pairedit_sdk.errors import EditError, UsageError, counted
from pairedit_sdk.lora.holding import holding_transformer, lock_of
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lora.linear import LoraLinear, LoraState, Scale

#: Of every transformer that carries a LoRA. Beside it, so that nothing is left in it afterwards.
_STATES: WeakKeyDictionary[nn.Module, LoraState] = WeakKeyDictionary()


@holding_transformer
def add_trainable(
    transformer: nn.Module,
    name: str,
    targets: Sequence[str],
    rank: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> dict[str, nn.Parameter]:
    """Attach a new LoRA at scale 1, A kaiming-uniform with gain 1 from ``generator``, as released,
    and B zero.

    Returns:
        Its parameters by "LAYER.lora_A" and "LAYER.lora_B", in the transformer's order.

    Raises:
        UsageError: the rank is above a layer's width.
        EditError: a target is no layer of the transformer, or there is none.
    """
    check_rank(transformer, targets, rank)
    wanted = set(targets)
    parameters: dict[str, nn.Parameter] = {}
    for layer_name in [n for n, _ in transformer.named_modules() if n in wanted]:
        layer = _wrapped(transformer, layer_name)
        bound = math.sqrt(3.0 / layer.in_features)
        # Drawn on the CPU, so that a seed means the same run on every device.
        draw = torch.rand(rank, layer.in_features, generator=generator) * 2 - 1
        device = layer.weight.device
        down = nn.Parameter((draw * bound).to(device, dtype))
        up = nn.Parameter(torch.zeros(layer.out_features, rank, device=device, dtype=dtype))
        layer.add(name, down, up)
        parameters[f"{layer_name}.lora_A"] = down
        parameters[f"{layer_name}.lora_B"] = up
    if len(parameters) != 2 * len(targets) or not parameters:
        raise EditError(
            f"The {name} LoRA matched {len(parameters) // 2} of {counted(len(targets), 'layer')}",
            expected="Linear layers of this model, each named once",
            next_step="Choose a set of targets that the model has, such as --set "
            "lora.targets=attention",
        )
    return parameters


@holding_transformer
def share_frozen(transformer: nn.Module, name: str, twin: str) -> None:
    """Attach ``twin``: the same numbers as ``name``, in the same memory, without gradients.

    A row that carries the twin sees the LoRA as it is after every optimiser step, but gives it no
    gradient: θ_c in the semantic branch.
    """
    _STATES[transformer].twins[twin] = name
    for _, layer in lora_layers(transformer, name):
        layer.add(
            twin,
            nn.Parameter(layer.lora_A[name].data, requires_grad=False),
            nn.Parameter(layer.lora_B[name].data, requires_grad=False),
        )


@holding_transformer
def attach(transformer: nn.Module, name: str, layers: Mapping[str, LoraLayer]) -> None:
    """Attach a finished LoRA at scale 1.

    Raises:
        EditError: a layer does not exist in this transformer, or has another shape.
    """
    check_fit(transformer, layers)
    for layer_name, given in layers.items():
        layer = _wrapped(transformer, layer_name)
        weight = layer.weight
        # A quantised weight is stored as integers; the LoRA beside it computes as its inputs do.
        dtype = weight.dtype if weight.is_floating_point() else _computing_in(transformer)
        down, up = (
            nn.Parameter(value.to(weight.device, dtype), requires_grad=False)
            for value in (given.down, given.up)
        )
        layer.add(name, down, up)
    activate(transformer, [*_STATES[transformer].active, name])


@holding_transformer
def detach_all(transformer: nn.Module) -> None:
    """Remove every LoRA; the layers become the very modules they were before."""
    state = _STATES.pop(transformer, None)
    if state is None:
        return
    for name, layer in state.layers.items():
        _replace(transformer, name, layer.base_layer)
    lock_of(transformer).release()  # taken with the first LoRA


@contextmanager
def attached(
    transformer: nn.Module, loras: Mapping[str, Mapping[str, LoraLayer]]
) -> Iterator[None]:
    """Within the block the LoRAs are attached at scale 1; afterwards the model is as it was.

    Other threads wait until then with whatever they want of the model.
    """
    with lock_of(transformer):  # without any LoRA, too: none of another thread comes in
        require_bare(transformer)
        try:
            for name, layers in loras.items():
                attach(transformer, name, layers)
            yield
        finally:
            detach_all(transformer)


@holding_transformer
def activate(transformer: nn.Module, names: Sequence[str]) -> None:
    """Make these LoRAs active together, and no others."""
    state = _STATES.get(transformer)
    if state is not None:
        state.active = tuple(names)
        state.columns.clear()


@holding_transformer
def set_scales(transformer: nn.Module, scales: Mapping[str, Scale | Mapping[str, Scale]]) -> None:
    """Set each LoRA's factor, on top of nothing: training passes alpha / rank itself.

    Args:
        transformer: that carries them.
        scales: by LoRA a number for all rows, one number per row [B], or one per row and rank
            component [B, r]; or such a scale for each layer by the layer's name.
    """
    state = _STATES.get(transformer)
    if state is not None:
        state.scales.update(scales)
        state.changed()


def lora_layers(
    transformer: nn.Module, name: str | None = None
) -> Iterator[tuple[str, LoraLinear]]:
    """The wrapped layers with their names in the bare transformer, optionally of one LoRA."""
    state = _STATES.get(transformer)
    for layer_name, layer in state.layers.items() if state else ():
        if name is None or name in layer.lora_A:
            yield layer_name, layer


def _wrapped(transformer: nn.Module, name: str) -> LoraLinear:
    """The layer of that name as one that takes LoRAs; made one if it is not."""
    state = _STATES.get(transformer)
    if state is None:
        lock_of(transformer).acquire()  # until detach_all, whatever is run in between
        state = _STATES[transformer] = LoraState()
    if name not in state.layers:
        state.layers[name] = LoraLinear(transformer.get_submodule(name), name, state)
        _replace(transformer, name, state.layers[name])
    return state.layers[name]


def _replace(transformer: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(transformer.get_submodule(parent), child, module)


def _computing_in(transformer: nn.Module) -> torch.dtype:
    """The dtype of the parts that are not quantised, which the others compute in."""
    return next(p.dtype for p in transformer.parameters() if p.is_floating_point())


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
                next_step=f"Say for example --set lora.rank={min(16, narrow)}",
            )


def check_fit(transformer: nn.Module, layers: Mapping[str, LoraLayer]) -> None:
    """Refuse a LoRA that is not of this transformer, which may carry others.

    Raises:
        EditError: there are no layers, or one does not exist in the transformer or has another
            shape.
    """
    modules = dict(transformer.named_modules())
    missing = [n for n in layers if n not in modules]
    if missing or not layers:
        known = counted(len(layers), "layer")
        raise EditError(
            f"This model has no match for {len(missing)} of {known} of the edit"
            + (f", the first is {missing[0]}" if missing else ""),
            expected="an edit made for this model",
            next_step="Load the model that the edit was trained on",
        )
    for name, layer in layers.items():
        module = modules[name]
        if not isinstance(module, (nn.Linear, LoraLinear)):
            raise EditError(f"Layer {name} of the edit is a {type(module).__name__} in this model")
        fits = (module.out_features, module.in_features)
        got = (layer.up.shape[0], layer.down.shape[1])
        if fits != got:
            raise EditError(
                f"Layer {name} of the edit has another shape than this model's",
                expected=f"{fits[0]} × {fits[1]}",
                got=f"{got[0]} × {got[1]}",
                next_step="Load the model that the edit was trained on",
            )


@holding_transformer
def require_bare(transformer: nn.Module) -> None:
    """Refuse a transformer that carries a LoRA already.

    Raises:
        UsageError: with what to do.
    """
    if not is_bare(transformer):
        raise UsageError(
            "The model already carries a LoRA",
            next_step="Detach it first: one edit or one sum of edits is attached at a time",
        )


def is_bare(transformer: nn.Module) -> bool:
    """Whether the transformer carries no LoRA."""
    return transformer not in _STATES
