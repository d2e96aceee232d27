"""From pairs to an edit in the library: its file comes last, and says what it was made of."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.errors import OtherRunError, UsageError
from pairedit_sdk.jobs.make_edit import make_edit, recipe_for, resume_hint, settings_for
from pairedit_sdk.training.config import TrainConfig, load_recipe
from pairedit_sdk.training.trainer import train

if TYPE_CHECKING:
    from pairedit_sdk.models.pipeline_model import PipelineModel
    from pairedit_sdk.pairs.pair_set import PairSet

SHORT = TrainConfig(steps=4, rank=4, checkpoint_every=2, sigma_count=8, edit_steps=2, resolution=64)


@pytest.fixture
def pairs(face_pairs: Callable[..., PairSet]) -> PairSet:
    return face_pairs({"hat": "beanie"}, 2, size=64)


def test_what_is_made_is_what_the_training_gives(
    tiny_model: PipelineModel, pairs: PairSet, library: Path
) -> None:
    made = make_edit(tiny_model, pairs, SHORT, name="hat", library=library, licence="mine")
    assert made is not None
    assert (made.path, made.preview) == (library / "hat.safetensors", library / "hat.png")
    alone = train(tiny_model, pairs, SHORT, name="hat")
    saved = Edit.load(made.path)
    for name, layer in alone.layers.items():
        assert torch.equal(saved.layers[name].up, layer.up)
    assert (saved.info.licence, saved.info.pairs_fingerprint) == ("mine", pairs.fingerprint)
    assert saved.info.created
    assert resume_hint(made.run_dir) == "and can go on from step 4"


def test_the_edit_s_file_is_written_last(
    tiny_model: PipelineModel, pairs: PairSet, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("pairedit_sdk.training.previews.preview", fail)
        with pytest.raises(ZeroDivisionError):
            make_edit(tiny_model, pairs, SHORT, name="hat", library=library)
    assert list(library.glob("hat*")) == []
    steps: list[object] = []
    make_edit(
        tiny_model,
        pairs,
        SHORT,
        name="hat",
        library=library,
        earlier_run="resume",
        on_step=steps.append,
    )
    assert sorted(path.name for path in library.glob("hat*")) == ["hat.png", "hat.safetensors"]
    assert steps == []  # the training itself was through


def test_a_run_of_other_settings_is_an_error_of_its_kind_and_force_clears_it(
    tiny_model: PipelineModel, pairs: PairSet, library: Path
) -> None:
    make_edit(tiny_model, pairs, SHORT, name="hat", library=library)
    other = TrainConfig(**{**SHORT.as_dict(), "eta": 2.0})
    with pytest.raises(OtherRunError, match=r"eta was 4\.0, now 2\.0.*--force"):
        make_edit(tiny_model, pairs, other, name="hat", library=library, earlier_run="resume")
    made = make_edit(tiny_model, pairs, other, name="hat", library=library, earlier_run="replace")
    assert made is not None
    assert made.edit.info.settings["eta"] == 2.0


def test_an_even_strength_is_for_bases_that_bring_their_encoder(
    tiny_folder: Path, tmp_path: Path
) -> None:
    assert settings_for("mini", None, []).edit_even
    assert settings_for(str(tiny_folder), None, []).edit_even
    small = str(tmp_path / "bare")
    shutil.copytree(tiny_folder, small, ignore=shutil.ignore_patterns("image_encoder"))
    assert not settings_for(small, None, []).edit_even
    assert settings_for(small, None, ["edit_even=true"]).edit_even
    assert settings_for(small, "mini", []).edit_even  # as the recipe says that was asked for


def test_the_edit_model_and_its_recipe_are_the_default() -> None:
    config = settings_for(None, None, [])
    assert config == load_recipe("mini-kontext") == settings_for("mini-kontext", None, [])
    assert (config.base, config.reference, config.find_words) == ("mini-kontext", "before", True)
    assert settings_for("mini", None, []) == load_recipe("mini")


@pytest.mark.parametrize(
    ("recipe", "base"),
    [
        ("mini", "mini"), ("mini-kontext", "mini-kontext"), ("published", "mini"),
        ("flux-dev", "black-forest-labs/FLUX.1-dev"),
    ],
)  # fmt: skip
def test_a_recipe_without_a_model_says_which_it_is_for(recipe: str, base: str) -> None:
    assert settings_for(None, recipe, []).base == base


def test_a_recipe_that_names_no_model_has_the_built_in_one_that_it_takes(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("steps: 3\n", encoding="utf-8")
    assert settings_for(None, own, []).base == "mini"
    assert settings_for(None, own, ["loss.reference=before"]).base == "mini-kontext"
    assert settings_for("elsewhere", own, []).base == "elsewhere"


def test_without_a_recipe_it_follows_the_model(
    tiny_folder: Path, tiny_kontext_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is downloaded to find out")

    monkeypatch.setattr("socket.socket.connect", refuse)
    found = {
        "mini": "mini",
        "mini-kontext": "mini-kontext",
        str(tiny_folder): "mini",
        str(tiny_kontext_folder): "mini-kontext",
        "black-forest-labs/FLUX.1-dev": "flux-dev",
        "black-forest-labs/FLUX.1-Kontext-dev": "kontext-dev",
        "somebody/FLUX-fill": "flux-dev",
        "somebody/my-KONTEXT-tuned": "kontext-dev",
        "./not/there": "flux-dev",
    }
    assert {base: recipe_for(base) for base in found} == found


def test_the_base_is_none_of_the_settings(tmp_path: Path) -> None:
    assert settings_for(None, None, [], {"steps": 3}).base == "mini-kontext"
    for words, values in ((["base=x"], {}), ([], {"base": "x"})):
        with pytest.raises(UsageError, match="--set cannot change the model"):
            settings_for(None, None, words, values)
