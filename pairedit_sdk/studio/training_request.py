"""What a training is asked for, and the command line that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.jobs.make_edit import settings_for
from pairedit_sdk.pairs.folder import LAYOUTS, folder_hint
from pairedit_sdk.training.trackers import require_tracker

if TYPE_CHECKING:
    from pairedit_sdk.training.config import TrainConfig

#: Previews that a training draws, unless its settings say how many.
PREVIEWS = 6
_PREVIEW_EVERY = "checkpointing.preview_every"


@dataclass(frozen=True)
class TrainingRequest:
    """A training, by the options of ``pairedit train``.

    Attributes:
        name: of the edit.
        pairs: a folder of pairs.
        base: the model; ``None`` is the recipe's, and without a recipe mini-kontext.
        recipe: a recipe's name or a YAML file; ``None`` is the one for the model.
        settings: ``key=value`` words, the last of which prevails.
        find_words: whether the instruction that explains the pairs is asked for; ``None`` leaves it
            to ``words`` and to the recipe.
        words: phrases to choose from, "add glasses; add sunglasses".
        place: put the edit into the library's basis as well.
        skip_check: train even if the check advises against it.
        force: replace an edit or a run of this name.
        device: "cpu", "cuda", "cuda:1" or "mps".
        precision: of the model's weights; ``None`` is the recipe's.
        offload: keep one part of the model on the GPU at a time.
    """

    name: str
    pairs: Path
    base: str | None = None
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    find_words: bool | None = None
    words: str | None = None
    place: bool = False
    skip_check: bool = False
    force: bool = False
    device: str | None = None
    precision: str | None = None
    offload: bool = False

    def command(self, library: EditLibrary | str | Path, *, resume: bool = False) -> list[str]:
        """The words of the command line after ``pairedit``; paths are whole.

        Args:
            library: that the edit goes to.
            resume: go on from the newest checkpoint.
        """
        folder = EditLibrary.local(library).folder.absolute()
        words = ["train", str(self.pairs.absolute()), "--name", self.name]
        words += ["--library", str(folder)]
        for option in ("base", "recipe", "device", "precision", "words"):
            value = getattr(self, option)
            words += [] if value is None else [f"--{option}", value]
        for setting in self.settings:
            words += ["--set", setting]
        flags = {
            "--find-words": self.find_words is True,
            "--no-words": self.find_words is False,
            "--place": self.place,
            "--skip-check": self.skip_check,
            "--offload": self.offload,
            "--force": self.force and not resume,
            "--resume": resume,
        }
        return words + [flag for flag, given in flags.items() if given]

    def config(self) -> TrainConfig:
        """The settings that the command will have.

        Raises:
            UsageError: an unknown recipe or setting, a value out of range, options that contradict
                each other, or a tracker that is not installed.
            InputError: a vocabulary that cannot be read or is empty.
        """
        if self.words is not None and self.find_words is False:
            raise UsageError(
                "Words are given, and no words are to be found",
                next_step="Leave out words, or find_words",
            )
        asked: dict[str, Any] = {}
        if self.words is not None:
            # One phrase is no file, as in the command line.
            said = self.words if ";" in self.words else f"{self.words};"
            asked = {"words.find": True, "words.vocabulary": said}
        elif self.find_words is not None:
            asked = {"words.find": self.find_words}
        given = list(self.settings)
        given += [f"precision={self.precision}"] if self.precision else []
        given += ["offload=true"] if self.offload else []
        config = settings_for(self.base, self.recipe, given, asked)
        require_tracker(config.track)
        return config

    def settled(self) -> tuple[TrainingRequest, int]:
        """The request as it means the same in every folder and environment, with previews.

        Returns:
            The request, and its number of steps.

        Raises:
            UsageError, InputError: as :meth:`config`, or there is no such folder of pairs.
        """
        if not self.pairs.is_dir():
            raise InputError(
                f"Pairs folder '{self.pairs}' "
                + ("is a file" if self.pairs.exists() else "does not exist"),
                expected=f"a folder: {LAYOUTS}",
                next_step=folder_hint(self.pairs),
            )
        config = self.config()
        keys = {text.partition("=")[0].strip() for text in self.settings}
        settings = self.settings
        if not config.preview_every and not keys & {_PREVIEW_EVERY, "preview_every"}:
            # Free on resume: it changes nothing of what is learned.
            settings = (*settings, f"{_PREVIEW_EVERY}={max(1, round(config.steps / PREVIEWS))}")
        recipe = self.recipe
        if recipe is not None and Path(recipe).suffix in {".yaml", ".yml"}:
            recipe = str(Path(recipe).absolute())
        # The model by name: without it the command line would take PAIREDIT_BASE.
        settled = replace(
            self, pairs=self.pairs.absolute(), base=config.base, recipe=recipe, settings=settings
        )
        return settled, config.steps

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON holds it."""
        return asdict(self) | {"pairs": str(self.pairs), "settings": list(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingRequest:
        """The request that :meth:`as_dict` gave.

        Raises:
            ValueError, KeyError, TypeError: it is another thing.
        """
        settings = tuple(str(text) for text in values["settings"])
        return cls(**{**values, "pairs": Path(values["pairs"]), "settings": settings})
