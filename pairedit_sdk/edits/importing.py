"""Making an edit of another tool's LoRA, and of other adapters where their update is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.errors import EditError, UsageError
from pairedit_sdk.io.quiet import quiet
from pairedit_sdk.lora.kinds import DORA
from pairedit_sdk.lora.reading import LoraFile, read_lora

if TYPE_CHECKING:
    import torch

    from pairedit_sdk.models.pipeline_model import PipelineModel


def import_edit(
    file: str | Path,
    *,
    name: str | None = None,
    base: str | None = None,
    alpha: float | None = None,
    rank: int | None = None,
    partly: bool = False,
) -> tuple[Edit, LoraFile]:
    """An edit of the LoRA in a file, and what was read of the file.

    Args:
        file: a safetensors file or pickle of tensors, or the folder that peft writes.
        name: of the edit; ``None`` is the file's.
        base: the model that the file was made for. It tells whose layers the file's names mean
            where several models have such; its layers are compared with the file's, and a DoRA is
            converted with its weights. The edit has the model's architecture and its default
            guidance, unless the file says which model it was learned on and how.
        alpha: where the file does not say it.
        rank: of every layer at most, see :func:`pairedit_sdk.lora.reading.read_lora`.
        partly: leave out what cannot be read.

    Raises:
        UsageError: the rank is below 1.
        EditError: as :func:`~pairedit_sdk.lora.reading.read_lora`, or a file that does not fit the
            model.
        BaseModelError: the model is not there.
    """
    if rank is not None and rank < 1:
        raise UsageError(f"The rank {rank} cannot be used", expected="a whole number above 0")
    path = Path(file)
    model = None if base is None else _skeleton(base)
    weights = None if base is None else _weights_of(base)
    found = read_lora(
        path,
        alpha,
        partly=partly,
        pickled=True,
        rank=rank,
        weights=weights,
        architecture="" if model is None else model.architecture,
    )
    edit = Edit.of_file(found, path)
    if rank is not None:
        edit = edit.with_info(rank=max(layer.rank for layer in edit.layers.values()))
    if name is not None:
        edit = edit.with_info(name=name)
    return edit if model is None else _made_for(edit, found, model, path.name), found


def _made_for(edit: Edit, found: LoraFile, model: PipelineModel, what: str) -> Edit:
    """The edit with what is known of it as one of a model."""
    from pairedit_sdk.models import folders
    from pairedit_sdk.models.meta import require_layers

    base = model.name
    with quiet():
        require_layers(base, edit.layers, what)
    info = edit.info
    learned = bool(info.base_fingerprint)  # and then the file says of what kind and how
    made = edit.with_info(
        # A file that was exported has a folder's name alone, which finds no model.
        base=folders.located(base),
        architecture=(learned and info.architecture) or model.architecture,
        guidance=info.guidance if learned else model.default_guidance,
    )
    if DORA not in found.converted:
        return made
    # The update is that of these very weights.
    weights = folders.fingerprint(folders.resolve(base), "transformer", "vae")
    return made.with_info(base_fingerprint=weights)


def _skeleton(base: str) -> PipelineModel:
    import torch

    from pairedit_sdk.models.meta import model_skeleton

    return model_skeleton(base, torch.float32)


def _weights_of(base: str) -> Callable[[str], torch.Tensor]:
    """Reads one layer's weight [out, in] after the other from the model's files.

    Raises:
        EditError: the model has no such layer, or holds it quantised.
        BaseModelError: the model is not there.
    """
    from safetensors import safe_open

    from pairedit_sdk.models import folders

    places: dict[str, Path] = {}

    def weight(layer: str) -> torch.Tensor:
        folder = folders.resolve(base)
        with folders.explain_damage(folder):
            for file in [] if places else sorted((folder / "transformer").glob("*.safetensors")):
                with safe_open(file, framework="pt") as handle:
                    places.update(dict.fromkeys(handle.keys(), file))
            key = f"{layer}.weight"
            if key in places:
                with safe_open(places[key], framework="pt") as handle:
                    found: torch.Tensor = handle.get_tensor(key)
                if found.is_floating_point() and found.ndim == 2:
                    return found
        raise EditError(
            f"{base} has no weight of {layer} that the file could be converted with",
            expected="a model that has this layer, in floating-point numbers",
            next_step="Name the model that the file was made for",
        )

    return weight
