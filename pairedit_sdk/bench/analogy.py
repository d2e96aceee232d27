"""``pairedit bench analogy``: a learned basis against one LoRA, words, and the user's own edits.

What is trained is trained on the same drawn analogies, for as many steps and with as many
parameters in its LoRAs, and asked for analogies of people it has not seen: of changes that it was
trained on, and of changes that it was not. The user's own edits are learned by their recipe, from
three pairs for each of the changes asked for.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.bench.analogy_answers import Answered, by_found_words, own_edits, pictures_of
from pairedit_sdk.bench.trained_edits import plain_mean
from pairedit_sdk.builtin.faces.analogies import SEEN, UNSEEN, drawn_analogy
from pairedit_sdk.edits.guidance import GUIDANCE
from pairedit_sdk.images import metrics
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb.analogies import Analogy
from pairedit_sdk.lorweb.answering import answer_with
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.lorweb.trainer import train_basis
from pairedit_sdk.models.image_encoder import load_encoder

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import FlowModel

Change = tuple[str, str]
VARIANTS = ("none", "instruction", "words", "single", "basis", "tanh", "uniform", "own-edits")
#: Those of the training's changes that are asked for, one of each kind.
ASKED: tuple[Change, ...] = (
    ("glasses", "round"),
    ("hat", "beanie"),
    ("hair_color", "red"),
    ("style", "night"),
    ("beard", "full"),
    ("lipstick", "red"),
    ("mouth", "smiling"),
    ("age", "old"),
)
#: Passes that are timed.
TIMED = 20


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        seen: changes of the training that are asked for.
        unseen: changes that are kept back.
        seeds: how many; each has its own training, and its own noise.
        each: analogies of every change in the training.
        asked: analogies of every change that are answered.
        settings: of the basis; the other variants follow from them.
        steps: Euler steps of an answer.
        recipe: what the user's own edits are learned with, three pairs each.
        variants: those to be compared.
    """

    seen: Sequence[Change] = ASKED
    unseen: Sequence[Change] = UNSEEN
    seeds: int = 3
    each: int = 16
    asked: int = 4
    settings: BasisSettings = BasisSettings(  # noqa: RUF009  # frozen
        count=8,
        rank=4,
        alpha=32.0,
        key_width=32,
        targets="attention",
        layout="sequence",
        unit_embeddings=True,
        start="difference",
        lr=2e-3,
        steps=600,
        checkpoint_every=0,
    )
    steps: int = 14
    recipe: str = "mini"
    variants: Sequence[str] = VARIANTS

    @property
    def parts(self) -> int:
        """How often :func:`run` reports."""
        return self.seeds * len(self.variants) + 1


SMALL = Plan(
    seen=ASKED[:2],
    unseen=UNSEEN[:2],
    seeds=1,
    each=2,
    asked=2,
    steps=8,
    settings=Plan.settings.with_values(count=4, alpha=16.0, steps=40),
)


def run(
    model: FlowModel,
    plain: FlowModel,
    plan: Plan,
    on_part: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """Train every variant for every seed and ask it.

    Args:
        model: the built-in Kontext model.
        plain: the built-in model, for the user's own edits.
        plan: what to do.
        on_part: called after every variant.

    Returns:
        ``summary``: for each variant ``seen`` and ``unseen``, each with ``accuracy``, ``pooled``
        and ``preservation_db``; ``rows``: the same by seed and change; ``cost``: of a pass of the
        model with the mix, as a ratio to one with an ordinary LoRA of the same rank, and of mixing.
    """
    rows: list[dict[str, Any]] = []
    cost: dict[str, float] = {}
    for seed in range(plan.seeds):
        drawn = [drawn_analogy(c, i, f"train-{seed}") for c in SEEN for i in range(plan.each)]
        analogies = [pictures_of(analogy) for analogy in drawn]
        for variant in plan.variants:
            with tempfile.TemporaryDirectory() as folder:
                answered, basis = _variant(model, plain, plan, variant, analogies, seed, folder)
                if basis is not None and variant == "basis" and not cost:
                    cost = _cost(model, basis)
                    on_part("cost")
                for kind, changes in (("seen", plan.seen), ("unseen", plan.unseen)):
                    for change in changes:
                        drawn = [drawn_analogy(change, i, "asked") for i in range(plan.asked)]
                        figures = _scored(model, [pictures_of(a) for a in drawn], answered)
                        about = {"seed": seed, "variant": variant, "kind": kind}
                        rows.append({**about, "change": "=".join(change), **figures})
            on_part(f"{variant}, seed {seed}")
    return {"summary": summary(rows), "rows": rows, "cost": cost}


def _variant(
    model: FlowModel,
    plain: FlowModel,
    plan: Plan,
    variant: str,
    analogies: Sequence[Analogy],
    seed: int,
    folder: str,
) -> tuple[Answered, LoRWeBBasis | None]:
    """Something that answers an analogy, trained if need be."""
    settings = replace(plan.settings, seed=seed)
    layout = settings.layout

    def drawn(mix: Edit | None, asked: Analogy, prompt: str) -> Image.Image:
        return answer_with(
            model,
            mix,
            asked.a,
            asked.a_prime,
            asked.b,
            prompt=prompt,
            layout=layout,
            steps=plan.steps,
            guidance=GUIDANCE,
            seed=seed,
        )

    if variant in ("none", "instruction"):
        return (lambda q: drawn(None, q, q.caption if variant == "instruction" else "")), None
    if variant == "words":
        return by_found_words(model, seed), None
    if variant == "own-edits":
        return own_edits(plain, plan.seen, plan.recipe, seed, folder), None
    changed: dict[str, Any] = {}
    if variant == "single":
        # Its alpha is its rank; a basis of that alpha is this very LoRA where it mixes all alike.
        changed = {"count": 1, "rank": settings.count * settings.rank}
    elif variant != "basis":
        changed = {"activation": variant}
    # The change is to be read from a and a′: the words would say it.
    settings = replace(settings, caption_dropout=1.0, **changed)
    basis = train_basis(model, analogies, settings, name=variant)
    encoder = load_encoder(basis.info.encoder)

    def answered(asked: Analogy) -> Image.Image:
        query = basis.embed(encoder, asked.a, asked.a_prime, asked.b)
        return drawn(basis.mixed(basis.coefficients(query)), asked, "")

    return answered, basis


@torch.no_grad()
def _scored(model: FlowModel, asked: Sequence[Analogy], answered: Answered) -> dict[str, float]:
    outs = torch.cat([to_tensor(answered(analogy)) for analogy in asked])
    b, b_prime = (
        torch.cat([to_tensor(getattr(q, side)) for q in asked]) for side in ("b", "b_prime")
    )
    rb, wanted = (model.decode(model.encode(pictures).float()).cpu() for pictures in (b, b_prime))
    mask = metrics.edit_mask(b, b_prime)
    return {
        "accuracy": float(metrics.edit_accuracy(outs, rb, wanted, mask).nanmean()),
        "pooled": metrics.pooled_accuracy(outs, rb, wanted, mask),
        "preservation_db": float(metrics.preservation_db(outs, rb, mask).nanmean()),
    }


@torch.no_grad()
def _cost(model: FlowModel, basis: LoRWeBBasis) -> dict[str, float]:
    """Seconds of a pass with the mix and with an ordinary LoRA of its rank, taking turns."""
    query = torch.randn(
        basis.router.projection.shape[-1], generator=torch.Generator().manual_seed(0)
    )
    begun = time.perf_counter()
    mix = basis.mixed(basis.coefficients(query))
    mixing = time.perf_counter() - begun
    plain = {
        name: LoraLayer(torch.randn_like(layer.down), torch.randn_like(layer.up))
        for name, layer in mix.layers.items()
    }
    x = torch.randn(1, *model.latent_shape(model.resolution, model.resolution)).to(model.device)
    condition = replace(model.condition(""), references=(x,) * 3)
    seconds: dict[str, list[float]] = {"mix": [], "single": []}
    for _ in range(TIMED):
        for name, layers in (("mix", mix.layers), ("single", plain)):
            with attached(model.transformer, {name: layers}):
                begun = time.perf_counter()
                # Reading a number waits for a GPU to be done.
                float(model.velocity(x, torch.tensor(0.5), condition, GUIDANCE).sum())
                seconds[name].append(time.perf_counter() - begun)
    one = median(seconds["single"])
    return {
        "pass_ratio": median(seconds["mix"]) / one,
        "pass_seconds": one,
        "mixing_seconds": mixing,
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Means over changes and seeds, by variant and kind of change."""
    figures = ("accuracy", "pooled", "preservation_db")
    result: dict[str, dict[str, dict[str, float]]] = {}
    for variant in dict.fromkeys(row["variant"] for row in rows):
        result[variant] = {}
        for kind in ("seen", "unseen"):
            own = [row for row in rows if row["variant"] == variant and row["kind"] == kind]
            result[variant][kind] = {f: plain_mean([row[f] for row in own]) for f in figures}
    return result
