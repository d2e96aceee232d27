"""A command line to call, and stand-ins for the rooms that need a base model.

The stand-ins have the real rooms' signatures (test_contract.py compares them), write down how
they were called, and cost nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner, Result

from pairedit_sdk.errors import EditError

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


@dataclass
class FakeInfo:
    name: str
    base: str = "mini"
    precision: str = "fp32"
    rank: int = 16
    steps: int = 4
    pairs: list[str] = field(default_factory=lambda: ["1", "2"])
    settings: dict[str, Any] = field(default_factory=lambda: {"eta": 4.0})


class FakeStack:
    default_mode = "guided"

    def __init__(self, parts: list[tuple[FakeEdit, float]]) -> None:
        self.parts = parts

    def __add__(self, other: FakeStack) -> FakeStack:
        return FakeStack(self.parts + other.parts)

    def __matmul__(self, scale: float) -> FakeStack:
        return FakeStack([(edit, own * scale) for edit, own in self.parts])


class FakeEdit:
    def __init__(self, name: str) -> None:
        self.name = name
        self.info = FakeInfo(name)

    @classmethod
    def load(cls, path: Path) -> FakeEdit:
        """The file's text is "damaged", or the name, and after it a base and its precision."""
        said = path.read_text()
        if said == "damaged":
            raise EditError(f"The edit file {path.name} is damaged")
        edit = cls(path.stem)
        if len(said.split()) == 3:
            _, edit.info.base, edit.info.precision = said.split()
        return edit

    @classmethod
    def read_info(cls, path: Path) -> FakeInfo:
        return cls.load(path).info

    def with_info(self, **changes: Any) -> FakeEdit:
        return self

    def require_base(self, base: Any) -> None:
        pass

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.name)

    def __matmul__(self, scale: float) -> FakeStack:
        return FakeStack([(self, scale)])

    def __eq__(self, other: object) -> bool:
        return self.name == getattr(other, "name", other)

    def __hash__(self) -> int:
        return hash(self.name)


class Rooms:
    """Stand-ins for loading a base, training and editing.

    ``calls`` are (function, arguments) in order; ``on_train`` is called at the end of a training.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.on_train: Callable[[], None] = lambda: None

    def of(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every call of ``name``."""
        return [arguments for called, arguments in self.calls if called == name]

    def load_base(
        self, name_or_path: str = "mini", *, device: str | None = None, precision: str = "auto",
        offload: bool = False,
    ) -> SimpleNamespace:  # fmt: skip
        self.calls.append(("load_base", {k: v for k, v in locals().items() if k != "self"}))
        return SimpleNamespace(
            name=name_or_path, resolution=128, device=SimpleNamespace(type="cpu")
        )

    def train(
        self, base: Any, pairs: Any, config: Any = None, *, name: str, run_dir: Path | None = None,
        resume: bool = False, on_step: Any = None,
    ) -> FakeEdit:  # fmt: skip
        self.calls.append(("train", {k: v for k, v in locals().items() if k != "self"}))
        for step in range(1, config.steps + 1):
            on_step(
                SimpleNamespace(
                    step=step, steps=config.steps, content_loss=0.5, semantic_loss=0.25, lr=1e-3
                )
            )
        self.on_train()
        return FakeEdit(name)

    def edit_image(
        self, base: Any, image: Image.Image, edits: Any, options: Any = None, *,
        on_step: Any = None, **settings: Any,
    ) -> Image.Image:  # fmt: skip
        from pairedit_sdk.editing.options import options_from

        options = options_from(options, settings)  # type: ignore[arg-type]
        self.calls.append(("edit_image", {"edits": edits, "options": options}))
        total = options.steps or 28
        for step in range(total if on_step else 0):
            on_step(step + 1, total)
        return ImageOps.invert(image)

    def generate(
        self, base: Any, prompt: str = "", edits: Any = None, *, seed: int = 0, steps: int = 28,
        start_step: int | None = None, guidance: float | None = None, width: int | None = None,
        height: int | None = None, mode: str = "merged", references: Any = (),
        on_step: Any = None,
    ) -> Image.Image:  # fmt: skip
        self.calls.append(("generate", {k: v for k, v in locals().items() if k != "self"}))
        return Image.new("RGB", (width or 128, height or 128), "orange")

    def sweep(
        self, base: Any, image: Image.Image, edits: Any, scales: Any, options: Any = None, *,
        on_step: Any = None, **settings: Any,
    ) -> list[Image.Image]:  # fmt: skip
        return [
            self.edit_image(base, image, edits @ scale, options, on_step=on_step, **settings)
            for scale in scales
        ]

    def seen_size(
        self, base: Any, size: tuple[int, int], edits: Any, resolution: int | None = None
    ) -> tuple[int, int]:
        side = resolution or base.resolution
        return side, side


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    """The stand-ins, in the place of the real rooms for one test."""
    # Imported while the rooms are real: it would not find in the stand-ins all that it takes.
    import pairedit_sdk.bench.edits
    import pairedit_sdk.editing.options  # noqa: F401

    rooms = Rooms()
    modules: dict[str, dict[str, Any]] = {
        "edits.edit": {
            "Edit": FakeEdit,
            "EditInfo": SimpleNamespace(now=lambda: "2026-01-01T00:00:00+00:00"),
            "EditStack": FakeStack,
        },
        "training.trainer": {"train": rooms.train},
        "editing.edit_image": {
            "edit_image": rooms.edit_image,
            "sweep": rooms.sweep,
            "seen_size": rooms.seen_size,
        },
        "editing.generate": {"generate": rooms.generate},
        "training.previews": {"preview": lambda base, edit, pairs: Image.new("RGB", (8, 8))},
    }
    monkeypatch.setattr("pairedit_sdk.models.loading.load_base", rooms.load_base)
    for name, content in modules.items():
        module = ModuleType(f"pairedit_sdk.{name}")
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
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


@pytest.fixture
def saved(library: Path) -> Path:
    """The library, with the edits glasses and smile."""
    for name in ("glasses", "smile"):
        FakeEdit(name).save(library / f"{name}.safetensors")
    return library
