"""The scripts a user would copy run as they are, with fewer steps."""

import runpy
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
