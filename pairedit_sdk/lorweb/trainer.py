"""Training a basis: LoRAs, keys and projections together, with the flow loss on analogies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow.schedule import row_noise
from pairedit_sdk.flow.seeds import derive_seed
from pairedit_sdk.lora.holding import holding
from pairedit_sdk.lorweb.analogies import Analogy, pictures_digest
from pairedit_sdk.lorweb.answering import sampled
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.delta import MEASURED, DeltaNetwork, DeltaShape, PairFeatures
from pairedit_sdk.lorweb.mixture import Mixture, require_width
from pairedit_sdk.lorweb.parts import LearnedInfo
from pairedit_sdk.lorweb.previews import preview
from pairedit_sdk.lorweb.rows import (
    AnalogyRows,
    Shown,
    batched,
    by_size,
    change_weights,
    require_edit_model,
)
from pairedit_sdk.lorweb.settings import BasisSettings
from pairedit_sdk.models.folders import located
from pairedit_sdk.models.image_encoder import encoder_for, load_encoder
from pairedit_sdk.models.prompts import prompt_conditions
from pairedit_sdk.models.protocol import Condition
from pairedit_sdk.training.loop import training_loop
from pairedit_sdk.training.task import Task
from pairedit_sdk.training.trackers import require_tracker

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.models.protocol import FlowModel

#: Noise levels that a step's σ are drawn from.
LEVELS = 1000
#: Longer gradients are cut to this, as LoRWeB's trainer does.
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class BasisStep:
    """What is known after a step; ``loss`` is a mean over latent elements."""

    step: int
    steps: int
    loss: float
    lr: float
    seconds: float


@holding
def train_basis(
    model: FlowModel,
    analogies: Sequence[Analogy],
    settings: BasisSettings | None = None,
    *,
    name: str,
    run_dir: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    on_step: Callable[[BasisStep], None] | None = None,
) -> LoRWeBBasis:
    """Train a basis of LoRAs that an image encoder mixes, as LoRWeB does.

    A step's analogies, noise and noise levels depend on the seed and the step's number alone: on a
    CPU a run is reproducible bit for bit, resumed or not. Under ``accelerate launch`` every process
    takes its part of each batch, and gradients are summed.

    Args:
        model: a frozen edit model; it is left exactly as it was.
        analogies: what to learn from.
        settings: ``None`` are the published ones.
        name: of the basis.
        run_dir: folder for settings, metrics and checkpoints.
        resume: go on from the newest checkpoint there.
        force: take the place of a run that is there.
        on_step: called after every step.

    Raises:
        UsageError: no analogies, a rank that does not fit, a run folder that is in use, a tracker
            that is not installed.
        BaseModelError: a model that takes no references, or an encoder that cannot be loaded.
        TrainingError: the loss is no longer finite.
        KeyboardInterrupt: Ctrl-C, after the step under way and its checkpoint.
    """
    settings = settings or BasisSettings()
    require_tracker(settings.track, folder=run_dir is not None)
    kontext = require_edit_model(model)
    if not len(analogies):
        raise UsageError("There are no analogies to learn from", expected="one or more")
    require_width(model, settings)
    encoder = load_encoder(settings.encoder or encoder_for(model.name), str(model.device))
    with training_loop(
        model, settings, name=name, run_dir=run_dir, resume=resume, force=force
    ) as loop:
        if resume and loop.folder is not None and loop.folder.checkpoints.newest() is None:
            raise UsageError(
                f"There is no checkpoint in {loop.folder.path} to go on from",
                next_step="Leave out --resume to begin",
            )
        rows = AnalogyRows(kontext, encoder, analogies, settings)
        rows.prepare()
        captions = _captions(model, rows, settings)
        delta = _delta_network(rows, captions[""])
        mixture = Mixture(model, settings, len(rows[0].query), delta)
        loop.run(BasisTask(mixture, rows, captions), on_step)
        about = (located(model.name), model.fingerprint, model.architecture, encoder.name)
        return mixture.finished(LearnedInfo(name, *about, settings, settings.steps))


class BasisTask(Task):
    """LoRWeB's task: the basis, on analogies.

    Args:
        mixture: the basis, attached.
        rows: the analogies.
        captions: embeddings of all captions.
    """

    settings: BasisSettings
    info = BasisStep
    gradient_norm = GRADIENT_NORM

    def __init__(
        self, mixture: Mixture, rows: AnalogyRows, captions: Mapping[str, Condition]
    ) -> None:
        self.mixture, self.rows, self.captions = mixture, rows, captions
        self.base, self.settings = mixture.base, mixture.settings
        self.parameters = mixture.parameters
        self.elements = rows[0].target.numel()

    def losses(self, draw: int, rows: Sequence[int]) -> Iterator[Mapping[str, torch.Tensor]]:
        """The flow loss of the rows, an item for each size of pictures."""
        settings, model = self.settings, self.base
        batch = settings.batch
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, draw))
        chosen = torch.randint(len(self.rows), (batch,), generator=generator).tolist()
        dropped = (torch.rand(batch, generator=generator) < settings.caption_dropout).tolist()
        levels = torch.randint(LEVELS, (batch,), generator=generator)
        shown = {k: self.rows[chosen[k]] for k in rows}
        said = {k: self.captions["" if dropped[k] else shown[k].caption] for k in rows}
        for group in by_size(shown):
            x_0 = torch.cat([shown[k].target for k in group]).to(model.device)
            noise = torch.cat([row_noise(x_0[:1], settings.seed, draw, k) for k in group])
            noise = noise.to(model.device)
            sigmas = model.sigmas(LEVELS, *model.image_size(x_0))[:-1]
            sigma = sigmas[levels[group].to(sigmas.device)]
            at = sigma.view(-1, 1, 1, 1)
            own = [shown[k] for k in group]
            condition = self._told([said[k] for k in group], own)
            self.mixture.mix(torch.stack([row.query for row in own]))
            v = model.velocity((1 - at) * x_0 + at * noise, sigma, condition, settings.guidance)
            error = (v.float() - (noise - x_0)).square()
            if settings.on_change:
                error = error * change_weights(own, settings.on_change).to(model.device)
            yield {"loss": error.mean() * len(group) / batch}

    def _told(self, said: Sequence[Condition], shown: Sequence[Shown]) -> Condition:
        return self.mixture.condition(batched(said, shown, self.base.device), shown)

    def digest(self) -> str:
        """A short hash of the analogies: of a folder's names, captions and file sizes, or of the
        pictures themselves."""
        known = getattr(self.rows.analogies, "digest", None)
        if known is not None:
            return str(known)
        return pictures_digest(self.rows.analogies)

    @torch.no_grad()
    def preview(self) -> Image.Image:
        """Some of the analogies, and what is made of b as the basis now is."""
        model, settings = self.base, self.settings

        def made(number: int) -> Image.Image:
            row = self.rows[number]
            said = self.captions["" if settings.caption_dropout == 1 else row.caption]
            self.mixture.mix(row.query[None])
            condition = self._told([said], [row])
            return sampled(model, condition, row.target.shape, layout=settings.layout)

        return preview(self.rows, made)


def _delta_network(rows: AnalogyRows, said: Condition) -> DeltaNetwork | None:
    """As it starts: every token is the mean of the empty prompt's."""
    settings = rows.settings
    if not settings.delta.tokens:
        return None
    seen = [rows[k].features for k in range(0, len(rows), max(1, len(rows) // MEASURED))]
    features = PairFeatures.joined([one for one in seen if one is not None])
    pooled = said.extras.get("pooled")
    shape = DeltaShape(
        tokens=settings.delta.tokens,
        width=settings.delta.width,
        layers=settings.delta.layers,
        embedding=features.whole.shape[-1],
        patches=features.patches.shape[-2],
        features=features.patches.shape[-1],
        prompt=said.prompt_embeds.shape[-1],
        pooled=0 if pooled is None else pooled.shape[-1],
    )
    mean = said.prompt_embeds.float().mean(dim=(0, 1)).cpu()
    network = DeltaNetwork(shape, mean, settings.seed)
    network.measure(features)
    return network


def _captions(
    model: FlowModel, rows: AnalogyRows, settings: BasisSettings
) -> Mapping[str, Condition]:
    """The embeddings of all captions, so that the text encoders are not needed in training."""
    given = getattr(rows.analogies, "captions", None)
    texts = given if given is not None else [analogy.caption for analogy in rows.analogies]
    return prompt_conditions(model, {""} if settings.caption_dropout == 1 else {*texts, ""})
