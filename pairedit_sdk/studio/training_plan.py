"""A training that is about to be started: recipes that fit, the usual settings, what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.resources import recipes_dir
from pairedit_sdk.jobs.make_edit import recipe_for
from pairedit_sdk.models.kinds import is_edit_model
from pairedit_sdk.studio.training_request import TrainingRequest
from pairedit_sdk.training.config import load_recipe, recipe_names


@dataclass(frozen=True)
class Usual:
    """The settings that people change.

    Attributes:
        steps: of the optimiser.
        rank: of the LoRA.
        rate: the learning rate.
        find_words: whether the instruction that explains the pairs is looked for.
        place: put the edit into the library's basis as well.
    """

    steps: int
    rank: int
    rate: float
    find_words: bool
    place: bool = False


def fitting_recipes(model: str) -> dict[str, str]:
    """The recipes that can be used with a model, each with the first sentence of what it says of
    itself; its own is first.

    A recipe fits that is for models of the same kind and size, or for none in particular. One that
    gives the model the before picture takes an edit model.
    """
    own = recipe_for(model)
    found = {own: recipe_about(own)}
    for name in sorted(recipe_names(), key=lambda name: load_recipe(name).base is None):
        config = load_recipe(name)
        same = config.base is None or recipe_for(config.base) == own
        if same and (config.reference == "none" or is_edit_model(model)):
            found.setdefault(name, recipe_about(name))
    return found


def recipe_about(name: str) -> str:
    """The first sentence of a recipe's own comment, or ""."""
    said = []
    text = (recipes_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        said.append(line.removeprefix("#").strip())
    first, dot, _ = " ".join(said).partition(". ")
    return f"{first.rstrip('.')}." if first or dot else ""


def usual(model: str, recipe: str) -> Usual:
    """What a recipe says of the usual settings.

    Raises:
        UsageError: there is no such recipe.
    """
    config = TrainingRequest("edit", Path(), base=model, recipe=_said(model, recipe)).config()
    return Usual(config.steps, config.rank, config.lr, config.find_words and is_edit_model(model))


def request(
    name: str,
    pairs: Path,
    model: str,
    recipe: str,
    asked: Usual,
    *,
    force: bool = False,
    skip_check: bool = False,
) -> TrainingRequest:
    """The training as ``pairedit train`` is asked for it; what the recipe says is not repeated.

    Args:
        name: of the edit.
        pairs: the folder of pairs.
        model: the studio's.
        recipe: one of :func:`fitting_recipes`.
        asked: the settings.
        force: replace an edit or a run of this name.
        skip_check: train on pairs that the check advises against.

    Raises:
        UsageError: the recipe does not fit the model, or a value is out of range.
    """
    if recipe not in fitting_recipes(model):
        raise UsageError(
            f"The recipe {recipe!r} is not for {model}", expected=", ".join(fitting_recipes(model))
        )
    known = usual(model, recipe)
    settings = []
    for key, value, said in (
        ("steps", asked.steps, known.steps),
        ("lora.rank", asked.rank, known.rank),
        ("optim.lr", asked.rate, known.rate),
    ):
        # Without an exponent, which YAML may take for a word.
        settings += [f"{key}={Decimal(repr(value)):f}"] if value != said else []
    made = TrainingRequest(
        name,
        pairs,
        base=model,
        recipe=_said(model, recipe),
        settings=tuple(settings),
        find_words=asked.find_words if asked.find_words != known.find_words else None,
        place=asked.place,
        force=force,
        skip_check=skip_check,
    )
    made.config()  # raises what is out of range
    return made


@dataclass(frozen=True)
class Estimate:
    """What a training takes, roughly.

    Attributes:
        seconds: of its steps; twice as fast or slow is possible. ``None`` without the GPU.
        peak: bytes of memory at the most.
        there: bytes of memory that the device has.
        disk: bytes of the run's files.
        words: whether words are looked for besides, which takes time of its own.
        where: "GPU" or "machine".
    """

    seconds: float | None
    peak: int
    there: int
    disk: int
    words: bool
    where: str

    @property
    def sentence(self) -> str:
        """The same in words."""
        from pairedit_sdk.estimates.fitting import size
        from pairedit_sdk.estimates.speed import span

        took = "" if self.seconds is None else f"about {span(self.seconds)} on this machine, "
        said = f"{took}{size(self.peak)} of memory, {size(self.disk)} of disk space."
        said = said[0].upper() + said[1:]
        said += " Finding words comes on top." if self.words else ""
        if self.peak > self.there:
            said += (
                f" This {self.where} has {size(self.there)}: use a smaller rank, or a recipe that "
                "takes less."
            )
        return said


def estimate(asked: TrainingRequest) -> Estimate:
    """What a training takes; no weights are loaded.

    Args:
        asked: the training; without a device it is a GPU if there is one.

    Raises:
        BaseModelError: the model is not there.
        UsageError: settings that do not fit the model.
    """
    import torch

    from pairedit_sdk.estimates.fitting import total_memory
    from pairedit_sdk.estimates.needs import training_needs
    from pairedit_sdk.estimates.speed import seconds_for
    from pairedit_sdk.models.precision import choose_precision

    here = torch.device(asked.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    config = asked.config()
    name = str(config.base)
    needs = training_needs(name, config, here.type)
    seconds = None
    if here.type in ("cpu", "cuda"):
        kind = choose_precision(config.precision, here)[1]
        seconds = seconds_for(needs.flops, here, kind) * config.steps
    return Estimate(
        seconds,
        needs.peak,
        total_memory(here),
        needs.disk,
        config.find_words and is_edit_model(name),
        "GPU" if here.type == "cuda" else "machine",
    )


def _said(model: str, recipe: str) -> str | None:
    """A recipe as it is given; the model's own is taken without, which also leaves out what the
    model has no image encoder for."""
    return None if recipe == recipe_for(model) else recipe
