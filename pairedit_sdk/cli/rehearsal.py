"""``train --dry-run``, and what to do when memory runs out."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pairedit_sdk.cli.output import Output
from pairedit_sdk.errors import TrainingError, counted

if TYPE_CHECKING:
    import torch

    from pairedit_sdk.models.protocol import FlowModel
    from pairedit_sdk.pairs.pair_set import PairSet
    from pairedit_sdk.training.config import TrainConfig

#: Steps of a rehearsal: the first is slower than those that follow.
REHEARSED = 2


def rehearse(
    output: Output, base: FlowModel, pairs: PairSet, config: TrainConfig, name: str, folder: Path
) -> None:
    """Two steps of a training of which nothing is kept, and what the whole of it will take.

    No words are asked for: of a large model that takes far longer than two steps.
    """
    from pairedit_sdk.cli.services import train
    from pairedit_sdk.estimates.fitting import advised, size, total_memory
    from pairedit_sdk.estimates.needs import training_needs
    from pairedit_sdk.training.trainer import StepInfo
    from pairedit_sdk.training.words import settled_words
    from pairedit_sdk.words.vocabulary import Vocabulary

    config = settled_words(base, config)
    phrases = len(Vocabulary.named(config.vocabulary, base)) if config.words.find else 0
    expected = training_needs(base.name, config, base.device.type)
    seconds: list[float] = []

    def note(info: StepInfo) -> None:
        seconds.append(info.seconds)

    short = config.with_values(
        steps=REHEARSED, checkpoint_every=0, preview_every=0, calibrate=False, find_words=False
    )
    with advised(base.name, config, base.device):
        train(base, pairs, short, name=name, on_step=note)
    peak = _peak(base.device)
    there = total_memory(base.device)
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    output.say(
        f"{counted(len(pairs), 'pair')} and {base.name} are fine; {REHEARSED} steps went through.\n"
        f"Memory: {size(peak)} at the peak ({size(expected.peak)} estimated), of {size(there)}.\n"
        f"Time:   {_in_all(seconds[-1], config.steps)}.\n"
        f"{_on_top(phrases)}"
        f"Disk:   {size(expected.disk)} for the run, {size(free)} are free.\n"
        "Nothing was kept."
    )
    if expected.disk > free:
        raise TrainingError(
            f"The run needs {size(expected.disk)}, and {size(free)} are free where {folder} is",
            next_step="Free some, choose another --library, or keep fewer checkpoints "
            "(--set checkpointing.keep=1)",
        )
    output.result(
        {
            "name": name,
            "base": base.name,
            "pairs": [pair.name for pair in pairs],
            "seconds_per_step": seconds[-1],
            "seconds": seconds[-1] * config.steps,
            "phrases": phrases,
            "peak": peak,
            "estimated_peak": expected.peak,
            "memory": there,
            "disk": expected.disk,
            "disk_free": free,
        }
    )


def _on_top(phrases: int) -> str:
    """What the time does not hold, a line, if that is anything."""
    return f"Words:  {counted(phrases, 'phrase')} to ask, on top of that time.\n" if phrases else ""


def _in_all(seconds: float, steps: int) -> str:
    """A step's time, and that of all steps."""
    from pairedit_sdk.estimates.speed import span

    return f"{span(seconds)} a step, {span(seconds * steps)} in all"


def _peak(device: torch.device) -> int:
    """Bytes that were in use at once, of the GPU's or of this process's memory."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_reserved(device))
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
