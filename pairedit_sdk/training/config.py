"""Settings of a training run, and the recipes that hold them.

A recipe is a YAML file with the keys of :class:`TrainConfig`, groups as mappings. Every problem of
a recipe is reported at once, misspelt keys with the nearest known one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pairedit_sdk.errors import UsageError, nearest
from pairedit_sdk.io.resources import recipes_dir
from pairedit_sdk.io.settings import (
    Rule,
    Short,
    by_path,
    from_values,
    one_of,
    positive,
    read_yaml,
    whole,
    with_overrides,
)
from pairedit_sdk.training.settings import TrainingSettings

OBJECTIVES = ("pairedit", "difference", "slider", "reconstruction", "flowedit")
NOISINGS = ("content-preserving", "standard")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "nf4", "int8")
SIGMA_SAMPLINGS = ("uniform", "stratified")
REFERENCES = ("none", "before")
#: What a recipe is for where it says nothing, and what uses the recipes of each method.
METHOD = "pairedit"
COMMANDS = {METHOD: "pairedit train", "lorweb": "pairedit lorweb train"}


@dataclass(frozen=True)
class LossSettings:
    """What the LoRAs are taught.

    Args:
        objective: "pairedit" is Eq. 10; "difference" replaces the noise in its target by the
            prediction of the content branch, or of the plain model if there is none; "slider" is
            ablation A, Concept Sliders' loss; "reconstruction" is a plain LoRA of the after
            pictures; "flowedit" aims, at the states that FlowEdit visits on its way from x_A, at
            the velocity that takes it to x_B from there.
        eta: η of Eq. 10, how far the semantic target moves along the pair's difference.
        beta: β of Eq. 3, the strength of the content-preserving noise.
        noising: "content-preserving" is x_A + σβε; "standard" is ablation C, (1 − σ)x_A + σε.
        content_lora: ``False`` is ablation B, no content LoRA.
        lag, lead: only with "flowedit": the states z that it is taught at are behind linear
            progress to x_B by up to ``lag`` of what has been gone, or ahead by up to ``lead`` of
            what is left, so that the edit learns to catch up, and when it is done.
        sigma_count: σ is drawn from the noise levels of a sampling schedule this long.
        sigma_sampling: "uniform" draws every σ by itself; "stratified" gives each draw of a batch
            its own part of the schedule.
        reference: what the model sees beside the noisy picture, in training and when the edit is
            used: "none", or "before", the picture that is edited. That takes an edit model, and
            holds the content by itself, so that no content LoRA is needed.
    """

    objective: str = "pairedit"
    eta: float = 4.0
    beta: float = 1.0
    noising: str = "content-preserving"
    content_lora: bool = True
    lag: float = 0.0
    lead: float = 0.0
    sigma_count: int = 28
    sigma_sampling: str = "uniform"
    reference: str = "none"


@dataclass(frozen=True)
class EditingSettings:
    """How the edit is used on a picture, unless the user says otherwise, and made fit for it.

    Args:
        steps: length of the schedule; FlowEdit runs its last 24 / 28.
        n_avg: noises averaged in each of these steps.
        threshold: how far FlowEdit damps small changes, see
            :func:`pairedit_sdk.flow.solvers.damped`.
        limit_scale: give every picture a factor of its own, with which it changes no more than the
            pairs do, see :mod:`pairedit_sdk.editing.scale_limit`. It needs an image encoder.
        calibrate: after training, put that factor into the edit with which it carries the training
            pairs' before pictures nearest to their after pictures.
        gain: a factor put into the edit after training, on top of calibration's: an edit moves new
            pictures less far than its own pairs. Not used with a single pair, where nothing tells
            the edit from an accident that would be amplified with it.
    """

    steps: int = 28
    n_avg: int = 1
    threshold: float = 0.0
    limit_scale: bool = False
    calibrate: bool = False
    gain: float = 1.0


@dataclass(frozen=True)
class WordsSettings:
    """Whether the pairs' instruction is found, and what becomes of it.

    Args:
        find: ask an edit model which instruction explains the pairs, and make the best one part of
            the edit, see :mod:`pairedit_sdk.words`. Where none explains them, the edit is as
            without.
        vocabulary: the instructions that are asked: a file, of which a run keeps the phrases, or
            "a; b; c", or a JSON list; ``None`` is the model's own list.
        scale: how strongly the instruction itself acts at the edit's scale 1 where it makes the
            whole change on the pairs, and less where it makes a part, see
            :func:`pairedit_sdk.training.words.shared_out`; at 0 it only describes the edit.
    """

    find: bool = False
    vocabulary: str | None = None
    scale: float = 1.1


@dataclass(frozen=True, init=False)
class TrainConfig(TrainingSettings):
    """Settings of a training run. The defaults are PairEdit's published values.

    Those of :class:`pairedit_sdk.training.settings.TrainingSettings`, and these. A row of
    ``batch`` is a draw of a pair, σ and ε: one content and one semantic row of the model.

    Attributes:
        base: the model the recipe is meant for; ``None`` leaves it to the caller.
        precision: of the frozen base: "fp32", "bf16", "fp16", "int8" or "nf4"; "auto" is bf16 on a
            GPU and fp32 on a CPU.
        offload: let the transformer leave the device while other parts of the model are used.
        loss: see :class:`LossSettings`.
        editing: see :class:`EditingSettings`.
        words: see :class:`WordsSettings`.
    """

    base: str | None = None
    precision: str = "auto"
    offload: bool = False
    loss: LossSettings = LossSettings()  # frozen
    editing: EditingSettings = EditingSettings()
    words: WordsSettings = WordsSettings()

    objective = Short[str]("loss.objective")
    eta = Short[float]("loss.eta")
    beta = Short[float]("loss.beta")
    noising = Short[str]("loss.noising")
    content_lora = Short[bool]("loss.content_lora")
    lag = Short[float]("loss.lag")
    lead = Short[float]("loss.lead")
    sigma_count = Short[int]("loss.sigma_count")
    sigma_sampling = Short[str]("loss.sigma_sampling")
    reference = Short[str]("loss.reference")
    edit_steps = Short[int]("editing.steps")
    edit_n_avg = Short[int]("editing.n_avg")
    edit_threshold = Short[float]("editing.threshold")
    edit_even = Short[bool]("editing.limit_scale")
    calibrate = Short[bool]("editing.calibrate")
    gain = Short[float]("editing.gain")
    find_words = Short[bool]("words.find")
    vocabulary = Short["str | None"]("words.vocabulary")
    words_scale = Short[float]("words.scale")

    own_rules: ClassVar[dict[str, Rule]] = {
        "precision": one_of(PRECISIONS),
        "loss.objective": one_of(OBJECTIVES),
        "loss.eta": positive(),
        "loss.beta": positive(),
        "loss.noising": one_of(NOISINGS),
        "loss.lag": (lambda v: 0 <= v <= 1, "0 to 1"),
        "loss.lead": (lambda v: 0 <= v <= 1, "0 to 1"),
        "loss.sigma_count": (lambda v: 2 <= v <= 1000, "2 to 1000"),
        "loss.sigma_sampling": one_of(SIGMA_SAMPLINGS),
        "loss.reference": one_of(REFERENCES),
        "editing.steps": (lambda v: 2 <= v <= 1000, "2 to 1000"),
        "editing.n_avg": whole(1),
        "editing.threshold": (lambda v: 0 <= v <= 1, "0 to 1"),
        "editing.gain": positive(10.0),
        "words.scale": (lambda v: 0 <= v <= 10, "a number from 0 to 10"),
    }
    newer: ClassVar[tuple[str, ...]] = (
        "beta1", "beta2", "reference", "find_words", "vocabulary", "words_scale",
    )  # fmt: skip

    def conflicts(self) -> list[str]:
        """What does not go together, a phrase each."""
        one, problems = self.loss, []
        if one.objective in ("reconstruction", "flowedit"):
            problems += [
                f"loss.{name} is {getattr(one, name)!r}, expected {wanted!r} with this objective"
                for name, wanted in (("content_lora", False), ("noising", "standard"))
                if getattr(one, name) != wanted
            ]
        if one.objective != "flowedit":
            problems += [
                f"loss.{name} is {getattr(one, name)!r}, expected 0 with objective {one.objective}"
                for name in ("lag", "lead")
                if getattr(one, name)
            ]
        return problems


def recipe_names(method: str = METHOD) -> list[str]:
    """The recipes that come with the package.

    Args:
        method: of edits ("pairedit"), or of another method's training, such as "lorweb".
    """
    return sorted(
        path.stem
        for path in recipes_dir().glob("*.yaml")
        if read_yaml(path, "Recipe").get("method", METHOD) == method
    )


def load_recipe(
    name_or_path: str | Path | None = None,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Settings from a recipe by name or file, changed by ``key=value`` overrides.

    Args:
        name_or_path: a name of :func:`recipe_names`, a YAML file, or ``None`` for the defaults.
        overrides: e.g. ``["steps=200", "loss.eta=3"]``; values are read as YAML.
        values: the same as plain values, which prevail over both.

    Raises:
        UsageError: unknown recipe, unreadable YAML, unknown keys, or values out of range.
    """
    settings: dict[str, Any] = {}
    source = "The settings"
    if name_or_path is not None:
        path, _, read = read_recipe(name_or_path)
        source = f"Recipe {path.name}"
        settings = by_path(TrainConfig, read, note=True)
    for changed in (with_overrides({}, overrides), values or {}):
        settings |= by_path(TrainConfig, changed, note=True)
    return make_config(settings, source)


def make_config(values: Mapping[str, Any], source: str = "The settings") -> TrainConfig:
    """A :class:`TrainConfig` from plain values, e.g. a file's, all problems reported at once."""
    return from_values(TrainConfig, values, source)


def read_recipe(
    name_or_path: str | Path, method: str = METHOD
) -> tuple[Path, str | None, dict[str, Any]]:
    """The file of a recipe, the method that it says it is for, if any, and its other values.

    Args:
        name_or_path: a name of :func:`recipe_names`, or a YAML file.
        method: that is wanted.

    Raises:
        UsageError: unknown recipe, unreadable YAML, or a recipe for another method.
    """
    path = _recipe_path(name_or_path, method)
    values = read_yaml(path, "Recipe")
    said = values.pop("method", None)
    if said is not None and not (isinstance(said, str) and said in COMMANDS):
        raise UsageError(
            f"Recipe {path.name}: method is {str(said)[:60]!r}, expected {' or '.join(COMMANDS)}",
            next_step="Put this right",
        )
    if said is not None and said != method:
        raise UsageError(
            f"Recipe {path.name} is for `{COMMANDS[said]}`",
            expected=f"a recipe for `{COMMANDS[method]}`",
            next_step=f"Use it with that command, or one of {', '.join(recipe_names(method))}",
        )
    return path, said, values


def _recipe_path(name_or_path: str | Path, method: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        if not path.is_file():
            raise UsageError(
                f"Recipe file {path} is not there", next_step="Give a YAML file or a recipe's name"
            )
        return path
    shipped = recipes_dir() / f"{name_or_path}.yaml"
    if not shipped.is_file() or shipped.parent != recipes_dir():
        raise UsageError(
            f"There is no recipe {str(name_or_path)!r}",
            next_step=nearest(str(name_or_path), recipe_names(method)),
        )
    return shipped
