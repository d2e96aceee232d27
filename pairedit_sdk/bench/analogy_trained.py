"""What the benchmark of analogies trains, and how that answers: in passes of several analogies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pairedit_sdk.bench.analogy_world import Asked, shuffled
from pairedit_sdk.builtin.build.loop import half_products
from pairedit_sdk.editing.edit_latents import edit_latents
from pairedit_sdk.edits.guidance import GUIDANCE
from pairedit_sdk.errors import UsageError
from pairedit_sdk.images.image import resized, to_image, to_tensor
from pairedit_sdk.lorweb.answering import answer_rows
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.rows import AnalogyRows
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.lorweb.shown import shown_change
from pairedit_sdk.lorweb.trainer import train_basis
from pairedit_sdk.models.image_encoder import load_encoder

if TYPE_CHECKING:
    from pairedit_sdk.lorweb.relations import Relations
    from pairedit_sdk.models.protocol import FlowModel

#: Analogies that share a pass.
TOGETHER = 16
#: What is trained, and how its settings differ from the basis's.
TRAINED = ("single", "basis", "delta", "both", "tanh", "uniform")
#: How a trained variant is asked: b′ is drawn from noise, or b is edited; with a coarse caption,
#: without words, or without words and with the example of another attribute.
WAYS = ("drawn coarse", "drawn silent", "drawn shuffled", "edited coarse", "edited silent")


def variant_settings(settings: BasisSettings, variant: str, seed: int) -> BasisSettings:
    """The settings of a trained variant, from those of "both": LoRAs of equal size in all.

    Raises:
        UsageError: a layout of a grid, whose answers are not drawn in one pass; or settings that
            do not go together in this variant.
    """
    if settings.layout == "grid":
        raise UsageError(
            "The benchmark of analogies draws b′ alone",
            expected="layout=sequence or layout=alone",
            got="layout=grid",
        )
    changed: dict[str, Any] = {"seed": seed}
    if variant not in ("delta", "both"):
        changed["delta_tokens"] = 0
    if variant == "single":
        # Its alpha is its rank; a basis of that alpha is this very LoRA where it mixes all alike.
        changed |= {"count": 1, "rank": settings.count * settings.rank}
    elif variant == "delta":
        changed |= {"count": 0, "layout": "alone"}
    elif variant in ("tanh", "uniform"):
        changed |= {"activation": variant}
    return settings.with_values(**changed)


def trained(
    model: FlowModel,
    world: Callable[[], Relations],
    settings: BasisSettings,
    name: str,
    keep: Path | None,
) -> LoRWeBBasis:
    """A variant, trained; or read where an earlier run has kept it.

    Args:
        model: the edit model.
        world: gives the analogies; called only if there is something to train.
        settings: of this variant.
        name: of the file.
        keep: the folder of files, or ``None`` to keep nothing. A training that was stopped there
            goes on.

    Raises:
        UsageError: the file there is of other settings.
    """
    if keep is None:
        return _train(model, world(), settings, name, None)
    path = keep / f"{name}.safetensors"
    if path.exists():
        basis = LoRWeBBasis.load(path)
        if basis.info.settings.as_dict() != settings.as_dict():
            raise UsageError(
                f"{path} was trained with other settings",
                next_step="Give another --keep, or take the file away",
            )
        return basis
    run = keep / "runs" / name
    basis = _train(model, world(), settings, name, run)
    basis.save(path)
    return basis


def _train(
    model: FlowModel, world: Relations, settings: BasisSettings, name: str, run: Path | None
) -> LoRWeBBasis:
    resume = run is not None and any((run / "checkpoints").glob("*"))
    with half_products(model.transformer, str(model.device)):
        return train_basis(
            model, world, settings, name=name, run_dir=run, resume=resume, force=not resume
        )


def answers(
    model: FlowModel,
    basis: LoRWeBBasis | None,
    asked: Sequence[Asked],
    prompts: Sequence[str],
    settings: BasisSettings,
    *,
    steps: int,
    seed: int,
) -> torch.Tensor:
    """b′ of every analogy from noise, as large as b [N, 3, H, W]; ``None`` is the model alone."""
    encoder = load_encoder(model.name if basis is None else basis.info.encoder)
    rows = AnalogyRows(model, encoder, [one.analogy for one in asked], settings)
    found = []
    for start in range(0, len(asked), TOGETHER):
        numbers = range(start, min(start + TOGETHER, len(asked)))
        found.append(
            answer_rows(
                model,
                basis,
                [rows[k] for k in numbers],
                [prompts[k] for k in numbers],
                layout=settings.layout,
                steps=steps,
                guidance=GUIDANCE,
                seed=seed,
            )
        )
    drawn, size = torch.cat(found), asked[0].analogy.b.size
    if drawn.shape[:1:-1] == size:
        return drawn
    return torch.cat([to_tensor(resized(to_image(one[None]), size)) for one in drawn])


@torch.no_grad()
def edited(
    model: FlowModel, basis: LoRWeBBasis, asked: Sequence[Asked], prompts: Sequence[str], seed: int
) -> torch.Tensor:
    """b′ of every analogy as ``pairedit analogy`` makes it: b, edited by FlowEdit."""
    encoder = load_encoder(basis.info.encoder)
    found = []
    for one, prompt in zip(asked, prompts, strict=True):
        shown = one.analogy
        change = shown_change(
            model, basis, shown.a, shown.a_prime, shown.b, encoder=encoder, prompt=prompt
        )
        x = model.encode(to_tensor(shown.b)).float()
        found.append(model.decode(edit_latents(model, x, change, seed=seed)).cpu())
    return torch.cat(found)


def asked_way(
    model: FlowModel, basis: LoRWeBBasis, asked: Sequence[Asked], way: str, *, steps: int, seed: int
) -> torch.Tensor:
    """The answers of a trained variant, asked in one of :data:`WAYS`.

    Args:
        model: the edit model.
        basis: the variant.
        asked: the analogies.
        way: see :data:`WAYS`.
        steps: of drawing.
        seed: of the noise.
    """
    how, told = way.split()
    if told == "shuffled":
        asked = shuffled(asked)
    prompts = [one.coarse if told == "coarse" else "" for one in asked]
    with half_products(model.transformer, str(model.device)):
        if how == "edited":
            return edited(model, basis, asked, prompts, seed)
        return answers(model, basis, asked, prompts, basis.info.settings, steps=steps, seed=seed)
