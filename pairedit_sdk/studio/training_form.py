"""The fields of the page from which a training is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.pairs.pair_set import check_set
from pairedit_sdk.studio.chosen_pairs import Chosen, chosen
from pairedit_sdk.studio.training_plan import Usual, estimate, request

if TYPE_CHECKING:
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.studio.service import Service
    from pairedit_sdk.studio.training_request import TrainingRequest
    from pairedit_sdk.studio.training_status import TrainingStatus


@dataclass(frozen=True)
class TrainingForm:
    """What the fields say, in the order in which the page has them; nothing is checked yet.

    Attributes:
        kind, befores, afters, example, folder: see :func:`pairedit_sdk.studio.chosen_pairs.chosen`.
        name: of the edit.
        recipe: one that fits the model.
        steps, rank, rate, find_words, place: see
            :class:`pairedit_sdk.studio.training_plan.Usual`; a number that is left empty is
            ``None``.
        force, skip_check: see :class:`~pairedit_sdk.studio.training_request.TrainingRequest`.
    """

    kind: str
    befores: Sequence[str] | None
    afters: Sequence[str] | None
    example: str | None
    folder: str | None
    name: str
    recipe: str
    steps: float | None
    rank: float | None
    rate: float | None
    find_words: bool
    place: bool
    force: bool = False
    skip_check: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no pairs are named yet."""
        return not {
            "uploaded": self.befores or self.afters,
            "example": self.example,
            "folder": self.folder,
        }.get(self.kind)

    def chosen(self, *, local: bool) -> Chosen:
        """The pairs.

        Raises:
            InputError, UsageError: see :func:`pairedit_sdk.studio.chosen_pairs.chosen`.
        """
        return chosen(
            self.kind,
            self.befores or (),
            self.afters or (),
            self.example or "",
            self.folder or "",
            local=local,
        )

    def usual(self) -> Usual:
        """The settings.

        Raises:
            UsageError: a number is missing, or is not whole where it has to be.
        """
        numbers = {"steps": self.steps, "rank": self.rank, "learning rate": self.rate}
        empty = [name for name, value in numbers.items() if value is None or not isfinite(value)]
        if empty or self.steps is None or self.rank is None or self.rate is None:
            raise UsageError(f"There is no number for {' and '.join(empty)}")
        parts = [name for name in ("steps", "rank") if numbers[name] != int(numbers[name] or 0)]
        if parts:
            raise UsageError(f"{' and '.join(parts)} must be whole")
        return Usual(int(self.steps), int(self.rank), self.rate, self.find_words, self.place)

    def request(self, model: str, pairs: Path, name: str = "") -> TrainingRequest:
        """The training.

        Raises:
            UsageError: settings out of range, or of a recipe that does not fit the model.
        """
        return request(
            name or self.name.strip(),
            pairs,
            model,
            self.recipe,
            self.usual(),
            force=self.force,
            skip_check=self.skip_check,
        )

    def estimated(self, service: Service) -> str:
        """What the training takes, in a sentence.

        Raises:
            BaseModelError: the model is not there.
            UsageError: as :meth:`request`.
        """
        asked = self.request(service.engine.model_name, Path(), "edit")
        how = service.engine.loading
        precision = None if how.precision == "auto" else how.precision
        asked = replace(asked, device=how.device, precision=precision, offload=how.offload)
        return estimate(asked).sentence

    def begin(self, service: Service, *, local: bool) -> TrainingStatus:
        """Start the training.

        Args:
            service: whose model and library are meant.
            local: whether it is somebody on this machine who asks.

        Raises:
            UsageError: a name that is taken, bad settings, or another training is under way.
            InputError: pairs that cannot be used, or would be a waste.
            WriteError: the library cannot be written to.
        """
        name, model, trainings = self.name.strip(), service.engine.model_name, service.trainings
        if not name:
            raise UsageError("The edit has no name yet", next_step="Give it one, such as glasses")
        trainings.require_startable(name, force=self.force)
        self.request(model, Path())
        pairs = self.chosen(local=local)
        if not self.skip_check:
            _require_worth(pairs.pairs())
        return service.train(self.request(model, pairs.kept(name, trainings)))


def _require_worth(pairs: PairSet) -> None:
    found = check_set(pairs)
    if not found.worth_training:
        bad = [f"{one.name}: {one.reason}" for one in found.pairs if one.verdict == "bad"]
        raise InputError(
            f"Training on these pairs would be a waste ({'; '.join(bad)})",
            next_step="Put them right, or choose to train all the same",
        )
