"""LoRWeB's recipe on Relation252K's layout, shrunk, on tiny pipelines of the real classes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.estimates import fitting
from pairedit_sdk.estimates.fitting import needs_of
from pairedit_sdk.lorweb import trainer
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.recipes import load_basis_recipe
from pairedit_sdk.pairs.pair_set import PairSet

Pairedit = Callable[..., Result]
#: The recipe made small. The tiny models are 32 wide, and are held in float32 on a CPU.
SHRUNK = (
    "count=4", "lora.rank=2", "key_width=8", "steps=4", "batch=2", "checkpointing.every=2",
    "optim.optimizer=adamw", "resolution=32",
)  # fmt: skip
#: What the recipe says to change for klein.
KLEIN = ("layout=sequence", "resolution=64", "guidance=0")


def settings(*words: str) -> list[str]:
    return [word for one in words for word in ("--set", one)]


@pytest.fixture
def relations(tmp_path: Path, face_pairs: Callable[..., PairSet]) -> Path:
    """Two tasks as Relation252K has them, one of them in groups: 3 + 1 analogies."""
    folder = tmp_path / "Relation252K"
    for task, change, count in (
        ("make_old/Group1", {"age": "old"}, 3), ("add a hüt", {"hat": "beanie"}, 2),
    ):  # fmt: skip
        rows = []
        (folder / task).mkdir(parents=True)
        for number, pair in enumerate(face_pairs(change, count, size=64)):
            both = Image.new("RGB", (129, 64))  # an odd width
            both.paste(pair.before, (0, 0))
            both.paste(pair.after, (65, 0))
            both.save(folder / task / f"{number} 图.png")
            name = f"{number} 图.png"
            rows.append({"img_name": name, "edit_instruction": f"make it so {number}"})
        rows[-1].pop("edit_instruction")  # a missing caption
        text = json.dumps(rows, ensure_ascii=False)
        (folder / task / "labels.json").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("family", "more"), [("flux-kontext", ()), ("klein", KLEIN)], ids=["kontext", "klein"]
)
def test_the_recipe_goes_the_whole_way(
    pairedit: Pairedit, library: Path, tmp_path: Path, relations: Path,
    face_pairs: Callable[..., PairSet], tiny_family: Callable[[str], Path],
    tiny_clip_folder: Path, family: str, more: tuple[str, ...],
) -> None:  # fmt: skip
    def run(*words: object) -> dict[str, Any]:
        result = pairedit(*words, "--json")
        assert result.exit_code == 0, result.output
        said: dict[str, Any] = json.loads(result.stdout)
        return said

    base = tiny_family(family)
    shrunk = settings(*SHRUNK, *more, f"encoder={tiny_clip_folder}")
    words = ("lorweb", "train", relations, "--recipe", "lorweb", "--base", base, *shrunk)
    cpu = ("--precision", "fp32", "--device", "cpu")
    said = run(*words, "--name", "whole", *cpu)
    assert (said["analogies"], said["elements"], said["base"]) == (4, 4, str(base))
    whole = library / "learned" / "whole.safetensors"
    kept = LoRWeBBasis.load(whole).info.settings
    recipe = load_basis_recipe("lorweb", [*SHRUNK, *more, f"encoder={tiny_clip_folder}"])
    assert kept == recipe.settings

    # A run that ended earlier and goes on is the same, bit for bit.
    run(*words, "--name", "again", *cpu, *settings("steps=2"))
    folder = library / "learned" / "runs" / "again"
    result = pairedit(*words, "--name", "again", "--resume", *cpu)
    assert result.exit_code == 0, result.output
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    one, two = (
        load_file(library / "learned" / f"{name}.safetensors") for name in ("whole", "again")
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)

    # It answers, and an edit of the user's own joins it.
    pairs = tmp_path / "pairs"
    for number, pair in enumerate(face_pairs({"glasses": "round"}, 2, size=64)):
        for side, picture in (("source", pair.before), ("target", pair.after)):
            (pairs / side).mkdir(parents=True, exist_ok=True)
            picture.save(pairs / side / f"{number}.png")
    shown = (pairs / "source" / "0.png", pairs / "target" / "0.png", pairs / "source" / "1.png")
    asked = ("lorweb", "answer", "whole", *shown, "--steps", "2", "-o", "out.png")
    assert set(run(*asked)["coefficients"]) == {"1", "2", "3", "4"}
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (64, 64)
    run("train", pairs, "--name", "mine", "--base", base, "--skip-check", *settings(
        "steps=2", "lora.rank=2", "resolution=32", "loss.reference=before", "batch=1",
        "gradient_checkpointing=false", "precision=fp32"))  # fmt: skip
    assert Edit.load(library / "mine.safetensors").info.editor.reference
    assert run("lorweb", "join", "whole", "mine", pairs)["elements"][-1] == "mine"
    assert run(*asked)["coefficients"]["mine"] > 0.5
    few = settings("steps=2", "lora.rank=2", "batch=1")
    assert run("lorweb", "learn", "again", "own", pairs, *few)["elements"][-1] == "own"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--recipe", "mini"], "Recipe mini.yaml is for edits, not for a LoRWeB basis"),
        (["--recipe", "lorwbe"], "There is no recipe 'lorwbe'. Did you mean lorweb?"),
        (["--recipe", "gone.yaml"], "Recipe file gone.yaml is not there"),
        (["--recipe", "lorweb", "--set", "base=mini"], "--set cannot change the model"),
        (["--recipe", "lorweb", "--set", "cuont=2"], "unknown key 'cuont' (Did you mean count)"),
        (["--recipe", "lorweb", "--set", "steps=x"], "steps is 'x', expected a whole number"),
        (["--base", "mini"], "Relation252K cannot all be read: make_old/Group1/0 图.png is empty"),
    ],
)
def test_what_is_wrong_is_said_before_the_model_is_loaded(
    pairedit: Pairedit, library: Path, relations: Path, line: list[str], said: str
) -> None:
    (relations / "make_old" / "Group1" / "0 图.png").write_bytes(b"")
    result = pairedit("lorweb", "train", relations, "--name", "x", *line)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert list(library.iterdir()) == []


def test_a_recipe_of_a_basis_is_not_one_of_an_edit(
    pairedit: Pairedit, library: Path, tmp_path: Path
) -> None:
    result = pairedit("train", tmp_path, "--name", "x", "--recipe", "lorweb")
    assert result.exit_code == 2
    assert "Recipe lorweb.yaml is for `pairedit lorweb train`" in result.stderr


def test_a_basis_is_estimated_from_configurations_alone(
    pairedit: Pairedit, tiny_family: Callable[[str], Path]
) -> None:
    words = ("estimate", "--for", "lorweb", "--recipe", "lorweb", "--device", "cuda")
    own = (*words, "--base", tiny_family("klein"), *settings("count=4", "lora.rank=2"))
    result = pairedit(*own)
    assert result.exit_code == 0, result.output
    assert re.search(r"Image encoder +1.2 GB", result.stdout)
    said = json.loads(pairedit(*own, "--json").stdout)
    assert (said["for"], said["device"], said["disk"] > 0) == ("lorweb", "cuda", True)
    less = json.loads(pairedit(*own, "--json", *settings("layout=sequence")).stdout)
    assert less["working"] < said["working"]
    result = pairedit(*words[:3], "--recipe", "mini")
    assert "Recipe mini.yaml is for edits" in result.stderr
    # Without a recipe the model is the built-in one.
    plain = json.loads(pairedit("estimate", "--for", "lorweb", "--json", "--device", "cuda").stdout)
    assert plain["base"] == "mini-kontext"


def test_who_runs_out_of_memory_is_told_what_fits(
    pairedit: Pairedit, relations: Path, library: Path, tiny_family: Callable[[str], Path],
    tiny_clip_folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*given: object, **named: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    base = str(tiny_family("flux-kontext"))
    shrunk = [*SHRUNK, f"encoder={tiny_clip_folder}", "batch=8", "resolution=128"]
    config = load_basis_recipe("lorweb", [*shrunk, "precision=fp32"])
    needed = needs_of(base, config, "cpu").peak
    monkeypatch.setattr(trainer, "train_basis", fail)
    monkeypatch.setattr(fitting, "total_memory", lambda device: needed - 1)
    words = ("lorweb", "train", relations, "--name", "x", "--recipe", "lorweb", "--base", base)
    result = pairedit(*words, *settings(*shrunk), "--precision", "fp32", "--device", "cpu")
    assert result.exit_code == 1
    assert "The machine ran out of memory. Expected about" in result.stderr
    assert "What fits: --set batch=1 --set accumulate=8 (" in result.stderr
    assert "--set layout=sequence" in result.stderr
