"""From drawn analogies to b′ with a LoRWeB basis, on a real, small Kontext model."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import Result

from pairedit_sdk.builtin.faces import analogies
from pairedit_sdk.builtin.faces.world import task_at, task_pairs
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.lorweb import learning
from pairedit_sdk.lorweb.analogies import AnalogyFolder
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.models.image_encoder import load_encoder
from pairedit_sdk.pairs.pair_set import PairSet

Pairedit = Callable[..., Result]
SETTINGS = [
    word
    for setting in ("count=2", "rank=2", "key_width=4", "targets=attention", "steps=2", "batch=2")
    for word in ("--set", setting)
]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analogies, "SEEN", analogies.SEEN[:3])


def test_from_drawn_analogies_to_an_answer(
    pairedit: Pairedit, tiny_kontext_folder: Path, library: Path, tmp_path: Path
) -> None:
    def run(*words: object) -> Result:
        result = pairedit(*words)
        assert result.exit_code == 0, result.output
        return result

    data = tmp_path / "data"
    run("lorweb", "draw", data, "--each", "1")
    assert len(list((data / "target").glob("*.png"))) == 3
    run("lorweb", "train", data, "--name", "web", "--base", tiny_kontext_folder, *SETTINGS)
    saved = library / "learned" / "web.safetensors"
    assert json.loads(saved.with_suffix(".json").read_text())["settings"]["count"] == 2
    # It is not taken for an edit.
    assert "web" not in run("edits", "list").stdout

    sides = [next((data / side).glob("*.png")) for side in ("a", "a_prime", "b")]
    words = ("--steps", "2", "-o", "out.png", "--strip", "strip.png", "--json")
    said = json.loads(run("lorweb", "answer", "web", *sides, *words).stdout)
    assert set(said["coefficients"]) == {"1", "2"}
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (128, 128)
    assert (tmp_path / "strip.png").is_file()

    # The former command is the same, and its note is not on standard output.
    former = run("analogy", *sides, "--basis", "web", *words)
    assert json.loads(former.stdout) == said
    assert former.stderr.startswith(
        "Note: pairedit analogy --basis is now pairedit lorweb answer.\n"
    )

    # A user's own edit joins, and is chosen for its own pair.
    pairs = tmp_path / "pairs"
    for side, folder in (("a", "source"), ("a_prime", "target")):
        (pairs / folder).mkdir(parents=True)
        next((data / side).glob("*.png")).rename(pairs / folder / "1.png")
    run("train", pairs, "--name", "mine", "--base", tiny_kontext_folder, "--set", "steps=2",
        "--skip-check")  # fmt: skip
    assert Edit.load(library / "mine.safetensors").info.architecture == "flux-1-mini-kontext"
    run("lorweb", "join", "web", "mine", pairs)
    own = (pairs / "source" / "1.png", pairs / "target" / "1.png", pairs / "source" / "1.png")
    said = json.loads(run("lorweb", "answer", "web", *own, *words).stdout)
    assert said["coefficients"]["mine"] > 0.8
    again = pairedit("lorweb", "join", "web", "mine", pairs)
    assert again.exit_code == 2
    assert "There is an edit mine in" in again.stderr


def test_an_edit_is_learned_as_a_part_of_a_basis(
    pairedit: Pairedit, tiny_kontext_folder: Path, library: Path, tmp_path: Path
) -> None:
    data, pairs = tmp_path / "data", tmp_path / "pairs"
    assert pairedit("lorweb", "draw", data, "--each", "1").exit_code == 0
    words = ("--name", "web", "--base", tiny_kontext_folder, *SETTINGS)
    assert pairedit("lorweb", "train", data, *words).exit_code == 0
    for side, folder in (("a", "source"), ("a_prime", "target")):
        (pairs / folder).mkdir(parents=True)
        for number, path in enumerate(sorted((data / side).glob("*.png"))[:2]):
            path.rename(pairs / folder / f"{number}.png")

    few = ("--set", "steps=2", "--set", "lora.rank=2", "--set", "batch=1", "--json")
    result = pairedit("lorweb", "learn", "web", "mine", pairs, *few)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["elements"] == ["1", "2", "mine"]
    assert Path(said["run_dir"]) == library / "learned" / "runs" / "web-mine"
    assert (Path(said["run_dir"]) / "metrics.jsonl").is_file()
    own = (pairs / "source" / "0.png", pairs / "target" / "0.png", pairs / "source" / "1.png")
    result = pairedit("lorweb", "answer", "web", *own, "--steps", "1", "-o", "out.png", "--json")
    assert "mine" in json.loads(result.stdout)["coefficients"]

    # The basis has it: nothing is replaced unless it is asked for.
    saved = library / "learned" / "web.safetensors"
    before, tensors = saved.read_bytes(), load_file(saved)
    again = pairedit("lorweb", "learn", "web", "mine", pairs, *few)
    assert again.exit_code == 2
    assert "There is an edit mine in" in again.stderr
    assert saved.read_bytes() == before
    result = pairedit("lorweb", "learn", "web", "mine", pairs, *few, "--force")
    assert result.exit_code == 0, result.output
    anew = load_file(saved)
    assert anew.keys() == tensors.keys()
    assert all(torch.allclose(anew[name], tensors[name], atol=1e-5) for name in anew)


def test_what_joined_while_an_edit_was_learned_stays(
    pairedit: Pairedit, tiny_kontext_folder: Path, library: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data, pairs = tmp_path / "data", tmp_path / "pairs"
    assert pairedit("lorweb", "draw", data, "--each", "1").exit_code == 0
    words = ("--name", "web", "--base", tiny_kontext_folder, *SETTINGS)
    assert pairedit("lorweb", "train", data, *words).exit_code == 0
    for side, folder in (("a", "source"), ("a_prime", "target")):
        (pairs / folder).mkdir(parents=True)
        shutil.copy(min((data / side).glob("*.png")), pairs / folder / "1.png")
    few = ("--set", "steps=1", "--set", "lora.rank=2", "--set", "batch=1", "--json")
    saved = library / "learned" / "web.safetensors"
    learn_edit = learning.learn_edit

    def meanwhile(action: Callable[[], object], *options: str) -> Result:
        def learned(*args: Any, **given: Any) -> LoRWeBBasis:
            found = learn_edit(*args, **given)
            action()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(learning, "learn_edit", learned)
            return pairedit("lorweb", "learn", "web", "mine", pairs, *few, *options)

    def join(name: str) -> None:
        basis = LoRWeBBasis.load(saved)
        layer = next(iter(basis.layers))
        one = basis.layers[layer]
        own = {layer: LoraLayer(one.down[0].clone(), one.up[0].clone())}
        asked = basis.asked(load_encoder(basis.info.encoder), PairSet.from_folder(pairs))
        basis.join(Edit(own, EditInfo(name, rank=2)), *asked).save(saved)

    result = meanwhile(lambda: join("other"))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["elements"] == ["1", "2", "other", "mine"]
    assert LoRWeBBasis.load(saved).elements == ["1", "2", "other", "mine"]

    LoRWeBBasis.load(saved).without("mine").save(saved)
    (library / "learned" / "runs" / "web-mine").rename(tmp_path / "first")
    result = meanwhile(lambda: join("mine"))
    assert result.exit_code == 2
    assert "An edit mine has joined" in result.stderr
    assert LoRWeBBasis.load(saved).elements == ["1", "2", "other", "mine"]

    def train_anew() -> None:
        again = pairedit("lorweb", "train", data, *words, "--set", "seed=1", "--force")
        assert again.exit_code == 0, again.output

    result = meanwhile(train_anew, "--force")
    assert result.exit_code == 2
    assert "was trained anew while mine was learned" in result.stderr
    assert LoRWeBBasis.load(saved).elements == ["1", "2"]


def test_a_world_is_drawn_as_relations(pairedit: Pairedit, tmp_path: Path) -> None:
    assert pairedit("lorweb", "draw", "world", "--world", "2", "--each", "3").exit_code == 0
    found = AnalogyFolder(tmp_path / "world")
    assert len(found) == 2 * 3  # every two of three people
    assert found[0].caption == task_at(0).caption
    drawn = task_pairs(0, 2)
    sides = [face.draw() for pair in drawn for face in pair]
    shown = (found[0].a, found[0].a_prime, found[0].b, found[0].b_prime)
    assert [side.tobytes() for side in shown] == [side.tobytes() for side in sides]
    refused = pairedit("lorweb", "draw", "other", "--world", "2", "--each", "1")
    assert refused.exit_code == 2
    assert not (tmp_path / "other").exists()


def test_other_people_of_chosen_kinds_are_drawn(pairedit: Pairedit, tmp_path: Path) -> None:
    name, value = analogies.SEEN[1]
    chosen = ("--change", f"{name}={value}")
    assert pairedit("lorweb", "draw", "all", "--each", "3", *chosen).exit_code == 0
    assert pairedit("lorweb", "draw", "new", "--each", "2", "--from", "1", *chosen).exit_code == 0
    stems = [f"{name}-{value}-{index:03d}.png" for index in (1, 2)]
    for side in ("a", "a_prime", "b", "target"):
        assert sorted(path.name for path in (tmp_path / "new" / side).glob("*.png")) == stems
        for stem in stems:
            drawn, again = (tmp_path / folder / side / stem for folder in ("all", "new"))
            assert drawn.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["lorweb", "draw", "new", "--change", "age=odl"],
         "There is no change 'age=odl' to draw. Did you mean age=old?"),
        (["lorweb", "train", "nowhere", "--name", "x"], "There is no folder of analogies nowhere"),
        (["lorweb", "train", "data", "--name", "x", "--set", "cuont=2"], "unknown key 'cuont'"),
        (["lorweb", "train", "data", "--name", "x", "--base", "mini"], "takes no condition images"),
        (["lorweb", "learn", "wbe", "mine", "data"], "There is no LoRWeB basis 'wbe'"),
        (["lorweb", "import", "x.safetensors", "x.yaml", "--name", "y"], "There is no file x.safe"),
        (["lorweb", "answer", "wbe", "a.png", "a.png", "a.png", "-o", "o.png"],
         "There is no LoRWeB basis 'wbe'"),
        (["analogy", "a.png", "a.png", "a.png", "--basis", "wbe", "-o", "o.png"],
         "There is no LoRWeB basis 'wbe'"),
        (["analogy", "a.png", "a.png", "a.png", "--basis", "w", "--force", "-o", "o.png"],
         "--force cannot be used with a LoRWeB basis"),
        (["analogy", "a.png", "a.png", "a.png", "--basis", "w", "--mask", "m.png", "-o", "o.png"],
         "--mask cannot be used with a LoRWeB basis"),
        (["lorweb", "answer", "w", "a.png", "b.png", "b.png", "-o", "a.png"],
         "The output a.png is the input picture"),
        (["analogy", "a.png", "a.png", "a.png", "--prompt", "x", "-o", "o.png"],
         "--prompt and --layout are for a LoRWeB basis"),
        (["lorweb", "draw", "data"], "data is there already"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    pairedit: Pairedit, library: Path, tmp_path: Path, line: list[str], said: str
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    for side in ("a", "a_prime", "b", "target"):
        (tmp_path / "data" / side).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "data" / side / "1.png")
    before = sorted(tmp_path.rglob("*"))
    result = pairedit(*line)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["train", "join", "import", "draw"])
def test_the_former_commands_are_hidden_aliases(pairedit: Pairedit, name: str) -> None:
    assert not re.search(rf"^  {name} ", pairedit("basis", "--help").stdout, re.MULTILINE)
    shown = [pairedit(group, name, "--help").stdout for group in ("basis", "lorweb")]
    assert shown[0].replace("pairedit basis", "pairedit lorweb") == shown[1]


def test_a_former_command_notes_its_new_name(pairedit: Pairedit, tmp_path: Path) -> None:
    result = pairedit("basis", "draw", "new", "--each", "1", "--json")
    assert json.loads(result.stdout)["analogies"] == 3
    assert "Note: pairedit basis draw is now pairedit lorweb draw.\n" in result.stderr
    result = pairedit("basis", "draw", "again", "--each", "1", "-q")
    assert (result.exit_code, result.output) == (0, "")
