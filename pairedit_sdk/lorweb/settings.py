"""Settings of a learned basis; the defaults are LoRWeB's published values.

There are three exceptions, as a CPU or the built-in model needs them: see ``resolution`` and
``optimizer``, and all noise levels weigh the same in the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from pairedit_sdk.io.settings import (
    Rule,
    Short,
    by_path,
    from_values,
    one_of,
    positive,
    whole,
    with_overrides,
)
from pairedit_sdk.training.settings import (
    CheckpointSettings,
    LoraSettings,
    OptimSettings,
    TrainingSettings,
)

S = TypeVar("S", bound=TrainingSettings)

ACTIVATIONS = ("softmax", "tanh", "uniform")
LAYOUTS = ("grid", "sequence", "alone")
QUERIES = ("pictures", "grid")
OBJECTIVES = ("difference", "flow")
STARTS = ("random", "difference")


@dataclass(frozen=True)
class DeltaSettings:
    """The network that gives the change as tokens of the text stream, see
    :mod:`pairedit_sdk.lorweb.delta`.

    Args:
        tokens: embeddings that it gives; 0 is no network.
        width: of the network, a multiple of 4.
        layers: of attention.
    """

    tokens: int = 0
    width: int = 128
    layers: int = 2


@dataclass(frozen=True, init=False)
class BasisSettings(TrainingSettings):
    """Settings of a LoRWeB basis and of its training.

    Those of :class:`pairedit_sdk.training.settings.TrainingSettings`, and these. A row of ``batch``
    is an analogy; ``lora.rank`` is r of each LoRA of the basis.

    Attributes:
        count: N, LoRAs in the basis; 0 leaves the change to the delta network alone.
        key_width: d, the length of the query and of each key.
        activation: "softmax" of the similarities over the basis, or their "tanh"; "uniform" is a
            baseline that mixes all alike, whatever the analogy.
        shared: one projection and one set of keys for all adapted weights in the place of one for
            each.
        unit_embeddings: bring the embeddings to length 1. As they come from the encoder (as
            published) they are some ten to twenty times as long, and so is every step that training
            takes with the projection: with the built-in encoder a few hundred steps are enough for
            the softmax to choose one LoRA for all analogies.
        start: "random" is the published start of the projection, "difference" a random map of
            E(a′) − E(a), so that the first mixes already depend on what was changed.
        query: "pictures" gives the router the embeddings of a, a′ and b one after the other,
            "grid" one of all three in a grid.
        layout: "grid" lets the model look at [a, a′; b, b] and draw [a, a′; b, b′]; "sequence" lets
            it look at b, a and a′ as three pictures and draw b′ alone. With "alone" it looks at b
            only, and a and a′ reach it through the mix and the delta network.
        encoder: the image encoder; ``None`` is the one that goes with the model.
        resolution: side in pixels of a square with each picture's area; a grid has twice the side.
            ``None`` is the model's own. LoRWeB's 512 is the side of the grid, 256 here.
        caption_dropout: share of the captions that are left out.
        on_change: share of the loss that lies where b′ differs from b, by how much it does. The
            rest lies evenly. Published is 0; copying b is learned early, and the change is small.
        delta: see :class:`DeltaSettings`.
    """

    count: int = 32
    key_width: int = 128
    activation: str = "softmax"
    shared: bool = False
    unit_embeddings: bool = False
    start: str = "random"
    query: str = "pictures"
    layout: str = "grid"
    encoder: str | None = None
    guidance: float = 1.0
    caption_dropout: float = 0.05
    on_change: float = 0.0
    steps: int = 10_000
    batch: int = 6
    optim: OptimSettings = OptimSettings(lr=1e-3, weight_decay=0.05, beta2=0.99)  # noqa: RUF009
    lora: LoraSettings = LoraSettings(rank=4, alpha=None, targets="blocks")  # noqa: RUF009
    checkpointing: CheckpointSettings = CheckpointSettings(every=250)  # noqa: RUF009
    delta: DeltaSettings = DeltaSettings()

    delta_tokens = Short[int]("delta.tokens")
    delta_width = Short[int]("delta.width")
    delta_layers = Short[int]("delta.layers")

    own_rules: ClassVar[dict[str, Rule]] = {
        "count": whole(0),
        "key_width": whole(1),
        "activation": one_of(ACTIVATIONS),
        "start": one_of(STARTS),
        "query": one_of(QUERIES),
        "layout": one_of(LAYOUTS),
        "caption_dropout": (lambda v: 0 <= v <= 1, "0 to 1"),
        "on_change": (lambda v: 0 <= v <= 1, "0 to 1"),
        "delta.tokens": (lambda v: 0 <= v <= 256, "0 to 256"),
        "delta.width": (lambda v: 4 <= v <= 4096 and v % 4 == 0, "a multiple of 4, at most 4096"),
        "delta.layers": (lambda v: 1 <= v <= 16, "1 to 16"),
    }
    newer: ClassVar[tuple[str, ...]] = (
        "lr_schedule", "lora_precision", "keep", "on_change", "delta_tokens", "delta_width",
        "delta_layers",
    )  # fmt: skip

    @property
    def scaling(self) -> float:
        """alpha / r."""
        return self.lora.scaling

    def conflicts(self) -> list[str]:
        """What does not go together, a phrase each."""
        found = []
        if self.start == "difference" and (self.query == "grid" or not self.unit_embeddings):
            found.append("start=difference needs query=pictures and unit_embeddings=true")
        if not self.count and not self.delta.tokens:
            found.append("count=0 needs delta.tokens above 0")
        return found


@dataclass(frozen=True, init=False)
class OwnEditSettings(TrainingSettings):
    """Settings of learning a user's own edit under the references of a LoRWeB basis.

    Those of :class:`pairedit_sdk.training.settings.TrainingSettings`, and these. A row of ``batch``
    is a draw of a pair that is answered, one that is shown, σ and ε.

    Attributes:
        objective: "difference" adds the pair's difference to the velocity of the model alone, at
            states on the way from the before to the after picture; "flow" is the flow loss on the
            after picture.
        lag, lead: only with "difference": the states are behind linear progress to the after
            picture by up to ``lag`` of what has been gone, or ahead by up to ``lead`` of what is
            left.
        in_mix: learn beside the basis's own LoRAs, as they are in the mix; without, the edit is
            learned as if the basis added nothing.
        hidden: share of the draws that see no change, a in the place of a′. With a single pair,
            whose after picture would be there to be copied, it is all of them.
        sigma_count: σ is drawn from the noise levels of a sampling schedule this long.
        gain: a factor put into the edit after training: it moves new pictures less far than its own
            pairs, and new examples give it less of the mix. Not used with a single pair.
    """

    objective: str = "difference"
    lag: float = 0.75
    lead: float = 0.3
    in_mix: bool = True
    hidden: float = 0.0
    sigma_count: int = 28
    gain: float = 1.25
    guidance: float = 2.5
    steps: int = 100
    batch: int = 4
    optim: OptimSettings = OptimSettings(lr=2e-3, lr_schedule="cosine")  # noqa: RUF009
    checkpointing: CheckpointSettings = CheckpointSettings(every=50)  # noqa: RUF009

    own_rules: ClassVar[dict[str, Rule]] = {
        "objective": one_of(OBJECTIVES),
        "lag": (lambda v: 0 <= v <= 1, "0 to 1"),
        "lead": (lambda v: 0 <= v <= 1, "0 to 1"),
        "hidden": (lambda v: 0 <= v <= 1, "0 to 1"),
        "sigma_count": (lambda v: 2 <= v <= 1000, "2 to 1000"),
        "gain": positive(10.0),
    }


def basis_settings(overrides: list[str], source: str = "The settings") -> BasisSettings:
    """The published values, changed by ``key=value`` words.

    Raises:
        UsageError: unknown keys, or values of another kind or out of range, all at once.
    """
    return _changed(BasisSettings, overrides, source)


def own_edit_settings(overrides: list[str], source: str = "The settings") -> OwnEditSettings:
    """The defaults, changed by ``key=value`` words.

    Raises:
        UsageError: unknown keys, or values of another kind or out of range, all at once.
    """
    return _changed(OwnEditSettings, overrides, source)


def _changed(kind: type[S], overrides: list[str], source: str) -> S:
    return from_values(kind, by_path(kind, with_overrides({}, overrides), note=True), source)
