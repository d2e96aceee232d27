"""The scripts a user would copy run as they are, with fewer steps."""

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from pairedit_sdk.edits.edit import Edit

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def _run(name, tmp_path, monkeypatch):
    monkeypatch.delenv("PAIREDIT_LIBRARY", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [name, "2"])
    runpy.run_path(str(EXAMPLES / name))


def test_train(tmp_path, monkeypatch, capsys):
    _run("train.py", tmp_path, monkeypatch)
    edit = Edit.load(tmp_path / "edits" / "glasses.safetensors")
    assert (edit.name, edit.info.base, edit.info.steps) == ("glasses", "mini-kontext", 2)
    assert capsys.readouterr().out.count(": good,") == 3


def test_tiny_klein(tmp_path, monkeypatch, capsys):
    _run("tiny_klein.py", tmp_path, monkeypatch)
    out = tmp_path / "out" / "tiny-klein"
    library = out / "edits"
    learned, back = (Edit.load(library / f"{name}.safetensors") for name in ("glasses", "imported"))
    assert learned.info.architecture == "flux-2-klein-base-small"
    assert learned.info.editor.reference
    assert (learned.info.steps, learned.info.guidance) == (2, 0)
    assert back.layers.keys() == learned.layers.keys()
    drawn = {
        name: Image.open(out / f"{name}.png").convert("RGB")
        for name in ("glasses", "imported", "analogy")
    }
    assert {picture.size for picture in drawn.values()} == {(128, 128)}
    assert drawn["imported"].tobytes() == drawn["glasses"].tobytes()
    assert drawn["analogy"].tobytes() != drawn["glasses"].tobytes()
    assert (out / "sweep.png").exists()
    assert "In the mix" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "picture", "least"), [("edit.py", "edited.png", 128), ("sweep.py", "sweep.png", 640)]
)
def test_pictures(tmp_path, monkeypatch, script, picture, least):
    _run(script, tmp_path, monkeypatch)
    with Image.open(tmp_path / picture) as image:
        assert image.width >= least


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_serve_ray(tmp_path):
    # In a process of its own: Ray's warnings are not this one's.
    command = [sys.executable, EXAMPLES / "serve_ray.py", "2"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "'replicas': 2" in done.stdout
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert drawn.keys() == {f"hat-{scale}.png" for scale in ("0.25", "0.5", "0.75", "1")}
    assert len(set(drawn.values())) == 4
