"""LoRWeB's recipe on Relation252K's layout, shrunk, on tiny pipelines of the real classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import Result

from pairedit_sdk.edits.edit import Edit
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
        ("make_old/Group1", {"age": "old"}, 3), ("add a h\N{LATIN SMALL LETTER U WITH DIAERESIS}t",
         {"hat": "beanie"}, 2),
    ):  # fmt: skip
        rows = []
        (folder / task).mkdir(parents=True)
        for number, pair in enumerate(face_pairs(change, count, size=64)):
            both = Image.new("RGB", (129, 64))  # an odd width
            both.paste(pair.before, (0, 0))
            both.paste(pair.after, (65, 0))
            both.save(folder / task / f"{number} \N{CJK UNIFIED IDEOGRAPH-56FE}.png")
            name = f"{number} \N{CJK UNIFIED IDEOGRAPH-56FE}.png"
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
