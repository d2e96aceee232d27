"""The page of an edit: valid, and nothing in it that the edit does not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pairedit_sdk.edits.edit import Edit, EditInfo, EditorSettings
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.io.quiet import no_bars
from pairedit_sdk.models.families import hub_id
from pairedit_sdk.sharing.model_card import model_card

ROOT = Path(__file__).resolve().parents[2]


def _card(**about: Any) -> tuple[dict[str, Any], str]:
    """The front matter, and the text below it."""
    preview = about.pop("preview", None)
    text = model_card(EditInfo("glasses", **about), "me/specs", preview=preview)
    empty, front, body = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), body


def _rows(body: str) -> dict[str, str]:
    cells = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("| ")]
    return {row[0]: row[1] for row in cells if len(row) == 2}


def test_an_edit_of_flux() -> None:
    front, body = _card(
        base="black-forest-labs/FLUX.1-dev", architecture="flux-1-dev", rank=16, steps=500,
        pairs=["anna", "ben"], unit_scale=1.5, resolution=512, base_fingerprint="0123abcd",
        settings={"lr": 0.002, "objective": "pairedit", "base": "/home/anna/flux", "track": None},
        editor=EditorSettings(28, 2, 0.25), licence="Apache 2.0", preview="glasses.png",
    )  # fmt: skip
    assert front == {
        "license": "apache-2.0",
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image",
        "tags": ["pairedit", "lora", "diffusers", "flux", "image-editing"],
        "base_model": "black-forest-labs/FLUX.1-dev",
        "base_model_relation": "adapter",
        "widget": [{"text": "glasses", "output": {"url": "glasses.png"}}],
    }
    rows = _rows(body)
    assert rows["rank"] == "16"
    assert rows["training pairs"] == "2"
    assert rows["unit scale"].startswith("1.5, which is in the weights already")
    assert rows["applied with FlowEdit"] == (
        "schedule of 28 steps, 2 noises a step, threshold 0.25"
    )
    assert (rows["lr"], rows["objective"]) == ("0.002", "pairedit")
    assert "track" not in rows
    # Neither the people in the pairs nor the trainer's folders are anybody's business.
    assert "anna" not in body
    assert "pairedit edits pull me/specs --file glasses.safetensors" in body
    assert 'FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", dtype=torch.b' in body


@pytest.mark.parametrize(
    ("base", "found"),
    [
        ("FLUX.1-schnell", "black-forest-labs/FLUX.1-schnell"),
        ("black-forest-labs/FLUX.1-Kontext-dev", "black-forest-labs/FLUX.1-Kontext-dev"),
        ("FLUX.2-klein-base-4B", "black-forest-labs/FLUX.2-klein-base-4B"),
        ("chroma", None),
        ("Z-Image", "Tongyi-MAI/Z-Image"),
        ("Qwen/Qwen-Image-Edit-2511", "Qwen/Qwen-Image-Edit-2511"),
        ("models/FLUX.1-dev", None),
        ("someone/FLUX.1-dev", None),
        ("mini", None),
        ("", None),
    ],
)
def test_only_a_base_that_the_hub_has_is_linked(base: str, found: str | None) -> None:
    assert hub_id(base) == found
    front, _ = _card(base=base)
    assert front.get("base_model") == found


@pytest.mark.parametrize(
    ("licence", "word", "name"),
    [
        ("CC0", "cc0-1.0", None),
        ("CC-BY-4.0", "cc-by-4.0", None),
        ("only for Ben: ask him", "other", "only for Ben: ask him"),
        ("", None, None),
    ],
)
def test_licences(licence: str, word: str | None, name: str | None) -> None:
    front, body = _card(licence=licence)
    assert (front.get("license"), front.get("license_name")) == (word, name)
    assert ("licence" in _rows(body)) == bool(licence)


def test_the_built_in_base_and_a_folder_and_a_kontext() -> None:
    _, body = _card(base="mini", architecture="flux-1-mini")
    assert "pairedit edit photo.jpg --edit glasses=1 -o out.png" in body
    assert 'from_pretrained(BUILT_IN["mini"]' in body
    _, body = _card(base="/home/anna/my-flux", architecture="flux-1-dev")
    assert "--edit glasses=1 --base BASE -o out.png" in body
    assert "/home/anna" not in body
    assert _rows(body)["model"] == "my-flux"
    _, body = _card(base="mini-kontext", architecture="flux-1-mini-kontext")
    assert 'FluxKontextPipeline.from_pretrained(BUILT_IN["mini-kontext"]' in body


def test_the_code_of_the_page_loads_the_edit_into_stock_diffusers(tmp_path: Path) -> None:
    edit = Edit.load(ROOT / "examples" / "edits" / "hat.safetensors")
    edit.save(tmp_path / "hat.safetensors")
    body = model_card(edit.info, str(tmp_path))  # a folder, where the page has a repository
    code = body.split("```python\n")[1].split("```")[0]
    done: dict[str, Any] = {}
    with no_bars():
        exec(compile(code, "page", "exec"), done)
    name, layer = next(iter(edit.layers.items()))
    loaded = done["pipe"].transformer.get_submodule(name)
    assert loaded.lora_B["hat"].weight.float().equal(layer.up.to(loaded.weight.dtype).float())
    assert loaded.scaling["hat"] == pytest.approx(0.8)


def test_a_sum_names_its_parts_and_an_imported_lora_claims_nothing() -> None:
    _, body = _card(parts=[("hat", 0.8), ("smile", 1.0)])
    assert "the sum of several edits: hat at 0.8, smile at 1." in body
    _, body = _card()
    assert "kept as a LoRA" in body
    assert "learned from" not in body
    assert "## Settings of the training" not in body


def test_an_instruction_is_named_and_whether_it_acts() -> None:
    _, body = _card(words=[EditWords("add a *red* hat", 0.5)])
    assert r"It also tells the model: add a \*red\* hat." in body
    assert "no prompt" not in body
    assert "without the instruction that pairedit adds" in body
    assert "every weight gets the same update" in body
    assert r"| instruction | add a \*red\* hat, at scale 0.5 |" in body
    _, body = _card(words=[EditWords("add a hat", 0.0)])
    assert "It needs no prompt." in body
    assert _rows(body)["instruction"] == "add a hat, a description only"
    assert "without the instruction" not in body


def test_what_is_left_to_the_lora_is_said_where_all_of_it_acts() -> None:
    _, body = _card(words=[EditWords("add a hat", 0.5, lora=0.25)])
    assert "There all of the LoRA acts; beside the instruction pairedit adds 0.25 of" in body
    assert "every weight gets the same update" not in body
    _, body = _card(words=[EditWords("add a hat", 0.0, lora=0.25)])
    assert "every weight gets the same update" in body


def test_no_words_of_a_user_break_the_page() -> None:
    front, body = _card(
        licence="a | b\n---\n<script>", settings={"recipe": "x | y\n# z"}, base="a|b`c"
    )
    assert front["license_name"] == "a | b --- <script>"
    assert r"| licence | a \| b --- \<script\> |" in body
    assert r"| recipe | x \| y \# z |" in body
    assert r"| model | a\|b\`c |" in body
