from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from typer.testing import Result

Pairedit = Callable[..., Result]


def test_plot(pairedit: Pairedit, library: Path, tmp_path: Path) -> None:
    folder = library / "runs" / "hat"
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": s, "semantic_loss": 1 / s, "lr": 0.002}) for s in range(1, 6)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 6, "sem']))
    result = pairedit("plot", "hat")
    assert (result.exit_code, result.stdout) == (0, f"Wrote {folder / 'metrics.png'}.\n")
    result = pairedit("plot", folder, "-o", "losses", "--json")
    assert json.loads(result.stdout) == {
        "path": "losses.png", "metrics": str(folder / "metrics.jsonl"), "steps": 5,
        "last": {"semantic_loss": 0.2, "lr": 0.002},
    }  # fmt: skip
    with Image.open(tmp_path / "losses.png") as one, Image.open(folder / "metrics.png") as two:
        assert one.tobytes() == two.tobytes()


def test_what_is_wrong_is_said(pairedit: Pairedit, library: Path, tmp_path: Path) -> None:
    result = pairedit("plot", "hat")
    assert result.exit_code == 2
    assert f"There is no run 'hat' in {library / 'runs'}" in result.stderr
    (tmp_path / "metrics.jsonl").write_text("")
    result = pairedit("plot", "metrics.jsonl")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: metrics.jsonl holds no metrics. Expected a line for each step. Got an empty file. "
        "They are written with each step of a training.\n"
    )
    assert not (tmp_path / "metrics.png").exists()
    result = pairedit("plot", "hat", "-o", "x.gif")
    assert result.exit_code == 2
    assert "x.gif has an extension that is no picture format" in result.stderr
