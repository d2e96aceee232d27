"""Learning a user's own edit as an element of a LoRWeB basis, under the basis's own references.

The mix answers an analogy a : a′ :: b on a model that sees all three pictures. So the edit is
learned where it will act: one of its pairs is b and b′, another one a and a′, in the layout
that the basis was trained with, and at the share of the mix that the router gives such an analogy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk import __version__
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow.losses import flowedit_state, flowedit_target, linear_progress, semantic_loss
from pairedit_sdk.flow.schedule import row_noise, standard_noising, stratified
from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.lora.adapters import check_rank
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lorweb.analogies import Analogy, pictures_digest
from pairedit_sdk.lorweb.answering import sampled
from pairedit_sdk.lorweb.own_element import OwnElement
from pairedit_sdk.lorweb.previews import preview
from pairedit_sdk.lorweb.rows import AnalogyRows, batched, by_size, require_edit_model
from pairedit_sdk.lorweb.settings import OwnEditSettings
from pairedit_sdk.models.folders import located
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.models.prompts import prompt_condition
from pairedit_sdk.pairs.pair_set import Pairs, PairSet, as_pairs
from pairedit_sdk.training.loop import training_loop
from pairedit_sdk.training.task import Task
from pairedit_sdk.training.trackers import require_tracker

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.lorweb.basis import LoRWeBBasis
    from pairedit_sdk.models.protocol import Condition, FlowModel


@dataclass(frozen=True)
class OwnEditStep:
    """What is known after a step; ``loss`` is a mean over latent elements."""

    step: int
    steps: int
    loss: float
    lr: float
    seconds: float


@holding
def learn_edit(
    model: FlowModel,
    basis: LoRWeBBasis,
    pairs: Pairs,
    settings: OwnEditSettings | None = None,
    *,
    name: str,
    run_dir: str | Path | None = None,
    resume: bool = False,
    on_step: Callable[[OwnEditStep], None] | None = None,
) -> LoRWeBBasis:
    """Learn the change that the pairs show as one more element of a basis.

    Args:
        model: the frozen edit model that the basis was trained on; it is left exactly as it was.
        basis: it is not changed.
        pairs: before/after pictures, usually two or three: a set, a folder, or a list of
            (before, after). A single pair is its own exemplar.
        settings: ``None`` are the defaults.
        name: of the edit.
        run_dir: folder for settings, metrics, checkpoints and previews.
        resume: go on from the newest checkpoint there.
        on_step: called after every step.

    Returns:
        The basis with the edit, which its router finds as it finds one that
        :meth:`LoRWeBBasis.join` adds.

    Raises:
        UsageError: no pairs, a name that the basis has already, a rank that does not fit, a run
            folder that is in use, a tracker that is not installed.
        BaseModelError: a model that takes no references, or an encoder that cannot be loaded.
        EditError: another model than the basis's, or a basis that mixes all alike.
        TrainingError: the loss is no longer finite.
        KeyboardInterrupt: Ctrl-C, after the step under way and its checkpoint.
    """
    settings = settings or OwnEditSettings()
    require_tracker(settings.track, folder=run_dir is not None)
    kontext = require_edit_model(model)
    basis.require_base(model, siblings=False)  # the edit is to join it
    if name in basis.elements:
        raise UsageError(
            f"The basis {basis.info.name} has an element {name} already",
            next_step="Choose another name, or take it out first",
        )
    pair_set = as_pairs(pairs)
    check_rank(model.transformer, model.lora_targets(settings.targets), settings.rank)
    encoder = load_encoder(basis.info.encoder, str(model.device))
    asked = basis.asked(encoder, pair_set)
    with training_loop(model, settings, name=name, run_dir=run_dir, resume=resume) as loop:
        known, unseen = own_analogies(pair_set), own_analogies(pair_set, hidden=True)
        rows = AnalogyRows(kontext, encoder, known, basis.info.settings)
        hidden = AnalogyRows(kontext, encoder, unseen, basis.info.settings)
        said = prompt_condition(model, "")
        element = OwnElement(model, basis, settings)
        shares = own_shares(basis, rows, *asked)
        loop.run(OwnEditTask(element, (rows, hidden), shares, said), on_step)
        gain = settings.gain if len(pair_set) > 1 else 1.0
        edit = Edit(element.finished(gain), _info(model, pair_set, settings, name, gain))
    return basis.join(edit, *asked)


def own_analogies(pairs: PairSet, *, hidden: bool = False) -> list[Analogy]:
    """Every pair as b and b′, with each of the others as a and a′; a single pair is
    both.

    Args:
        pairs: of the edit.
        hidden: show no change, a in the place of a′.
    """
    return [
        Analogy(shown.before, shown.before if hidden else shown.after, asked.before, asked.after)
        for asked in pairs
        for shown in pairs
        if shown is not asked or len(pairs) == 1
    ]


def own_shares(
    basis: LoRWeBBasis, rows: AnalogyRows, queries: torch.Tensor, nothing: torch.Tensor
) -> torch.Tensor:
    """The coefficients of each of :func:`own_analogies`, those of the own edit the last, [R, W, E].

    The own edit's key is there that of the pairs but for the one that is shown as a and a′: so
    the share is what an exemplar gets that the key does not know, as later ones are.

    Args:
        basis: without the edit.
        rows: of all the pairs' analogies, in their order.
        queries: of the pairs, as ``basis.asked`` gives them, [P, Q].
        nothing: the same of no change, [P, Q].
    """
    count = len(queries)
    shown = [j for i in range(count) for j in range(count) if j != i or count == 1]
    found = []
    for number, j in enumerate(shown):
        known = [k for k in range(count) if k != j] or [j]
        key = basis.key_for(queries[known], nothing[known])
        found.append(basis.coefficients(rows[number].query, key))
    return torch.stack(found)


class OwnEditTask(Task):
    """The task of an own edit: one LoRA, on the analogies that its pairs make.

    Args:
        element: the LoRA and the basis, attached.
        rows: the analogies, and the same with the change hidden.
        shares: the coefficients of each of them, [R, W, E].
        said: the empty prompt.
    """

    settings: OwnEditSettings
    info = OwnEditStep

    def __init__(
        self,
        element: OwnElement,
        rows: tuple[AnalogyRows, AnalogyRows],
        shares: torch.Tensor,
        said: Condition,
    ) -> None:
        self.element, self.shares, self.said = element, shares, said
        self.rows, self.hidden = rows
        self.base, self.settings = element.base, element.settings
        self.parameters = element.parameters
        self.elements = self.rows[0].target.numel()
        # The after picture of a single pair would be there to be copied.
        self.hiding = self.settings.hidden if len(self.rows) > 1 else 1.0

    def losses(self, draw: int, rows: Sequence[int]) -> Iterator[Mapping[str, torch.Tensor]]:
        """The loss of the rows, an item for each size of pictures."""
        settings, device = self.settings, self.base.device
        batch = settings.batch
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, draw))
        chosen = torch.randint(len(self.rows), (batch,), generator=generator).tolist()
        picks = torch.tensor(stratified(batch, settings.sigma_count, generator))
        places = torch.rand(batch, generator=generator)
        hide = (torch.rand(batch, generator=generator) < self.hiding).tolist()
        shown = {k: (self.hidden if hide[k] else self.rows)[chosen[k]] for k in rows}
        for group in by_size(shown):
            own = [shown[k] for k in group]
            x_b = torch.cat([row.target for row in own]).to(device)
            levels = self.base.sigmas(settings.sigma_count, *self.base.image_size(x_b))[:-1]
            sigma = levels[picks[group].to(levels.device)]
            noise = torch.cat(
                [
                    row_noise(row.target, settings.seed, draw, k)
                    for k, row in zip(group, own, strict=True)
                ]
            ).to(device)
            condition = batched([self.said] * len(own), own, self.base.device)
            shares = self.shares[[chosen[k] for k in group]]
            loss = self._loss(x_b, noise, sigma, places[group].to(device), condition, shares)
            yield {"loss": loss * len(group) / batch}

    def _loss(
        self,
        x_b: torch.Tensor,
        noise: torch.Tensor,
        sigma: torch.Tensor,
        place: torch.Tensor,
        condition: Condition,
        shares: torch.Tensor,
    ) -> torch.Tensor:
        """Of rows of one size.

        What is drawn without the edit is x_A, the first picture that is looked at, or in a grid all
        of it. The state is x_A's at the same noise and, as the draw goes on, more and more x_B's.
        """
        settings, guidance = self.settings, self.settings.guidance
        if settings.objective == "flow":
            noised = standard_noising(x_b, noise, sigma)
            state, target, weight = noised.x, noised.velocity, None
        else:
            x_a = condition.references[0]
            noised = standard_noising(x_a, noise, sigma)
            linear = linear_progress(sigma, 1.0)
            behind, ahead = settings.lag * linear, settings.lead * (1 - linear)
            progress = linear - behind + place * (behind + ahead)
            self.element.rest()
            with torch.no_grad():
                plain = self.base.velocity(noised.x, sigma, condition, guidance).float()
            state = flowedit_state(noised, x_a, x_b, progress)
            target = flowedit_target(plain, x_a, x_b, sigma, progress)
            weight = sigma.square()
        self.element.mix(shares)
        v = self.base.velocity(state, sigma, condition, guidance).float()
        return semantic_loss(v, target, weight)

    def digest(self) -> str:
        """A short hash of the pairs, of the basis and of how it looks at pictures."""
        basis, digest = self.element.basis, hashlib.sha256()
        digest.update(pictures_digest(self.rows.analogies).encode())
        digest.update(json.dumps(basis.info.settings.as_dict(), sort_keys=True).encode())
        halves = [half for one in basis.layers.values() for half in (one.down, one.up)]
        for own in basis.joined:
            halves += [half for one in own.edit.layers.values() for half in (one.down, one.up)]
        for part in (self.shares, *halves):
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def preview(self) -> Image.Image:
        """Some of the pairs as analogies, and what is made of b as the edit now is."""
        model, layout = self.base, self.element.basis.info.settings.layout

        def made(number: int) -> Image.Image:
            row = self.rows[number]
            self.element.mix(self.shares[[number]])
            condition = batched([self.said], [row], model.device)
            return sampled(model, condition, row.target.shape, layout=layout)

        return preview(self.rows, made)


def _info(
    model: FlowModel, pairs: PairSet, settings: OwnEditSettings, name: str, gain: float
) -> EditInfo:
    # No time of day in here: the same run gives the same basis.
    return EditInfo(
        name=name,
        base=located(model.name),
        architecture=model.architecture,
        base_fingerprint=model.fingerprint,
        precision=model.precision,
        guidance=settings.guidance if model.takes_guidance else 0.0,
        resolution=settings.resolution or model.resolution,
        rank=settings.rank,
        steps=settings.steps,
        pairs=[pair.name for pair in pairs],
        settings=settings.as_dict(),
        unit_scale=gain,
        sdk_version=__version__,
    )
