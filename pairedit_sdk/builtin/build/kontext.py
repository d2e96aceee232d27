"""Training of the built-in Kontext base: a face, and an instruction that says what to change.

It starts from the built-in model and learns, with the usual flow loss on unlimited drawn pairs, to
look at condition images. Steps take turns, in the shares of :mod:`~.turns`:

- "one": one picture to be changed as the instruction says, or, with nothing said, to be left as it
  is;
- "three": an analogy, b with a and a′ behind it, two pictures of another person that show the same
  change. In half of the rows nothing is said, so that the change must be read from them;
- "grid": four faces, every one of which is to be changed, so that larger pictures are known;
- "caption": no picture and a caption. The velocity aimed at is that of a frozen teacher, the model
  at the start, with the same guidance: against drawn faces alone it would forget what its guidance
  input means, which was distilled into it.

The changes that LoRWeB's tests keep back (``analogies.UNSEEN``) are in no analogy.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pairedit_sdk.builtin.build.ahead import Ahead, workers_for
from pairedit_sdk.builtin.build.flow import CaptionedFlow
from pairedit_sdk.builtin.build.flow_data import GUIDANCE
from pairedit_sdk.builtin.build.kontext_data import KontextData
from pairedit_sdk.builtin.build.loop import Rates, Stage, half_precision, on_device
from pairedit_sdk.models.half_products import half_products
from pairedit_sdk.models.tokens import pack, position_ids


def train_kontext(
    model: CaptionedFlow,
    data: KontextData,
    folder: Path,
    *,
    minutes: float,
    teacher: CaptionedFlow | None = None,
    lr: float = 6e-4,
    parent: str = "",
) -> int:
    """Rectified flow on the noisy picture's tokens, beside those of the pictures looked at.

    Args:
        model: trained in place; its averaged weights stay in it.
        data: where the batches come from.
        folder: of the checkpoint.
        minutes: time budget.
        teacher: a model of the same latents and words, whose drawing from captions is kept; if
            there is none, captions are learned from the drawn faces, and guidance means nothing.
        lr: AdamW's; Muon's is twice that.
        parent: see :class:`Stage`.

    Returns:
        The steps trained, earlier runs included.
    """
    model.to(data.device)
    for probe in (model.image_probe, model.text_probe):
        probe.requires_grad_(False)
    if teacher is not None:
        teacher.to(data.device).eval().requires_grad_(False)
    rates = Rates(lr=lr, matrix_lr=2 * lr, ema=0.999, decay_from=0.3)
    stage = Stage("kontext", model, folder, minutes=minutes, rates=rates, parent=parent)

    def loss(step: int) -> dict[str, torch.Tensor]:
        plan = plans(step)
        example, (ids, pooled) = data.example(plan), data.text(plan)
        x_0, count = example.target, len(plan.texts)
        noise = torch.randn(x_0.shape, device=data.device)
        sigma = on_device(_levels(count), data.device)
        at = sigma[:, None, None, None]
        tokens, places = _packed([(1 - at) * x_0 + at * noise, *example.references])
        guidance = torch.empty(count, device=data.device).uniform_(*GUIDANCE)
        given = (tokens, sigma, ids, pooled, guidance, on_device(places, data.device))
        aim = pack(noise - x_0)
        with half_precision(data.device):
            if teacher is not None and plan.kind == "caption":
                with torch.no_grad():
                    aim = teacher(*given).float()
            v = model(*given)[:, : aim.shape[1]]
        squared = (v.float() - aim).square()
        error = (squared * pack(example.weights)).mean()
        return {"loss": error, plan.kind: squared.mean()}

    ahead = Ahead(data.plan, stage.step, workers_for(data.device))
    taught = [model] if teacher is None else [model, teacher]
    with half_products(nn.ModuleList(taught), data.device), ahead as plans:
        stage.run(loss)
    stage.use_average()
    model.forget()
    return stage.step


def _levels(count: int) -> torch.Tensor:
    """σ of each row, stratified and denser in the middle, as the flow model's [count]."""
    u = (torch.arange(count) + torch.rand(count)) / count
    return u + 0.15 * torch.sin(2 * torch.pi * u) / torch.pi


def _packed(pictures: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [B, T, 4C] of pictures of one size [B, C, h, w], and their places [T, 3]."""
    height, width = pictures[0].shape[2:]
    places = [position_ids(height // 2, width // 2, number) for number in range(len(pictures))]
    return torch.cat([pack(picture) for picture in pictures], dim=1), torch.cat(places)
