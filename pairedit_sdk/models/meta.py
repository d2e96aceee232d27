"""A model without its weights: names and shapes, from the configs alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from pairedit_sdk.errors import EditError, counted
from pairedit_sdk.io.quiet import quiet
from pairedit_sdk.models import folders
from pairedit_sdk.models.families import family_class
from pairedit_sdk.models.precision import diffusers_class, require_dtype, vae_dtype

if TYPE_CHECKING:
    from torch import nn

    from pairedit_sdk.lora.layers import LoraLayer
    from pairedit_sdk.models.families.family import Family
    from pairedit_sdk.models.pipeline_model import PipelineModel

#: Layers that are named in an error; of more, how many there are.
SHOWN = 5


def transformer_skeleton(name_or_path: str) -> nn.Module:
    """The transformer on torch's meta device, where a weight takes no memory.

    Raises:
        BaseModelError: the model is not there, or its config is damaged.
    """
    folder = _configs(name_or_path)
    return _built(family_in(folder).transformer_class, folder, "transformer")


def model_skeleton(name_or_path: str, dtype: torch.dtype) -> PipelineModel:
    """The whole model on the meta device: it can be asked for everything but numbers.

    Args:
        name_or_path: of the model; of one on the hub only the configuration is fetched.
        dtype: that its parts are held in.

    Raises:
        BaseModelError: the model is not there, or one of its configs is damaged.
    """
    with quiet():
        from pairedit_sdk.models.pipeline_model import PipelineModel

        folder = _configs(name_or_path)
        require_dtype(family_in(folder), name_or_path, dtype)
        transformer, vae = parts_without_weights(folder, dtype)
        return PipelineModel(
            name_or_path,
            folder,
            transformer,
            vae,
            device=torch.device("meta"),
            dtype=dtype,
            precision="auto",
        )


def family_in(folder: Path) -> type[Family]:
    """The family of a folder that :func:`~pairedit_sdk.models.folders.check` has passed."""
    return family_class(folders.pipeline_class(folder))


class OnlyWeights(TorchFunctionMode):
    """Within it weights that are to be learned are made on the meta device, and what is computed
    from a configuration (frequencies, statistics at their start) is made with its numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.empty and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


def parts_without_weights(
    folder: Path, dtype: torch.dtype, *, numbers: bool = False
) -> tuple[nn.Module, nn.Module]:
    """Transformer and autoencoder of a pipeline's folder, on the meta device.

    Args:
        folder: the pipeline's.
        dtype: of the model.
        numbers: whether all but the weights is to have its numbers, see :class:`OnlyWeights`.

    Raises:
        BaseModelError: a configuration is missing or damaged.
    """
    family = family_in(folder)
    transformer, vae = (
        _built(kind, folder, part, numbers=numbers)
        for kind, part in ((family.transformer_class, "transformer"), (family.vae_class, "vae"))
    )
    return _cast(transformer, dtype), _cast(vae, vae_dtype(dtype))


def text_encoder_skeletons(name_or_path: str) -> list[nn.Module]:
    """The text encoders on the meta device.

    Raises:
        BaseModelError: the model is not there, or one of its configs is damaged.
    """
    import transformers

    folder = _configs(name_or_path)
    with folders.explain_damage(folder), torch.device("meta"), quiet():
        return [
            _of_config(
                getattr(transformers, kind),
                transformers.AutoConfig.from_pretrained(str(folder), subfolder=part),
            )
            for part, kind in family_in(folder).encoders.items()
        ]


def _of_config(kind: Any, config: Any) -> nn.Module:
    made: nn.Module = kind(config)
    return made


def _configs(name_or_path: str) -> Path:
    folder = folders.resolve(name_or_path, configs_only=True)
    folders.check(folder, name_or_path)
    return folder


def _cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    # diffusers' own method warns of weights that are to stay in float32, of which there are none.
    return torch.nn.Module.to(module, dtype)


def _built(kind: str, folder: Path, part: str, *, numbers: bool = False) -> nn.Module:
    with folders.explain_damage(folder):
        config = json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
        with OnlyWeights() if numbers else torch.device("meta"):
            made: nn.Module = diffusers_class(kind).from_config(config)
            return made


def require_layers(name_or_path: str, layers: Mapping[str, LoraLayer], what: str) -> None:
    """Refuse layers that the model does not have, or has in other shapes.

    Raises:
        EditError: naming them.
        BaseModelError: the model is not there.
    """
    shapes = {
        name: (int(module.out_features), int(module.in_features))
        for name, module in transformer_skeleton(name_or_path).named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    problems = []
    for name, layer in layers.items():
        got = (layer.up.shape[0], layer.down.shape[1])
        if name not in shapes:
            problems.append(name)
        elif shapes[name] != got:
            wanted = shapes[name]
            problems.append(f"{name} ({wanted[0]} × {wanted[1]}, not {got[0]} × {got[1]})")
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        known = counted(len(layers), "layer")
        raise EditError(
            f"{name_or_path} has no match for {len(problems)} of {known} of {what}: "
            + ", ".join(problems[:SHOWN])
            + more,
            next_step="Name the model that it was made for",
        )
