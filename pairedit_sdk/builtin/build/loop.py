"""One training loop for every part: a time budget, a moving average, checkpoints, resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pairedit_sdk.builtin.build.optim import optimizers
from pairedit_sdk.io.files import (
    load_optimizer_tensors,
    optimizer_tensors,
    read_tensors,
    write_json,
    write_tensors,
)

CHECKPOINT_SECONDS = 180.0
LOG_SECONDS = 20.0


def on_cuda(device: str) -> bool:
    """Whether ``device`` is an NVIDIA GPU."""
    return torch.device(device).type == "cuda"


def on_device(values: torch.Tensor | NDArray[np.generic], device: str) -> torch.Tensor:
    """A copy of values in the CPU's memory, or the same memory if ``device`` is the CPU.

    A plain copy to a GPU waits until everything that was started before is done, and then nothing
    is left for it to do while the next step is started. A copy from pinned memory does not wait.
    """
    tensor = torch.as_tensor(values)
    if on_cuda(device) and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def half_precision(device: str) -> torch.autocast:
    """bfloat16 where it is faster; on a CPU, parts this small lose more by converting.

    The weights, their average and the optimiser's state stay float32 everywhere.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu")


@dataclass(frozen=True)
class Rates:
    """How fast a part is trained.

    Attributes:
        lr: AdamW's peak learning rate; warmed up over 100 steps, constant until ``decay_from`` of
            the budget, then cosine to nearly zero.
        matrix_lr: Muon's for the matrices; 0 leaves everything to AdamW.
        weight_decay: of both.
        ema: decay of the moving average of the weights, in each step.
        decay_from: share of the budget after which the learning rate falls.
    """

    lr: float
    matrix_lr: float = 0.0
    weight_decay: float = 0.01
    ema: float = 0.999
    decay_from: float = 0.4


class Stage:
    """A part in training.

    Args:
        name: the checkpoint's name in ``folder``.
        module: what is trained.
        minutes: the whole stage's budget; time spent before a resume counts.
        rates: learning rates and their course.
        parent: what the stage starts from, in a word. A checkpoint with another parent is not
            resumed: its weights would undo what the parent has learned since.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        folder: Path,
        *,
        minutes: float,
        rates: Rates,
        parent: str = "",
    ) -> None:
        self.name, self.module, self.folder, self.parent = name, module, folder, parent
        self.seconds, self.rates = minutes * 60, rates
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.optimizers = optimizers(self.parameters, rates.lr, rates.matrix_lr, rates.weight_decay)
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.step, self.elapsed = 0, 0.0
        self._resume()

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        return min(1.0, self.elapsed / self.seconds) if self.seconds else 1.0

    def run(self, loss: Callable[[int], dict[str, torch.Tensor]]) -> None:
        """Train until the budget is spent. ``loss(step)`` returns terms; "loss" is minimised.

        A GPU runs behind, so the clock measures how long it takes to start a step's kernels. The
        driver's queue holds about a thousand of them, less than a step or two: whoever starts more
        waits, so over more than a few steps the clock is right without waiting in each.
        """
        if self.elapsed >= self.seconds:
            return
        last = saved = logged = time.monotonic()
        self.module.train()
        while self.elapsed < self.seconds:
            for optimizer, peak in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = peak * self._lr_factor()
            torch.manual_seed(self.step)
            terms = loss(self.step)
            self.module.zero_grad(set_to_none=True)
            terms["loss"].backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            for optimizer, _ in self.optimizers:
                optimizer.step()
            self.step += 1
            self._average()
            now = time.monotonic()
            # A laptop that slept, or a paused process, has not trained meanwhile.
            self.elapsed += min(now - last, 10.0)
            last = now
            # The last too: with a budget of minutes, a part can be done before the first is due.
            if now - logged > LOG_SECONDS or self.elapsed >= self.seconds:
                logged = now
                self._log(terms)
            if now - saved > CHECKPOINT_SECONDS:
                saved = now
                self.save()
        self.save()

    def _log(self, terms: dict[str, torch.Tensor]) -> None:
        shown = " ".join(f"{k} {float(v.detach()):.4f}" for k, v in terms.items())
        rate = self.step / self.elapsed if self.elapsed else math.inf
        print(
            f"{self.name} {self.elapsed / 60:.1f} min step {self.step} ({rate:.2f}/s) {shown}",
            flush=True,
        )

    def use_average(self) -> None:
        """Put the averaged weights into the module."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.average[name])
        self.module.eval()

    def save(self) -> None:
        """Write the weights, their average and the optimiser's state."""
        names = {id(p): n for n, p in self.parameters.items()}
        tensors = {f"weight/{n}": p.detach() for n, p in self.parameters.items()}
        tensors |= {f"average/{n}": p for n, p in self.average.items()}
        for optimizer, _ in self.optimizers:
            state = optimizer_tensors(optimizer, names)
            tensors |= {f"optimizer/{n}": t for n, t in state.items()}
        progress = {"step": self.step, "elapsed": self.elapsed, "parent": self.parent}
        write_tensors(self._path, tensors, {"state": json.dumps(progress)})
        write_json(self._path.with_suffix(".json"), progress)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.safetensors"

    def _resume(self) -> None:
        if not self._path.exists():
            return
        tensors, metadata = read_tensors(self._path)
        state = json.loads(metadata["state"])
        if state.get("parent", "") != self.parent:
            print(f"{self.name}: begun anew, as what it starts from has changed", flush=True)
            return
        self.step, self.elapsed = state["step"], state["elapsed"]
        groups: dict[str, dict[str, torch.Tensor]] = {"weight": {}, "average": {}, "optimizer": {}}
        for key, value in tensors.items():
            kind, name = key.split("/", 1)
            groups[kind][name] = value
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(groups["weight"][name])
                self.average[name] = groups["average"][name].to(parameter.device)
        for optimizer, _ in self.optimizers:
            own = {id(p) for group in optimizer.param_groups for p in group["params"]}
            mine = {n: p for n, p in self.parameters.items() if id(p) in own}
            state_of_mine = {
                k: v for k, v in groups["optimizer"].items() if k.rsplit("//", 1)[0] in mine
            }
            load_optimizer_tensors(optimizer, mine, state_of_mine)
        print(f"{self.name}: resumed at step {self.step}, {self.elapsed / 60:.1f} min", flush=True)

    def _lr_factor(self) -> float:
        warm = min(1.0, (self.step + 1) / 100)
        late = max(0.0, (self.progress - self.rates.decay_from) / (1 - self.rates.decay_from))
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * late)))

    def _average(self) -> None:
        decay = min(self.rates.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.values()), list(self.parameters.values()), 1 - decay
            )
