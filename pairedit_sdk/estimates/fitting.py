"""Settings with which a training fits into the memory that there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pairedit_sdk.errors import TrainingError, is_out_of_memory
from pairedit_sdk.estimates.basis_needs import basis_needs
from pairedit_sdk.estimates.needs import Needs, training_needs
from pairedit_sdk.io.settings import by_path
from pairedit_sdk.lorweb.recipes import BasisRecipe
from pairedit_sdk.training.config import TrainConfig

if TYPE_CHECKING:
    import torch


#: How many ways out are named.
NAMED = 3
SMALLER = (384, 256, 128)

Change = dict[str, Any]
#: The settings of an edit's training, or of a basis's.
Settings = TrainConfig | BasisRecipe


@contextmanager
def advised(name: str, config: Settings, device: torch.device) -> Iterator[None]:
    """Where memory runs out within the block, say what would have fitted."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise _out_of_memory(name, config, device) from error


def needs_of(name: str, config: Settings, device: str) -> Needs:
    """What a training with these settings needs, of an edit or of a basis.

    Args:
        name: the model.
        config: the settings.
        device: "cpu" or "cuda".

    Raises:
        BaseModelError: the model is not there.
        UsageError: the settings do not fit the model.
    """
    if isinstance(config, BasisRecipe):
        return basis_needs(name, config, device)
    return training_needs(name, config, device)


def total_memory(device: torch.device) -> int:
    """Bytes of memory of a device of this machine."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    import psutil

    return int(psutil.virtual_memory().total)


def that_fit(name: str, config: Settings, device: str, memory: int) -> list[tuple[Change, Needs]]:
    """Up to three changes of the settings, each of which is enough; the gentlest first.

    Args:
        name: the model.
        config: the settings that need too much.
        device: "cpu" or "cuda".
        memory: bytes that there are.
    """
    found: list[tuple[Change, Needs]] = []
    for change in _changes(config, device):
        needs = needs_of(name, replace(config, **change), device)
        if needs.peak <= memory:
            found.append((change, needs))
            if len(found) == NAMED:
                break
    return found


def as_options(change: Change, kind: type[Settings] = TrainConfig) -> str:
    """A change as it is given to ``pairedit train``, or ``pairedit lorweb train``."""
    named = by_path(kind, change)
    return " ".join(f"--set {key}={_yaml(value)}" for key, value in named.items())


def _changes(config: Settings, device: str) -> Iterator[Change]:
    """What can be given up, from what only costs time to what costs quality."""
    all_of_it: Change = {}
    if config.batch > 1:
        # As many rows in a step, one after the other.
        all_of_it = {"batch": 1, "accumulate": config.batch * config.accumulate}
        yield all_of_it
    if not config.gradient_checkpointing:
        yield {"gradient_checkpointing": True}
        if all_of_it:
            all_of_it = {**all_of_it, "gradient_checkpointing": True}
            yield all_of_it
        all_of_it = {**all_of_it, "gradient_checkpointing": True}
    if device == "cuda":
        for precision in ("int8", "nf4"):
            if config.precision not in (precision, "nf4"):
                yield {**all_of_it, "precision": precision}
        all_of_it = {**all_of_it, "precision": "nf4", "optimizer": "adamw8bit"}
        yield all_of_it
    if isinstance(config, BasisRecipe) and config.layout == "grid":
        # b′ alone is drawn: half of the tokens, and a quarter of those that are drawn.
        all_of_it = {**all_of_it, "layout": "sequence"}
        yield all_of_it
    for side in SMALLER:
        if config.resolution is None or side < config.resolution:
            yield {**all_of_it, "resolution": side}


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def size(count: int) -> str:
    """Bytes, for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _out_of_memory(name: str, config: Settings, device: torch.device) -> TrainingError:
    """The error to end a training with: what would have fitted."""
    there = total_memory(device)
    needs = needs_of(name, config, device.type)
    ways = that_fit(name, config, device.type, there)
    said = [f"{as_options(change, type(config))} ({size(fits.peak)})" for change, fits in ways]
    return TrainingError(
        f"The {'GPU' if device.type == 'cuda' else 'machine'} ran out of memory",
        expected=f"about {size(needs.peak)} with these settings",
        got=f"{size(there)} in all",
        next_step=f"What fits: {'; or '.join(said)}"
        if said
        else "Nothing smaller fits here; use a smaller model or another machine",
    )
