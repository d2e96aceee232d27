"""A command line to call, and stand-ins for the functions that need a model.

The stand-ins have the signatures of the real functions (test_contract.py compares them), write
down how they were called, and cost nothing. They replace what cli/services.py names, and no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner, Result

from pairedit_sdk.cli import services

if TYPE_CHECKING:
    from pairedit_sdk.basis.answering import AnalogyAnswer
    from pairedit_sdk.editing.edit_images import EditedImage
    from pairedit_sdk.edits.edit import Edit, EditInfo, EditStack
    from pairedit_sdk.words.finding import FoundWords

Pairedit = Callable[..., Result]

#: Command lines and what is said of them; printed at the end with ``PAIREDIT_SHOW_TABLE=1``.
ROWS: list[tuple[str, str]] = []


@pytest.fixture
def show_row() -> Callable[[str, str], None]:
    """Put a command line and what was said into the table."""
    return lambda line, said: ROWS.append((line, said))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS and os.environ.get("PAIREDIT_SHOW_TABLE"):
        terminalreporter.section("what is said")
        for line, said in ROWS:
            terminalreporter.write_line(f"pairedit {line}\n    {said.strip()}")


def save_edit(path: Path, **info: Any) -> Path:
    """Save an edit, real and as small as can be, under the file's name."""
    from pairedit_sdk.edits.edit import EditInfo

    known = {"base": "mini", "precision": "fp32", "rank": 16, "steps": 4, "pairs": ["1", "2"]}
    return _tiny_edit(EditInfo(path.stem, **{**known, "settings": {"eta": 4.0}, **info})).save(path)


def _tiny_edit(info: EditInfo) -> Edit:
    import torch

    from pairedit_sdk.edits.edit import Edit
    from pairedit_sdk.lora.layers import LoraLayer

    return Edit({"x_embedder": LoraLayer(torch.ones(1, 64), torch.ones(192, 1))}, info)


class Rooms:
    """Stand-ins for loading a model, training and editing.

    ``calls`` are (function, arguments) in order; ``on_train`` is called at the end of a training;
    ``losses`` are those of the phrases that are asked.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.on_train: Callable[[], None] = lambda: None
        self.losses = {"add a hat": 0.2, "add a cap": 0.6, "make it night": 1.2}

    @staticmethod
    def named(stack: EditStack) -> list[tuple[str, float]]:
        """The names and scales of a sum of edits."""
        return [(edit.name, scale) for edit, scale in stack.parts]

    def of(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every call of ``name``."""
        return [arguments for called, arguments in self.calls if called == name]

    def load_model(
        self, name_or_path: str = "mini-kontext", *, device: str | None = None,
        precision: str = "auto", offload: bool = False,
    ) -> SimpleNamespace:  # fmt: skip
        self.calls.append(("load_model", {k: v for k, v in locals().items() if k != "self"}))
        return SimpleNamespace(
            name=name_or_path, resolution=128, device=SimpleNamespace(type="cpu")
        )

    def train(
        self, model: Any, pairs: Any, config: Any = None, *, name: str, run_dir: Path | None = None,
        resume: bool = False, on_step: Any = None,
    ) -> Edit:  # fmt: skip
        self.calls.append(("train", {k: v for k, v in locals().items() if k != "self"}))
        for step in range(1, config.steps + 1):
            on_step(
                SimpleNamespace(
                    step=step, steps=config.steps, content_loss=0.5, semantic_loss=0.25, lr=1e-3
                )
            )
        from pairedit_sdk.edits.edit import EditInfo

        self.on_train()
        return _tiny_edit(EditInfo(name, base="mini", rank=1))

    def edit_image(
        self, model: Any, image: Image.Image, edits: Any, options: Any = None, *,
        on_step: Any = None, **settings: Any,
    ) -> Image.Image:  # fmt: skip
        from pairedit_sdk.editing.options import options_from

        options = options_from(options, settings)  # type: ignore[arg-type]
        self.calls.append(("edit_image", {"edits": edits, "options": options}))
        total = options.steps or 28
        for step in range(total if on_step else 0):
            on_step(step + 1, total)
        return ImageOps.invert(image)

    def edit_images(
        self, model: Any, images: Any, edits: Any, options: Any = None, *, on_step: Any = None,
        **settings: Any,
    ) -> Iterator[EditedImage]:  # fmt: skip
        from pairedit_sdk.editing.edit_images import EditedImage
        from pairedit_sdk.errors import PairEditError
        from pairedit_sdk.images.inputs import as_photo

        for source in images:
            try:
                photo = as_photo(source)
            except PairEditError as error:
                yield EditedImage(source, error=error)
                continue
            made = self.edit_image(model, photo.seen(), edits, options, on_step=on_step, **settings)
            yield EditedImage(source, replace(as_photo(made), alpha=photo.alpha, exif=photo.exif))

    def answer_analogy(
        self, model: Any, route: Any, pictures: Any, *, scale: float = 1.0, force: bool = False,
        words: bool = True, vocabulary: Any = None, seed: int = 0,
    ) -> AnalogyAnswer:  # fmt: skip
        from pairedit_sdk.basis.answering import answered

        self.calls.append(("answer_analogy", {k: v for k, v in locals().items() if k != "self"}))
        return answered(route, scale, ask=lambda: self.find_words(model, [pictures[:2]]))

    def find_words(
        self, model: Any, pairs: Any, vocabulary: Any = None, *, seed: int = 0,
        resolution: int | None = None, encoder: str | None = None,
        on_phrase: Any = None,
    ) -> FoundWords:  # fmt: skip
        from pairedit_sdk.words.finding import judged

        self.calls.append(("find_words", {k: v for k, v in locals().items() if k != "self"}))
        for done in range(1, 4) if on_phrase else ():
            on_phrase(done, 3)
        both = {phrase: (loss, 1.5) for phrase, loss in self.losses.items()}
        return judged(both, nothing=1.0, everything=0.1, asked=3)

    def generate(
        self, model: Any, prompt: str = "", edits: Any = None, options: Any = None, *,
        references: Any = (), on_step: Any = None, **settings: Any,
    ) -> Image.Image:  # fmt: skip
        from pairedit_sdk.editing.generate import GenerateOptions

        asked = replace(options or GenerateOptions(), **settings)
        called = {"model": model, "prompt": prompt, "edits": edits, "references": references}
        self.calls.append(("generate", {**called, **asdict(asked)}))
        return Image.new("RGB", (asked.width or 128, asked.height or 128), "orange")

    def sweep(
        self, model: Any, image: Any, edits: Any, scales: Any, options: Any = None, *,
        on_step: Any = None, **settings: Any,
    ) -> list[Image.Image]:  # fmt: skip
        return [
            self.edit_image(
                model, image.seen(), edits @ scale, options, on_step=on_step, **settings
            )
            for scale in scales
        ]


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    """The stand-ins, in the place of the real functions for one test."""
    rooms = Rooms()
    for name, module in services.HOME.items():
        monkeypatch.setattr(f"{module}.{name}", getattr(rooms, name))
    # Of a training's own pairs; jobs.make_edit draws it, not a command.
    monkeypatch.setattr(
        "pairedit_sdk.training.previews.preview", lambda base, edit, pairs: Image.new("RGB", (8, 8))
    )
    return rooms


@pytest.fixture
def pairedit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pairedit:
    """``pairedit("train", "pairs", …)`` in an empty folder; no traceback may ever be seen."""
    from pairedit_sdk.cli import app

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert isinstance(result.exception, SystemExit | None)
        assert "Traceback" not in result.output or "--debug" in words
        return result

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture that is no square."""
    path = tmp_path / "me.png"
    Image.new("RGB", (96, 64), (200, 120, 40)).save(path)
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder with two good pairs, drawn."""
    from pairedit_sdk.builtin.faces.example_pairs import example_faces

    folder = tmp_path / "pairs"
    for number, faces in enumerate(example_faces("glasses", 2)):
        for side, face in zip(("source", "target"), faces, strict=True):
            (folder / side).mkdir(parents=True, exist_ok=True)
            face.draw(128).save(folder / side / f"{number}.png")
    return folder


@pytest.fixture(name="save_edit")
def _save_edit() -> Callable[..., Path]:
    """Save a small edit: ``save_edit(path, base=…)``."""
    return save_edit


@pytest.fixture
def saved(library: Path) -> Path:
    """The library, with the edits glasses and smile."""
    for name in ("glasses", "smile"):
        save_edit(library / f"{name}.safetensors")
    return library
