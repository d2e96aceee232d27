"""The studio's "copy as command": a command line does what the page did."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from typer.testing import Result

from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.errors import UsageError
from pairedit_sdk.studio.engine import LoadingOptions
from pairedit_sdk.studio.requests import (
    AnalogyRequest,
    ComposeRequest,
    EditRequest,
    ScaledEdit,
    ScaledInstruction,
    SweepRequest,
)
from pairedit_sdk.studio.snippets import analogy_command, compose_command, edit_command

if TYPE_CHECKING:
    from .conftest import Rooms

Pairedit = Callable[..., Result]

GLASSES, SMILE = ScaledEdit(name="glasses", scale=0.8), ScaledEdit(name="smile")
TOLD = [
    ScaledInstruction(phrase="make it 5 o'clock"),
    ScaledInstruction(phrase='write "x = 2"', scale=1.25),
    ScaledInstruction(phrase="2+2=4"),
    ScaledInstruction(phrase="--help & rm $HOME `x` | y\\", scale=-0.1),
]
REQUESTS = [
    EditRequest(edits=[GLASSES]),
    EditRequest(edits=[GLASSES, SMILE], instructions=TOLD, seed=2**31 - 1, words=False),
    EditRequest(edits=[SMILE], mode="merged", steps=14, n_max=7, n_avg=3, threshold=0.25),
    EditRequest(edits=[SMILE], limit_scale=False, guidance=0, cfg=1.0, detail="off"),
    EditRequest(edits=[SMILE], limit_scale=True, resolution=64, region=(1, 2, 30, 40)),
    EditRequest(instructions=TOLD, cfg=2.5, region="auto"),
    EditRequest(edits=[SMILE], method="from-noise", mode="sequential", seed=1_000_000),
]


def run(pairedit: Pairedit, line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "pairedit"
    result = pairedit(*words)
    assert result.exit_code == 0, result.output


def parts(request: EditRequest) -> list[tuple[str, float]]:
    told = [(one.phrase, one.scale) for one in request.instructions]
    return [(one.name, one.scale) for one in request.edits] + told


@pytest.mark.parametrize("request_", REQUESTS)
def test_an_edit_command_asks_for_the_same(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path, request_: EditRequest
) -> None:
    named = picture.rename(picture.with_name("it's -- me [1].png"))
    run(pairedit, edit_command(request_, EditLibrary(saved), named.name, "out.png"))
    (call,) = rooms.of("edit_image")
    assert rooms.named(call["edits"]) == parts(request_)
    assert call["options"] == request_.options()


def test_only_what_differs_is_said(saved: Path) -> None:
    request = EditRequest(edits=[GLASSES, SMILE], draft=True, seed=3)
    line = edit_command(request, EditLibrary("edits"), "me.png", "out.png")
    assert line == "pairedit edit me.png --edit glasses=0.8 --edit smile --seed 3 -o out.png"
    line = edit_command(
        EditRequest(edits=[SMILE], metadata=False), EditLibrary(saved), "-x.png", "-y.png"
    )
    expected = ["edit", "./-x.png", "--edit", "smile", "--no-metadata", "--library", str(saved)]
    assert shlex.split(line)[1:] == [*expected, "-o", "./-y.png"]


@pytest.mark.parametrize(
    ("loading", "said"),
    [
        (LoadingOptions("mini"), []),
        (LoadingOptions("mini-kontext"), ["--base", "mini-kontext"]),
        (LoadingOptions("mini", "cpu", "fp32", True), "--device cpu --precision fp32 --offload"),
    ],
)
def test_the_model_is_said_where_a_command_would_take_another(
    pairedit: Pairedit,
    rooms: Rooms,
    saved: Path,
    picture: Path,
    loading: LoadingOptions,
    said: list[str] | str,
) -> None:
    request = EditRequest(edits=[SMILE])
    line = edit_command(request, EditLibrary(saved), picture.name, "o.png", loading=loading)
    words = said.split() if isinstance(said, str) else said
    assert shlex.split(line)[7:-2] == words
    run(pairedit, line)
    (call,) = rooms.of("load_model")
    assert call == {
        "name_or_path": loading.base,
        "device": loading.device,
        "precision": loading.precision,
        "offload": loading.offload,
    }


def test_a_quantised_edit_on_a_whole_model(
    saved: Path, pairedit: Pairedit, rooms: Rooms, picture: Path, save_edit: Callable[..., Path]
) -> None:
    save_edit(saved / "far.safetensors", base="far/away", precision="nf4")
    far = EditRequest(edits=[ScaledEdit(name="far")])
    for loading in (LoadingOptions("far/away"), LoadingOptions("far/away", precision="nf4")):
        run(pairedit, edit_command(far, EditLibrary(saved), "me.png", "o.png", loading=loading))
    assert [call["precision"] for call in rooms.of("load_model")] == ["auto", "nf4"]


def test_a_mask_and_an_edit_that_is_no_more(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path
) -> None:
    Image.new("L", (96, 64), 255).save(picture.with_name("m.png"))
    line = edit_command(
        EditRequest(edits=[SMILE]), EditLibrary(saved), "me.png", "out.png", mask="m.png"
    )
    run(pairedit, line)
    assert rooms.of("edit_image")[0]["options"].mask.size == (96, 64)
    gone = EditRequest(edits=[ScaledEdit(name="gone")])
    loading = LoadingOptions("mini")
    line = edit_command(gone, EditLibrary(saved), "me.png", "out.png", loading=loading)
    assert "--base mini" in line


@pytest.mark.parametrize(
    "request_",
    [
        SweepRequest(edits=[SMILE]),
        SweepRequest(edits=[GLASSES, SMILE], instructions=TOLD, scales=[-1, 0.1, 2]),
        SweepRequest(edits=[GLASSES], mode="merged", seed=4, metadata=False),
    ],
)
def test_a_sweep_command_asks_for_the_same(
    pairedit: Pairedit, rooms: Rooms, saved: Path, picture: Path, request_: SweepRequest
) -> None:
    run(pairedit, edit_command(request_, EditLibrary(saved), "me.png", "strip.png"))
    calls = rooms.of("edit_image")
    assert [rooms.named(call["edits"]) for call in calls] == [
        [(name, scale * whole) for name, scale in parts(request_)] for whole in request_.scales
    ]
    assert {call["options"] for call in calls} == {request_.options()}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (AnalogyRequest(), []),
        (AnalogyRequest(scale=0.5, count=1, force=True), "--scale 0.5 --count 1 --force"),
        (
            AnalogyRequest(vocabulary=["add a hat", "a cap"], seed=2),
            ["--words", "add a hat; a cap", "--seed", "2"],
        ),
        (AnalogyRequest(words=False, find_words=False, metadata=False), "--no-words --no-metadata"),
    ],
)
def test_an_analogy_command(saved: Path, request_: AnalogyRequest, said: list[str] | str) -> None:
    line = analogy_command(request_, EditLibrary("edits"), ("a.png", "a2.png", "b.png"), "o.png")
    words = said.split() if isinstance(said, str) else said
    pictures = ["a.png", "a2.png", "b.png"]
    assert shlex.split(line) == ["pairedit", "analogy", *pictures, *words, "-o", "o.png"]


@pytest.mark.parametrize("more", [{"n_avg": 2}, {"find_words": False}, {"words": False}])
def test_an_analogy_that_no_command_asks(more: dict[str, object]) -> None:
    request = AnalogyRequest.model_validate(more)
    with pytest.raises(UsageError, match="has no option for"):
        analogy_command(request, EditLibrary("edits"), ("a", "b", "c"), "o.png")


def test_a_compose_command_saves_the_same(pairedit: Pairedit, saved: Path) -> None:
    request = ComposeRequest(name="both", edits=[GLASSES, SMILE], rank=1, words=False)
    run(pairedit, compose_command(request, EditLibrary(saved)))
    info = EditLibrary(saved).info("both")
    assert (info.rank, info.parts) == (1, [("glasses", 0.8), ("smile", 1.0)])
    line = compose_command(request.model_copy(update={"replace": True}), EditLibrary(saved))
    run(pairedit, line)
    assert shlex.split(line)[-3:] == ["--force", "--library", str(saved)]
