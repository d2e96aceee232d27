"""What is asked of the studio: typed requests, the same for the page, the HTTP API and Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pairedit_sdk.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairedit_sdk.editing.options import EditOptions
    from pairedit_sdk.images.inputs import ImageLike

#: Edits and instructions in one request, and steps of a schedule, at most.
MOST_PARTS, MOST_STEPS = 32, 200
#: Scales in one strip, at most.
MOST_SCALES = 16

Format = Literal["png", "jpeg", "webp"]
Scale = float
#: As a list: a text could be the name of a file of phrases.
Phrases = Annotated[
    list[Annotated[str, Field(max_length=1000)]], Field(min_length=1, max_length=512)
]


class Request(BaseModel):
    """A request; a field that it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ScaledEdit(Request):
    """An edit of the library at a scale."""

    name: str = Field(max_length=64, description="The edit's name in the library.")
    scale: Scale = Field(default=1.0, ge=-10, le=10)


class ScaledInstruction(Request):
    """An instruction to an edit model at a scale."""

    phrase: str = Field(max_length=1000, description="For example: add round glasses")
    scale: Scale = Field(default=1.0, ge=-10, le=10)


class OptionsRequest(Request):
    """How a picture is edited, see :class:`pairedit_sdk.EditOptions`; ``null`` is what suits the
    edits."""

    method: Literal["flowedit", "from-noise", "rf-inversion", "inversion-lora"] = "flowedit"
    mode: Literal["guided", "merged", "sequential"] | None = None
    steps: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    n_max: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    n_avg: int | None = Field(default=None, ge=1, le=16)
    threshold: float | None = Field(default=None, ge=0, le=1)
    limit_scale: bool | None = None
    guidance: float | None = Field(default=None, ge=0, le=100)
    cfg: float = Field(default=1.0, ge=1, le=30)
    seed: int = Field(default=0, ge=0, lt=2**31)
    words: bool = True
    resolution: int | None = Field(default=None, ge=16, le=2048)
    detail: Literal["original", "off"] = "original"
    region: tuple[int, int, int, int] | Literal["auto"] | None = None

    def options(self, mask: ImageLike | None = None) -> EditOptions:
        """The same as the SDK's options.

        Raises:
            UsageError: options that do not go together.
        """
        from pairedit_sdk.editing.options import EditOptions

        asked: dict[str, Any] = {
            name: getattr(self, name) for name in OptionsRequest.model_fields if name != "region"
        }
        region: Any = list(self.region) if isinstance(self.region, tuple) else self.region
        return EditOptions(**asked, region=region, mask=mask)


def unreadable(errors: Sequence[Any], next_step: str = "Put these right") -> UsageError:
    """What is wrong with a request, a phrase for each field.

    Args:
        errors: as pydantic lists them.
        next_step: what to do now.
    """
    said = []
    for one in errors:
        place = ".".join(str(part) for part in one["loc"] if part not in ("body", "query", "path"))
        said.append(f"{place or 'request'}: {one['msg']}")
    return UsageError("The request cannot be used: " + "; ".join(said), next_step=next_step)


#: The fields of :class:`OptionsRequest`.
OPTIONS = tuple(OptionsRequest.model_fields)


class EditRequest(OptionsRequest):
    """Edits and instructions on one picture.

    Attributes:
        draft: at a draft's settings and small, see :class:`pairedit_sdk.editing.draft.DraftEditor`.
        format: of the picture that comes back.
        metadata: whether its file says how it was made.
    """

    edits: list[ScaledEdit] = Field(default_factory=list, max_length=MOST_PARTS)
    instructions: list[ScaledInstruction] = Field(default_factory=list, max_length=MOST_PARTS)
    draft: bool = False
    format: Format = "png"
    metadata: bool = True


class SweepRequest(EditRequest):
    """The same at several scales of the whole, as one strip."""

    scales: list[Scale] = Field(
        default_factory=lambda: [0, 0.25, 0.5, 0.75, 1], min_length=1, max_length=MOST_SCALES
    )


class AnalogyRequest(OptionsRequest):
    """An analogy a : a′ :: b, answered with the edits of the basis.

    Attributes:
        scale: of the whole answer.
        count: edits in the mix, at most.
        force: mix the nearest edits even if none is like this change.
        find_words: ask an edit model for words where no edit is like it.
        vocabulary: the phrases to ask; ``null`` is what the model was taught.
    """

    scale: Scale = Field(default=1.0, ge=-10, le=10)
    count: int = Field(default=3, ge=1, le=MOST_PARTS)
    force: bool = False
    find_words: bool = True
    vocabulary: Phrases | None = None
    format: Format = "png"
    metadata: bool = True


class ComposeRequest(Request):
    """Several edits of the library saved as one."""

    name: str = Field(max_length=64)
    edits: list[ScaledEdit] = Field(min_length=1, max_length=MOST_PARTS)
    rank: int | None = Field(default=None, ge=1)
    words: bool = True
    replace: bool = False


class TrainRequest(Request):
    """An edit to be learned from the pairs that come with the request.

    Attributes:
        recipe: a recipe's name; ``null`` is the one for the model.
        settings: further settings as ``key=value``; none that names a file, a model or a tracker.
        find_words: whether the model is asked for words; ``null`` is the recipe's.
        words: phrases to choose from.
        place: whether the edit is placed in the basis.
        skip_check: train on pairs that the check finds bad.
        replace: take the place of an edit of that name.
    """

    name: str = Field(max_length=64)
    recipe: str | None = Field(default=None, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    settings: list[str] = Field(default_factory=list, max_length=64)
    find_words: bool | None = None
    words: Phrases | None = None
    place: bool = False
    skip_check: bool = False
    replace: bool = False
