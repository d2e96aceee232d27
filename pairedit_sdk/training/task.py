"""What a training is asked for: PairEdit's two LoRAs, or LoRWeB's basis, as one kind of task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.training.settings import TrainingSettings


class Task(ABC):
    """What is trained, and on what.

    Attributes:
        base: the frozen model; the parameters are attached to it.
        settings: of the training.
        parameters: everything that is trained, by name.
        elements: latent elements that a loss is the mean of.
        info: makes what is told of a step from ``step``, ``steps``, the losses by their names,
            ``lr`` and ``seconds``; a dataclass.
        limit: a loss that is not below this ends the training.
        gradient_norm: longer gradients are cut to this, if it is given.
    """

    base: FlowModel
    settings: TrainingSettings
    parameters: Mapping[str, torch.nn.Parameter]
    elements: int
    info: Callable[..., Any]
    limit: float = math.inf
    gradient_norm: float | None = None

    @abstractmethod
    def losses(self, draw: int, rows: Sequence[int]) -> Iterator[Mapping[str, torch.Tensor]]:
        """The terms of a draw's loss, by name, an item for each forward pass.

        Args:
            draw: its number, which decides all that is drawn.
            rows: those of the batch that this process takes.
        """

    @abstractmethod
    def digest(self) -> str:
        """A short hash of the training data; a checkpoint of other data is refused."""

    @abstractmethod
    def preview(self) -> Image.Image:
        """A picture of what the parameters do as they now are."""

    def fidelity(self) -> float | None:
        """How well the training data are reproduced, 1 for entirely, if that is measured."""
        return None

    def keep_data(self, folder: Path) -> None:  # noqa: B027  # optional
        """Write what should lie in the run's folder from the start."""
