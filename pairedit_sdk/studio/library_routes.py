"""The HTTP API of a library on this machine: its edits, their sums, and trainings."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import Json

from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio.composing import compose as compose_edits
from pairedit_sdk.studio.requests import ComposeRequest, TrainRequest
from pairedit_sdk.studio.training_request import TrainingRequest

if TYPE_CHECKING:
    from pairedit_sdk.edits.metadata import EditInfo
    from pairedit_sdk.studio.service import Service
    from pairedit_sdk.studio.training_status import TrainingStatus

#: Pairs of one training at most.
MOST_PAIRS = 64
#: Settings that name a file, or something that is asked over a network.
NOT_FROM_HERE = {"base", "track", "vocabulary", "words", "words.vocabulary"}
#: What is said of an edit; the rest are its settings and vectors.
_SAID = ("name", "base", "architecture", "rank", "steps", "resolution", "created", "licence")

Pictures = Annotated[list[UploadFile], File(description="Pictures, in the order of the pairs.")]


def library_routes(service: Service) -> APIRouter:
    """The routes under ``/api`` that read and write the library.

    Args:
        service: whose library it is.
    """
    router = APIRouter(prefix="/api")

    @router.get("/edits")
    def edits() -> list[dict[str, Any]]:
        """List the edits of the library."""
        return [described(name, info) for name, info in service.engine.infos().items()]

    @router.post("/compose")
    def compose(request: ComposeRequest) -> dict[str, Any]:
        """Save the sum of several edits as one."""
        made = service.do(lambda hook: compose_edits(service.engine, request))
        return {**described(request.name, made.info), "error": made.error}

    @router.get("/train")
    def trainings() -> list[dict[str, Any]]:
        """List all trainings of the library, the newest first."""
        return [shown(status) for status in service.trainings.all()]

    @router.post("/train", status_code=202)
    def train(
        before: Pictures, after: Pictures, request: Annotated[Json[TrainRequest], Form()]
    ) -> dict[str, Any]:
        """Begin to train an edit from pairs of pictures."""
        return shown(begin(service, request, before, after))

    @router.get("/train/{name}")
    def status(name: str) -> dict[str, Any]:
        """Say how a training is doing."""
        return shown(service.trainings.status(name))

    @router.post("/train/{name}/stop")
    def stop(name: str) -> dict[str, Any]:
        """Stop a training after its step; its checkpoint is kept."""
        return shown(service.trainings.stop(name))

    @router.post("/train/{name}/resume", status_code=202)
    def resume(name: str) -> dict[str, Any]:
        """Go on with a stopped training."""
        return shown(service.resume(name))

    return router


def begin(
    service: Service, request: TrainRequest, before: list[UploadFile], after: list[UploadFile]
) -> TrainingStatus:
    """Keep the pairs, and start their training.

    Raises:
        UsageError: the pictures are no pairs, or the request cannot be used.
        InputError: a picture cannot be read.
    """
    if len(before) != len(after) or not 1 <= len(before) <= MOST_PAIRS:
        raise UsageError(
            "These pictures are no pairs",
            expected=f"as many before as after, 1 to {MOST_PAIRS} of each",
            got=f"{len(before)} before and {len(after)} after",
        )
    asked = training_request(service, request)
    # Before the pairs are kept: those of another training would be lost.
    service.trainings.require_startable(request.name, force=request.replace)
    asked.config()
    data = [(one.file.read(), other.file.read()) for one, other in zip(before, after, strict=True)]
    service.trainings.keep_pairs(request.name, data)
    return service.train(asked)


def training_request(service: Service, request: TrainRequest) -> TrainingRequest:
    """The request in the words of the command line, with the pairs where they are going to be.

    Raises:
        UsageError: a setting that is not taken from elsewhere.
    """
    for setting in request.settings:
        key = setting.partition("=")[0].strip()
        if key in NOT_FROM_HERE:
            raise UsageError(
                f"The setting {key} is not taken from a request",
                next_step="Leave it out; the studio's own model is used",
            )
    return TrainingRequest(
        request.name,
        service.folder / "pairs" / request.name,
        base=service.engine.model_name,
        recipe=request.recipe,
        settings=tuple(request.settings),
        find_words=request.find_words,
        words=None if request.words is None else json.dumps(request.words),
        place=request.place,
        skip_check=request.skip_check,
        force=request.replace,
    )


def described(name: str, info: EditInfo) -> dict[str, Any]:
    """An edit as JSON, under the name of its file."""
    there = {field.name for field in fields(info)}
    said = {key: getattr(info, key) for key in _SAID if key in there}
    return {**said, "name": name, "words": [asdict(words) for words in info.words]}


def shown(status: TrainingStatus) -> dict[str, Any]:
    """A training as JSON; the files of its previews are not told."""
    said = asdict(status)
    del said["command"]
    return {**said, "previews": len(status.previews)}
