"""Composing edits and asking a basis: a mistake is one sentence, and changes nothing on disk."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import Result

from pairedit_sdk.basis.edit_basis import EditBasis
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer

Pairedit = Callable[..., Result]

INDEX = "full/basis/index.safetensors"
SAME = (
    "The image encoder mini sees no change from the picture before to the one after. Expected "
    "embeddings that differ by 0.005 or more. Got …. Give two pictures that show the change."
)
#: The command line, and what it says; "…" is anything.
WRONG: list[tuple[str, str]] = [
    ("basis show glases --library full",
     "There is no edit 'glases' in the basis. Did you mean glasses?"),
    ("basis remove glases --library full",
     "There is no edit 'glases' in the basis. Did you mean glasses?"),
    ("basis rename glases g --library full",
     "There is no edit 'glases' in the basis. Did you mean glasses?"),
    ("basis place glases pairs --library full",
     "There is no edit 'glases' in the library full. Did you mean glasses?"),
    ("basis place glasses pairs --library full",
     "There is an edit glasses in the basis already. Choose another name, or replace it with "
     "--force."),
    ("basis place glasses nowhere --library full --force",
     "Pairs folder 'nowhere' does not exist.…"),
    ("basis place foreign.safetensors pairs --library full",
     "Edit 'foreign' was learned on another model than the edits of this basis. Expected mini "
     "(one). Got mini (two). Keep a basis of its own for each model, siblings too: in a mix all "
     "edits are to go equally far, and those of another model do not."),
    ("basis place text.safetensors pairs --library full",
     "text.safetensors is not a readable safetensors file …"),
    ("basis place me.png pairs --library full", "me.png is not a readable safetensors file …"),
    ("basis rename glasses ../glasses --library full",
     "'../glasses' cannot be the name of an edit. Expected 1 to 64 letters, digits, - and _, not "
     "beginning with -. Choose a name like glasses or red-hair_2."),
    ("basis rename glasses hat --library full", "There is an edit hat already (full/hat…)."),
    ("basis route me.png me.png --library none",
     "The basis in none is empty. Place an edit with `pairedit basis place NAME PAIRS`."),
    ("basis fit --library none", "A router chooses between edits, and the basis has 0…"),
    ("analogy me.png me.png me.png -o x.png --library none",
     SAME.replace("mini ", "mini-kontext ")),
    ("analogy me.png blue.png me.png -o x.png --library none --method rf-inversion",
     "The basis in none is empty. Place an edit with `pairedit basis place NAME PAIRS`."),
    ("analogy me.png me.png me.png -o x.png --library full",
     SAME),
    ("basis route me.png me.png --library full", SAME),
    ("analogy me.png blue.png me.png -o x.png --library full",
     "This analogy is like none of the edits (nearest: …; … is found from 0.…). Learn this change "
     "with `pairedit train PAIRS --name NAME --place`, or mix what is nearest with --force."),
    ("analogy me-with-glasses.png me.png me.png -o x.png --library full",
     "This analogy is glasses backwards (similarity -0.…), and like none of the edits forwards "
     "(nearest: …). Undo the edit with `pairedit edit PICTURE --edit glasses=-1 --library full -o "
     "OUT`, or mix what is nearest with --force."),
    ("analogy me.png blue.png nothing.png -o blue.png --library full",
     "The output blue.png is the input picture. Expected another file, so that the original is "
     "kept."),
    ("analogy me.png blue.png me.png -o x.png --library full --mask me-with-glasses.png --strip "
     "me-with-glasses.png",
     "The output me-with-glasses.png is the mask. Expected another file, so that the original is "
     "kept."),
    ("analogy me.png me.png me.png -o x.png --library full --router speed",
     "There is no router 'speed'. Expected encoder or velocity."),
    ("analogy me.png nothing.png me.png -o x.png --library full",
     "Picture 'nothing.png' does not exist.…"),
    ("basis list --library broken",
     f"The index of the basis is damaged: {INDEX.replace('full', 'broken')} …Build it again from "
     "what was placed, with `pairedit basis reindex`."),
    ("basis place glasses pairs --library broken --force", "The index of the basis is damaged…"),
    ("analogy me.png me.png me.png -o x.png --library broken",
     "The index of the basis is damaged…"),
    ("compose --edit glasses --edit glases --name both --library full",
     "There is no edit 'glases' in the library full. Did you mean glasses?"),
    ("compose --edit full/glasses.safetensors --edit foreign.safetensors --name both "
     "--library full",
     "glasses @ 1 + foreign @ 1 mixes edits of different models. Got glasses on mini (one), "
     "foreign on mini (two). Train them on one model."),
    ("edit me.png --edit full/glasses.safetensors --edit foreign.safetensors -o x.png "
     "--library full",
     "…was learned on another model.…"),
    ("compose --edit glasses --name a/b --library full",
     "'a/b' cannot be the name of an edit. …"),
    ("compose --edit glasses --name hat --library full", "There is an edit hat already…"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, face_pairs: Callable[..., object]) -> Path:
    """A basis of glasses and hat, a broken one, an edit of another model, and what is no edit."""
    root = tmp_path_factory.mktemp("work")
    for name, change in {"glasses": {"glasses": "round"}, "hat": {"hat": "beanie"}}.items():
        pairs = face_pairs(change, 2)
        _edit(name, "one").save(root / "full" / f"{name}.safetensors")
        EditBasis.open(root / "full").place(_edit(name, "one"), pairs)  # type: ignore[arg-type]
    shutil.copytree(root / "full", root / "broken")
    (root / "broken/basis/index.safetensors").write_bytes(b"torn")
    _edit("foreign", "two").save(root / "foreign.safetensors")
    (root / "text.safetensors").write_text("a LoRA, but in words")
    for side in ("source", "target"):
        (root / "pairs" / side).mkdir(parents=True)
    for pair in face_pairs({"glasses": "round"}, 2):  # type: ignore[attr-defined]
        pair.before.save(root / "pairs" / "source" / f"{pair.name}.png")
        pair.after.save(root / "pairs" / "target" / f"{pair.name}.png")
        pair.before.save(root / "me.png")
        pair.after.save(root / "me-with-glasses.png")
        Image.new("RGB", pair.before.size, "blue").save(root / "blue.png")
    return root


def _edit(name: str, fingerprint: str) -> Edit:
    layers = {"x_embedder": LoraLayer(torch.ones(1, 64), torch.ones(192, 1))}
    return Edit(layers, EditInfo(name, base="mini", base_fingerprint=fingerprint, rank=1))


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_what_is_wrong_is_said(
    pairedit: Pairedit, made: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.chdir(made)
    before = _state(made)
    result = pairedit(*shlex.split(line))
    assert result.exit_code == 2, result.output
    pattern = re.escape(f"Error: {said}").replace("…", ".*")
    assert re.fullmatch(pattern, result.stderr.rstrip("\n")), result.stderr
    assert _state(made) == before


def test_an_analogy_that_undoes_an_edit_is_told_how(
    pairedit: Pairedit, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    line = "basis route me-with-glasses.png me.png --library full"
    said = pairedit(*shlex.split(line)).stdout
    assert said.endswith("pairedit edit PICTURE --edit glasses=-1 --library full -o OUT`.\n")
    found = json.loads(pairedit(*shlex.split(line), "--json").stdout)
    assert (found["known"], found["opposite"]) == (False, "glasses")
    assert found["similarities"]["glasses"] < -found["thresholds"]["glasses"]
    told = pairedit(*shlex.split("basis route me.png me-with-glasses.png --library full"))
    assert "backwards" not in told.stdout


def _state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
