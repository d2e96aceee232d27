"""FlowEdit of several copies of a picture at once, each on a path of its own.

A path is one LoRA at one strength; the plain model runs once for all of them. Where the strength is
even, see :mod:`pairedit_sdk.editing.scale_limit`, the encoder looks when half of the steps are
done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pairedit_sdk.editing.composition import PathRows, at_once, repeated
from pairedit_sdk.editing.options import ResolvedOptions
from pairedit_sdk.flow import solvers
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.lora.adapters import activate, attached
from pairedit_sdk.lora.linear import Scale

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import ShownChange
    from pairedit_sdk.lora.layers import LoraLayer
    from pairedit_sdk.models.protocol import Condition, FlowBase


@dataclass(frozen=True)
class Path:
    """How one copy is moved.

    Args:
        lora: its name among those attached.
        scale: its strength, not 0.
        shown: what the edit's pairs show, if every picture is to get a factor of its own.
    """

    lora: str
    scale: float
    shown: ShownChange | None = None

    @property
    def at_first(self) -> Path:
        """How the copy is moved until it is known how far that takes it: at scale 1 or −1."""
        return self if self.shown is None else replace(self, scale=math.copysign(1.0, self.scale))


def follow(
    base: FlowBase, x: torch.Tensor, loras: Mapping[str, Mapping[str, LoraLayer]],
    paths: Sequence[Path], options: ResolvedOptions, condition: Condition, guidance: float,
    on_step: Callable[[int, int], None],
) -> torch.Tensor:  # fmt: skip
    """x [B, C, h, w] at the end of each of the P paths, [P, B, C, h, w].

    With an even strength the first half of the steps is at scale 1, whatever the path's own, so
    all paths of one LoRA share it. Straight on, at the velocity of the last of them, lies where the
    whole way would lead, and from that follows the factor f of each picture. With Δ the change so
    far and s the path's scale, the second half goes on from x + f s Δ at f s. At a negative scale
    all of this is done backwards.

    Args:
        base: without any LoRA attached; it is left so.
        x: the pictures.
        loras: what is to be attached, by name.
        paths: each of them moves a copy of x.
        options: of editing.
        condition: of the empty prompt.
        guidance: distilled guidance.
        on_step: called with (done, total).

    Raises:
        BaseModelError: the image encoder of an even strength cannot be loaded.
        EditError: that encoder, or a LoRA, does not fit.
    """
    sigmas = base.sigmas(options.steps, *base.image_size(x))
    first = options.steps - options.n_max
    tries = {(path.lora, path.scale): path for path in (path.at_first for path in paths)}
    even = any(path.shown for path in paths)
    half = first + max(1, options.n_max // 2) if even else first
    done, total = 0, (half - first) * len(at_once(list(tries), x, options.n_avg))
    total += (options.steps - half) * len(at_once(paths, x, options.n_avg))

    def tick(step: int) -> None:
        nonlocal done
        done += 1
        on_step(done, total)

    def walk(ways: Sequence[tuple[str, Scale]], z: torch.Tensor, window: range) -> torch.Tensor:
        """Each copy z [P, B, …] through these steps, as many at once as there is room for."""
        ends = []
        for part in at_once(range(len(ways)), x, options.n_avg):
            some, count = [ways[k] for k in part], len(part)
            activate(base.transformer, list(dict.fromkeys(name for name, _ in some)))
            end = solvers.flowedit_steps(
                repeated(x, count), z[list(part)].flatten(0, 1), sigmas, window,
                PathRows(base, some, condition, guidance), noise_source(x, options.seed, count),
                options.n_avg, tick,
            )  # fmt: skip
            ends.append(end.unflatten(0, (count, len(x))))
        return torch.cat(ends)

    with torch.no_grad(), attached(base.transformer, loras):
        ways: list[tuple[str, Scale]] = [(path.lora, path.scale) for path in paths]
        z = x.expand(len(paths), *x.shape)
        if even:
            before = walk(list(tries), x.expand(len(tries), *x.shape), range(first, half - 1))
            so_far = walk(list(tries), before, range(half - 1, half))
            velocity = (so_far - before) / (sigmas[half] - sigmas[half - 1])
            ahead = so_far - sigmas[half] * velocity
            factors = _factors(base, x, list(tries.values()), _damped(x, ahead, options.threshold))
            reached = dict(zip(tries, zip(so_far, factors, strict=True), strict=True))
            z = z.clone()
            for k, path in enumerate(paths):
                own, factor = reached[path.lora, path.at_first.scale]
                if factor is None:
                    z[k] = own
                    continue
                z[k] = x + (factor * abs(path.scale)).view(-1, 1, 1, 1) * (own - x)
                ways[k] = (path.lora, factor * path.scale)
        return _damped(x, walk(ways, z, range(half, options.steps)), options.threshold)


def _factors(
    base: FlowBase, x: torch.Tensor, tries: Sequence[Path], ends: torch.Tensor
) -> list[torch.Tensor | None]:
    """The factors [B] of each path, or none where the strength is not even.

    Args:
        ends: where the paths would lead, [P, B, C, h, w].
    """
    from pairedit_sdk.editing.scale_limit import factors  # brings transformers along

    wanted = [k for k, path in enumerate(tries) if path.shown]
    changes = [
        path.shown if path.scale > 0 else replace(path.shown, size=-path.shown.size)
        for path in tries
        if path.shown
    ]
    found = dict(zip(wanted, factors(base, changes, x, ends[wanted]), strict=True))
    return [found.get(k) for k in range(len(tries))]


def _damped(x: torch.Tensor, z: torch.Tensor, threshold: float) -> torch.Tensor:
    """Latents z [P, B, …] with every change from x damped by itself."""
    if not threshold:
        return z
    return x + solvers.damped((z - x).flatten(0, 1), threshold).view_as(z)
