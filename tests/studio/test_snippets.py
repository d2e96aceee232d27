"""The studio's "copy as Python": run on a small model, it makes what the engine makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pairedit_sdk.builtin.faces.analogies import drawn_analogy
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.edits.library import EditLibrary
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.studio.composing import compose
from pairedit_sdk.studio.engine import Engine, LoadingOptions
from pairedit_sdk.studio.requests import (
    AnalogyRequest,
    ComposeRequest,
    EditRequest,
    ScaledEdit,
    ScaledInstruction,
    SweepRequest,
)
from pairedit_sdk.studio.snippets import analogy_python, compose_python, edit_python, loading_of

EDITS = [ScaledEdit(name="up", scale=0.5), ScaledEdit(name="down", scale=-2)]


@pytest.fixture
def engine(
    library: Path, tiny_kontext_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Engine:
    """An engine with a small model and two edits; the working directory has a picture me.png."""
    base = str(tiny_kontext_folder)
    for seed, name in enumerate(("up", "down")):
        drawn = torch.Generator().manual_seed(seed)
        layer = LoraLayer(
            torch.randn(2, 64, generator=drawn), torch.randn(64, 2, generator=drawn) / 4
        )
        info = EditInfo(name, base=base, rank=2, words=[EditWords("add a hat", 0.5)])
        EditLibrary(library).save(Edit({"x_embedder": layer}, info))
    monkeypatch.chdir(tmp_path)
    rows = np.add.outer(np.arange(48), np.arange(64)) * 2
    Image.fromarray(np.stack([rows, rows[::-1], rows], -1).astype(np.uint8)).save("me.png")
    return Engine(library, LoadingOptions(base, device="cpu"))


def run(script: str) -> None:
    exec(compile(script, "snippet", "exec"), {})


def test_an_edit_in_python_makes_the_engines_picture(engine: Engine) -> None:
    told = [ScaledInstruction(phrase='say "it\'s\\n" = 2', scale=0.5)]
    request = EditRequest(
        edits=EDITS, instructions=told, steps=2, n_avg=1, region=(8, 8, 32, 32), seed=5, cfg=2
    )
    script = edit_python(
        request, engine.library, "me.png", "it's.png", loading=loading_of(engine), mask="me.png"
    )
    run(script)
    made = engine.edit(Photo.read("me.png"), request, Photo.read("me.png"))
    with Image.open("it's.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(made.image))
    with Image.open("me.png") as picture:
        assert not np.array_equal(np.asarray(picture), np.asarray(made.image))


def test_only_what_differs_is_said_in_python() -> None:
    request = EditRequest(edits=[ScaledEdit(name="up")])
    assert edit_python(request, EditLibrary("edits"), "me.png", "out.png") == (
        "import pairedit_sdk as pe\n"
        "\n"
        'library = pe.EditLibrary("edits")\n'
        'model = pe.load_model("mini-kontext")\n'
        'edits = library.load("up") @ 1\n'
        'picture = pe.edit_image(model, "me.png", edits)\n'
        'picture.save("out.png")\n'
    )


def test_a_sweep_in_python_makes_a_file_for_each_scale(engine: Engine, tmp_path: Path) -> None:
    request = SweepRequest(edits=EDITS, steps=2, scales=[0, 0.5], limit_scale=False, words=False)
    run(edit_python(request, engine.library, "me.png", "s {x}.png", loading=loading_of(engine)))
    made = engine.sweep(Photo.read("me.png"), request)
    for scale, picture in zip(("0", "0.5"), made, strict=True):
        with Image.open(tmp_path / f"s {{x}}-{scale}.png") as written:
            assert np.array_equal(np.asarray(written), np.asarray(picture))


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("rank", [None, 1])
def test_a_sum_in_python_is_the_studios(engine: Engine, words: bool, rank: int | None) -> None:
    request = ComposeRequest(name="both", edits=EDITS, rank=rank, words=words)
    composed = compose(engine, request)
    assert composed.info.rank == (rank or 4)
    assert composed.sentence.startswith(f"Saved both, rank {rank or 4}.")
    assert ("Relative error" in composed.sentence) == (rank is not None)
    of_studio = engine.library.load("both")
    run(compose_python(request.model_copy(update={"replace": True}), engine.library))
    of_python = engine.library.load("both")
    assert of_python.info == of_studio.info
    assert bool(of_python.info.words) == words
    (own,), (other,) = of_studio.layers.values(), of_python.layers.values()
    assert torch.equal(own.up @ own.down, other.up @ other.down)


def test_an_analogy_in_python_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    three, own = ("a.png", "a2.png", "b.png"), EditLibrary("edits")
    asked = analogy_python(AnalogyRequest(seed=2, scale=0.5), own, three, "o.png")
    pictures = "(a, a_prime, b.seen())"
    # Nothing is placed: the built-in model has a basis that answers.
    assert f"answer = pe.answer_analogy(model, None, {pictures}, scale=0.5, seed=2)\n" in asked
    assert 'edit_image(model, b, edits, seed=2)\npicture.save("o.png")\n' in asked
    compile(asked, "snippet", "exec")
    monkeypatch.setattr("pairedit_sdk.studio.snippets._placed", lambda library: ["hat"])
    request = AnalogyRequest(force=True, count=1, vocabulary=["a", "b"])
    forced = analogy_python(request, own, three, "o.png")
    assert "mix = basis.route(a, a_prime, b.seen(), count=1)\n" in forced
    assert f"(model, mix, {pictures}, force=True, vocabulary=" in forced
    silent = analogy_python(AnalogyRequest(words=False), own, three, "o.png")
    assert f"(model, mix, {pictures}, words=False)\nprint(answer.sentence)\n" in silent


def test_an_analogy_in_python_makes_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = drawn_analogy(("background", "pink"), 7, "asked")
    for name, face in (("a", drawn.a), ("a2", drawn.a_prime), ("b", drawn.b)):
        face.draw().save(f"{name}.png")
    request = AnalogyRequest(find_words=False, steps=2)
    run(analogy_python(request, EditLibrary("edits"), ("a.png", "a2.png", "b.png"), "o.png"))
    with Image.open("o.png") as made:
        assert made.size == drawn.b.draw().size
    assert "The LoRWeB basis world answers it." in capsys.readouterr().out
