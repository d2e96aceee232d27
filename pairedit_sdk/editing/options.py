"""How pictures are edited: what is asked for, and for the rest what suits the edits."""

from __future__ import annotations

import operator
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, SupportsFloat, TypedDict

from pairedit_sdk.editing.composition import check_mode, default_mode
from pairedit_sdk.editing.fitting import check_limits, check_sight
from pairedit_sdk.editing.guidance import cfg_scale
from pairedit_sdk.editing.region import Region, as_box
from pairedit_sdk.editing.resolution import warn_if_extreme
from pairedit_sdk.edits.edit import EditorSettings
from pairedit_sdk.edits.guidance import own_guidance
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow import solvers
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.images.inputs import ImageLike, as_photo

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from pairedit_sdk.edits.edit import Edit, EditStack
    from pairedit_sdk.edits.metadata import EditDirection
    from pairedit_sdk.models.protocol import FlowModel

METHODS = ("flowedit", "from-noise", "rf-inversion", "inversion-lora")
DETAILS = ("original", "off")


class EditSettings(TypedDict, total=False):
    """The fields of :class:`EditOptions` as keyword arguments.

    ``even`` is the former name of ``limit_scale`` and deprecated.
    """

    method: str
    steps: int | None
    n_max: int | None
    n_avg: int | None
    threshold: float | None
    limit_scale: bool | None
    guidance: float | None
    cfg: float
    seed: int
    mode: str | None
    words: bool
    resolution: int | None
    detail: str
    mask: ImageLike | None
    region: Region | None
    even: bool | None


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """How a picture is edited. ``None`` is what suits the edits, see :meth:`resolved`.

    Attributes:
        method: "flowedit"; "from-noise", for edits that see the picture: it is drawn anew with the
            picture as the reference; "rf-inversion"; or "inversion-lora" (as published; slow: it
            trains a LoRA on this one picture first).
        steps: length of the noise schedule. ``None`` is what FlowEdit needs with these edits, and
            28 with the other methods.
        n_max: FlowEdit only: how many of the last steps run, 1 to ``steps``; fewer keep more of
            the picture. ``None`` is FlowEdit's published share, 24 of 28, and all for a shown
            change, see :mod:`pairedit_sdk.editing.told`.
        n_avg: FlowEdit only: noises averaged in each step; ``None`` is the edits' own.
        threshold: FlowEdit only: damps small changes, 0 to 1, see
            :func:`pairedit_sdk.flow.solvers.damped`; ``None`` is the edits' own.
        limit_scale: FlowEdit only: whether the LoRA of no edit changes a picture more than the
            pairs show, see :mod:`pairedit_sdk.editing.scale_limit`. Edits that are merged into one
            LoRA cannot have it, and instructions have none. ``None`` is each edit's own.
        guidance: distilled guidance, for a model that takes it; ``None`` is the edits' own.
        cfg: FlowEdit only: scale of classifier-free guidance where instructions act, of the side
            that is told against the empty prompt, for a second pass of that side; 1 is none. See
            :mod:`pairedit_sdk.flow.guidance`.
        seed: of the noise.
        mode: how several edits act together, one of
            :data:`pairedit_sdk.editing.composition.MODES`. ``None`` is the stack's own with
            FlowEdit ("guided", or "merged" for the answer of a basis), and "merged" with the
            other methods.
        words: FlowEdit only: whether instructions of edits act, see
            :mod:`pairedit_sdk.editing.told`. Shown changes act in any case.
        resolution: side in pixels of a square with the area at which the model sees a picture;
            ``None`` is the one that the edit was trained at.
        detail: where a picture's fine detail comes from: "original", wherever the edit keeps the
            structure (see :mod:`pairedit_sdk.editing.full_size`), or "off": the whole picture is
            what the autoencoder makes of it, enlarged.
        mask: a picture of any size, white where the edit may act. Black pixels stay as they are,
            bit for bit. See :mod:`pairedit_sdk.editing.masks`.
        region: the part that is cut out, edited at the model's full resolution and put back:
            (x, y, width, height) in pixels of the upright picture, or "auto" for what the edit
            changes, which takes a pass more. See :mod:`pairedit_sdk.editing.region`.

    The last four are of pictures, and say nothing of latents.
    """

    method: str = "flowedit"
    steps: int | None = None
    n_max: int | None = None
    n_avg: int | None = None
    threshold: float | None = None
    limit_scale: bool | None = None
    guidance: float | None = None
    cfg: float = 1.0
    seed: int = 0
    mode: str | None = None
    words: bool = True
    resolution: int | None = None
    detail: str = "original"
    mask: ImageLike | None = None
    region: Region | None = None

    def __post_init__(self) -> None:
        if self.detail not in DETAILS:
            raise UsageError(
                f"There is no detail {self.detail!r}", expected="one of " + ", ".join(DETAILS)
            )
        if self.mask is not None:  # read once, and refused at once
            object.__setattr__(self, "mask", as_photo(self.mask, "The mask"))
        object.__setattr__(self, "seed", whole_number("seed", self.seed))
        object.__setattr__(self, "cfg", cfg_scale(self.cfg))
        for name in ("steps", "n_max", "n_avg", "resolution"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for name in ("threshold", "guidance"):
            if not isinstance(getattr(self, name), SupportsFloat | None):
                raise UsageError(f"{name} is {getattr(self, name)!r}", expected="a number")
        if self.region is not None and self.region != "auto":
            object.__setattr__(self, "region", as_box(self.region))
        if self.mode is not None:
            check_mode(self.mode, self.method)
        if self.method not in METHODS:
            raise UsageError(
                f"There is no method {self.method!r}", expected="one of " + ", ".join(METHODS)
            )

    def resolved(self, edits: EditStack) -> ResolvedOptions:
        """These options with what suits the edits where nothing is asked for.

        Args:
            edits: that are to be applied.

        Raises:
            UsageError: an unknown method or mode, numbers out of range, or what does not go
                together.
        """
        if isinstance(self, ResolvedOptions):
            return self
        self._check_method()
        # What an edit asks of FlowEdit says nothing of the other methods.
        warn_if_extreme(edits)
        own = edits.editor if self.method == "flowedit" else EditorSettings()
        mode = self.mode or default_mode(edits, self.method)
        acting = [edit for edit, scale in edits.parts if scale != 0]
        active = [edit for edit in acting if edit.layers]
        if self.method == "from-noise":
            check_sight(active)
        is_merged = mode == "merged" and (len(active) > 1 or edits.default_mode == "merged")
        if self.limit_scale:
            check_limits(acting, is_merged)
        steps = own.steps if self.steps is None else self.steps
        return ResolvedOptions(
            method=self.method,
            steps=steps,
            n_max=solvers.last_steps(steps) if self.n_max is None else self.n_max,
            shown_n_max=self.n_max,
            n_avg=own.n_avg if self.n_avg is None else self.n_avg,
            threshold=own.threshold if self.threshold is None else self.threshold,
            limit_scale=False if is_merged or self.method != "flowedit" else self.limit_scale,
            guidance=self.guidance,
            cfg=self.cfg,
            seed=self.seed,
            mode=mode,
            words=self.words,
            resolution=self.resolution,
            detail=self.detail,
            mask=self.mask,
            region=self.region,
        )

    def _check_method(self) -> None:
        """Refuse what only FlowEdit has with another method."""
        names = ("n_max", "n_avg", "threshold", "limit_scale")
        given = [name for name in names if getattr(self, name) is not None]
        if self.method != "flowedit" and given:
            raise UsageError(
                f"Only FlowEdit has {' and '.join(given)}, and the method is {self.method}",
                next_step="Leave that out",
            )


@dataclass(frozen=True, kw_only=True)
class ResolvedOptions(EditOptions):
    """Options that are resolved against a stack of edits.

    ``guidance`` and ``limit_scale`` are still ``None`` where every edit has its own:
    :meth:`guidance_of` and :meth:`limit_of` say which.

    Attributes:
        shown_n_max: ``n_max`` of shown changes; ``None`` is all steps.
        same_noise: whether all rows of a batch have the noise that a single picture has, so that a
            picture does not depend on those beside it.
    """

    steps: int = 28
    n_max: int = 24
    n_avg: int = 1
    threshold: float = 0.0
    mode: str = "guided"
    shown_n_max: int | None = None
    same_noise: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.steps >= 1 and 1 <= self.n_max <= self.steps and self.n_avg >= 1
        if not fits or not 0 <= self.threshold <= 1:
            raise UsageError(
                f"steps {self.steps}, n_max {self.n_max}, n_avg {self.n_avg}, threshold "
                f"{self.threshold:g}",
                expected="steps and n_avg of at least 1, n_max from 1 to steps, and a threshold "
                "from 0 to 1",
            )

    def noise_for(self, x: torch.Tensor, count: int = 1) -> Callable[[int, int], torch.Tensor]:
        """ε for (step, repeat) of ``count`` copies of latents x [B, C, h, w]."""
        if self.same_noise:
            return noise_source(x[:1], self.seed, count * len(x))
        return noise_source(x, self.seed, count)

    def guidance_of(self, edits: EditStack, model: FlowModel) -> float:
        """The distilled guidance for these edits together on a model; 0 if it takes none.

        Raises:
            UsageError: none is asked for, and the edits' own differ.
        """
        return own_guidance(edits, model) if self.guidance is None else self.guidance

    def limit_of(self, edit: Edit) -> EditDirection | None:
        """What limits the edit's scale: what its pairs show, or ``None`` for no limit."""
        limited = edit.info.editor.limit_scale if self.limit_scale is None else self.limit_scale
        return edit.info.direction if limited else None


def whole_number(name: str, value: object) -> int:
    """A whole number of any type, such as numpy's.

    Raises:
        UsageError: it is none, naming it.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{name} is {value!r}", expected="a whole number") from None


def options_from(options: EditOptions | None, settings: EditSettings) -> EditOptions:
    """Options with some of their fields given as keyword arguments.

    Args:
        options: ``None`` is the default ones.
        settings: take the place of the options' fields.

    Raises:
        TypeError: an unknown setting, naming it.
    """
    given: dict[str, Any] = dict(settings)
    if "even" in given:
        if "limit_scale" in given:
            raise TypeError("even is the former name of limit_scale; both are given")
        warnings.warn("even is now called limit_scale", DeprecationWarning, stacklevel=3)
        given["limit_scale"] = given.pop("even")
    return replace(options or EditOptions(), **given)
