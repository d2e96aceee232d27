"""Using edits: on a real picture, on a generated one, and as a strip over several strengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from pairedit_sdk import cache
from pairedit_sdk.edit import Edit, EditMix, as_mix
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow import solvers
from pairedit_sdk.images import as_rgb, fit_size, to_image, to_tensor
from pairedit_sdk.lora.adapters import attached, set_scales

if TYPE_CHECKING:
    from PIL import Image

    from pairedit_sdk.bases.protocol import Condition, FlowBase
    from pairedit_sdk.branches import Branches
    from pairedit_sdk.cache import PairLatents

METHODS = ("flowedit", "rf-inversion", "inversion-lora")
EDIT = "edit"
N_MAX_SHARE = 24 / 28

StepHook = Callable[[int, int], None]


def edit_image(
    base: FlowBase, image: Image.Image, edits: Edit | EditMix, *, method: str = "flowedit",
    steps: int = 28, n_max: int | None = None, n_avg: int = 1, guidance: float | None = None,
    seed: int = 0, resolution: int | None = None, on_step: StepHook | None = None,
) -> Image.Image:  # fmt: skip
    """Apply edits to a picture.

    The picture is fitted to the base's size, keeping its aspect ratio, and comes back at its own.
    At scale 0 the result is the autoencoder's round trip, bit for bit.

    Args:
        base: the model the edits were learned on.
        image: any PIL picture.
        edits: an edit, or a sum such as ``a @ 1 + b @ 0.5``.
        method: "flowedit", "rf-inversion", or "inversion-lora" (as published; slow: it trains a
            LoRA on this one picture first).
        steps: length of the noise schedule.
        n_max: FlowEdit only: how many of the last steps run; fewer keep more of the picture.
            ``None`` is FlowEdit's published share, 24 of 28.
        n_avg: FlowEdit only: noises averaged in each step.
        guidance: distilled guidance; ``None`` is the edit's own.
        seed: of the noise.
        resolution: side of a square with the area at which the base sees the picture; ``None`` is
            the base's own.
        on_step: called with (done, total).

    Raises:
        UsageError: an unknown method or numbers out of range.
        EditError: an edit of another base.
    """
    mix = as_mix(edits)
    n_max = _checked_n_max(method, steps, n_max, n_avg)
    x, size = _encode(base, image, resolution)
    if not mix.silent:
        x = edit_latents(
            base, x, mix, method=method, steps=steps, n_max=n_max, n_avg=n_avg, guidance=guidance,
            seed=seed, on_step=on_step,
        )  # fmt: skip
    return _decode(base, x, size)


def edit_latents(
    base: FlowBase, x: torch.Tensor, edits: Edit | EditMix, *, method: str = "flowedit",
    steps: int = 28, n_max: int | None = None, n_avg: int = 1, guidance: float | None = None,
    seed: int = 0, on_step: StepHook | None = None,
) -> torch.Tensor:  # fmt: skip
    """:func:`edit_image` on latents [B, C, h, w]; the rows are edited together, each with its own
    noise drawn in order from the seed."""
    mix = as_mix(edits)
    n_max = _checked_n_max(method, steps, n_max, n_avg)
    for edit, _ in mix.parts:
        edit.require_base(base)
    if guidance is None:
        guidance = mix.parts[0][0].info.guidance
    condition = cache.condition(base, "")
    sigmas = _sigmas(base, x, steps)
    hook = on_step or (lambda done, total: None)
    if method == "inversion-lora":
        from pairedit_sdk.inversion import inversion_lora_edit

        return inversion_lora_edit(base, x, mix, condition, guidance, sigmas, seed, hook)
    with torch.no_grad(), attached(base.transformer, {EDIT: mix.layers()}):
        rows = PairOfRows(base, {EDIT: 1.0}, condition, guidance)
        if method == "flowedit":
            noise = _noise_source(x, seed)
            return solvers.flowedit(x, sigmas, rows, noise, n_max=n_max, n_avg=n_avg, on_step=hook)
        noise_image = _noise_source(x, seed)(0, 0)
        return solvers.rf_inversion(x, sigmas, rows.plain, rows.edited, noise_image, on_step=hook)


def generate(
    base: FlowBase, prompt: str = "", edits: Edit | EditMix | None = None, *, seed: int = 0,
    steps: int = 28, start_step: int | None = None, guidance: float | None = None,
    width: int | None = None, height: int | None = None, on_step: StepHook | None = None,
) -> Image.Image:  # fmt: skip
    """Generate a picture, with edits active in the late steps only.

    Until ``start_step`` the base alone fixes the layout. The noise is the one that ``FluxPipeline``
    draws with ``torch.Generator("cpu").manual_seed(seed)``, so both give the same picture (with
    ``max_sequence_length=32`` on the built-in base, 256 on schnell).

    Args:
        base: the model.
        prompt: what to generate; the empty prompt draws freely.
        edits: an edit or a sum of them, or ``None``.
        seed: of the noise.
        steps: Euler steps.
        start_step: first step in which the edits act, from 0; ``None`` is half of the steps, so
            that they act in steps 15 to 28 of 28.
        guidance: distilled guidance; ``None`` is the base's default.
        width: pixels, a multiple of the base's grid; ``None`` is the base's own size.
        height: as ``width``.
        on_step: called with (done, total).
    """
    width, height = width or base.resolution, height or base.resolution
    if width % base.multiple or height % base.multiple or min(width, height) < base.multiple:
        raise UsageError(
            f"{width} x {height} pixels do not fit {base.name}",
            expected=f"multiples of {base.multiple}",
        )
    start_step = steps // 2 if start_step is None else start_step
    if steps < 1 or not 0 <= start_step <= steps:
        raise UsageError(f"start_step {start_step} of {steps} steps", expected="0 to steps")
    guidance = base.default_guidance if guidance is None else guidance
    condition = cache.condition(base, prompt)
    shape = (1, *base.latent_shape(height, width))
    generator = torch.Generator("cpu").manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=base.dtype).to(base.device)
    sigmas = base.sigmas(steps, height, width)
    mix = None if edits is None else as_mix(edits)
    for edit, _ in mix.parts if mix is not None else []:
        edit.require_base(base)

    def velocity(x: torch.Tensor, sigma: torch.Tensor, step: int) -> torch.Tensor:
        if mix is not None:
            set_scales(base.transformer, {EDIT: 1.0 if step >= start_step else 0.0})
        return base.velocity(x, sigma, condition, guidance)

    layers = {EDIT: mix.layers()} if mix is not None else {}
    with torch.no_grad(), attached(base.transformer, layers):
        x = solvers.euler(x, sigmas, velocity, on_step or (lambda done, total: None))
    return to_image(base.decode(x))


def sweep(
    base: FlowBase, image: Image.Image, edit: Edit | EditMix, scales: Sequence[float],
    *, on_step: StepHook | None = None, **settings: object,
) -> list[Image.Image]:  # fmt: skip
    """The picture at several strengths; ``settings`` go to :func:`edit_image`."""
    results = []
    for index, scale in enumerate(scales):

        def hook(done: int, total: int, index: int = index) -> None:
            if on_step is not None:
                on_step(index * total + done, len(scales) * total)

        mix = as_mix(edit) @ scale
        results.append(edit_image(base, image, mix, on_step=hook, **settings))  # type: ignore[arg-type]
    return results


def preview_strip(branches: Branches, latents: list[PairLatents]) -> Image.Image:
    """The training pairs as they stand: before, edited at 0.5 and 1, after; a row a pair."""
    from pairedit_sdk.plots import collage

    base = branches.base
    rows = []
    for pair in latents:
        row = [pair.x_a]
        for scale in (0.5, 1.0):
            live = PairOfRows(
                base, branches.live_scales(scale), branches.condition, branches.config.guidance
            )
            with torch.no_grad():
                row.append(
                    solvers.flowedit(
                        pair.x_a,
                        _sigmas(base, pair.x_a, 28),
                        live,
                        _noise_source(pair.x_a, 0),
                        n_max=24,
                    )
                )
        rows.append([to_image(base.decode(x)) for x in [*row, pair.x_b]])
    names = [pair.name for pair in latents]
    return collage(rows, ["before", "0.5", "1.0", "after"], names)


class PairOfRows:
    """The edited and the plain model as two halves of one batch.

    Args:
        base: a base with LoRAs attached.
        scales: factor of each attached LoRA in the edited half; in the plain half it is 0.
        condition: shared by both halves.
        guidance: shared by both halves.
    """

    def __init__(
        self, base: FlowBase, scales: dict[str, float], condition: Condition, guidance: float
    ) -> None:
        self.base, self.scales = base, scales
        self.condition, self.guidance = condition, guidance

    def __call__(
        self, x_edited: torch.Tensor, x_plain: torch.Tensor, sigma: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = len(x_edited)
        on = torch.cat([torch.ones(rows), torch.zeros(rows)]).to(x_edited.device)
        set_scales(self.base.transformer, {n: s * on for n, s in self.scales.items()})
        v = self.base.velocity(
            torch.cat([x_edited, x_plain]), sigma, self.condition, self.guidance
        ).float()
        return v[:rows], v[rows:]

    def edited(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The edited model alone."""
        return self._one(x, sigma, 1.0)

    def plain(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """The plain model alone."""
        return self._one(x, sigma, 0.0)

    def _one(self, x: torch.Tensor, sigma: torch.Tensor, factor: float) -> torch.Tensor:
        set_scales(self.base.transformer, {n: s * factor for n, s in self.scales.items()})
        return self.base.velocity(x, sigma, self.condition, self.guidance).float()


def _checked_n_max(method: str, steps: int, n_max: int | None, n_avg: int) -> int:
    if method not in METHODS:
        raise UsageError(f"There is no method {method!r}", expected="one of " + ", ".join(METHODS))
    n_max = max(1, round(steps * N_MAX_SHARE)) if n_max is None else n_max
    if steps < 1 or not 1 <= n_max <= steps or n_avg < 1:
        raise UsageError(
            f"steps {steps}, n_max {n_max}, n_avg {n_avg}",
            expected="steps and n_avg of at least 1, and n_max from 1 to steps",
        )
    return n_max


def _encode(
    base: FlowBase, image: Image.Image, resolution: int | None
) -> tuple[torch.Tensor, tuple[int, int]]:
    from PIL import Image as PILImage

    image = image if image.mode == "RGB" else as_rgb(image)
    size = fit_size(*image.size, resolution or base.resolution, base.multiple)
    fitted = image if image.size == size else image.resize(size, PILImage.Resampling.LANCZOS)
    return base.encode(to_tensor(fitted)).float(), image.size


def _decode(base: FlowBase, x: torch.Tensor, size: tuple[int, int]) -> Image.Image:
    from PIL import Image as PILImage

    image = to_image(base.decode(x))
    return image if image.size == size else image.resize(size, PILImage.Resampling.LANCZOS)


def _sigmas(base: FlowBase, x: torch.Tensor, steps: int) -> torch.Tensor:
    """The schedule for latents of this size."""
    return base.sigmas(steps, *base.image_size(x))


def _noise_source(x: torch.Tensor, seed: int) -> Callable[[int, int], torch.Tensor]:
    """ε for (step, repeat), drawn on the CPU, so that a seed means the same on every device."""

    def noise(step: int, repeat: int) -> torch.Tensor:
        generator = torch.Generator("cpu").manual_seed((seed * 1000 + step) * 100 + repeat)
        return torch.randn(x.shape, generator=generator).to(x.device)

    return noise
