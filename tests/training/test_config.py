"""Settings and recipes: every shipped file is valid, every mistake is named."""

import pickle
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import yaml

from pairedit_sdk.errors import UsageError
from pairedit_sdk.io.resources import recipes_dir
from pairedit_sdk.training.config import LossSettings, TrainConfig, load_recipe, recipe_names
from pairedit_sdk.training.settings import OptimSettings


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name):
    config = load_recipe(name)
    path = recipes_dir() / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert set(yaml.safe_load(text)) <= {f.name for f in fields(TrainConfig)}  # no short names
    assert load_recipe(path) == config


def test_the_recipes_that_are_promised_are_there():
    promised = {
        "published", "ablation-a", "ablation-b", "ablation-c", "mini", "flux-dev", "flux-dev-fast",
        "lowmem", "mini-kontext", "kontext-dev", "kontext-plain", "klein-4b", "klein-9b",
        "flux2-dev", "z-image", "qwen-image", "qwen-image-edit", "chroma",
    }  # fmt: skip
    assert promised <= set(recipe_names())


def test_the_recipes_of_edit_models_see_the_picture_and_agree():
    mini, dev = load_recipe("mini-kontext"), load_recipe("kontext-dev")
    assert (mini.reference, load_recipe("mini").reference) == ("before", "none")
    held = {"resolution": None, "precision": "auto", "gradient_checkpointing": False}
    assert (mini.find_words, dev.find_words) == (True, False)
    assert dev.with_values(base="mini-kontext", find_words=True, **held) == mini


def test_the_trainers_way_differs_from_an_edit_that_sees_the_picture_in_what_is_learned_and_how():
    seeing, plain = load_recipe("mini-kontext"), load_recipe("kontext-plain")
    assert (plain.objective, plain.reference, plain.alpha) == ("reconstruction", "before", 16)
    learned = ("objective", "sigma_sampling", "lag", "lead", "alpha", "gain", "find_words")
    learned = {name: getattr(seeing, name) for name in (*learned, "lr", "lr_schedule", "beta2")}
    assert plain.with_values(**learned) == seeing


@pytest.mark.parametrize("name", ["klein-4b", "klein-9b", "flux2-dev", "qwen-image-edit"])
def test_recipes_of_models_with_references_learn_as_kontext_dev_does(name):
    config, dev = load_recipe(name), load_recipe("kontext-dev")
    held = ("base", "guidance", "precision", "batch", "accumulate", "optimizer")
    assert config.with_values(**{key: getattr(dev, key) for key in held}) == dev
    assert config.batch * config.accumulate == dev.batch
    assert config.gradient_checkpointing


@pytest.mark.parametrize("name", ["z-image", "qwen-image", "chroma"])
def test_recipes_of_models_without_references_learn_as_flux_dev_fast_does(name):
    config, fast = load_recipe(name), load_recipe("flux-dev-fast")
    held = ("base", "guidance", "precision", "batch", "accumulate", "optimizer")
    assert config.with_values(**{key: getattr(fast, key) for key in held}) == fast
    assert config.batch * config.accumulate == fast.batch
    assert config.gradient_checkpointing


def test_published_is_the_default_settings():
    assert load_recipe("published") == TrainConfig()
    assert load_recipe(None) == TrainConfig()


def test_the_ablations_differ_from_published_in_one_switch():
    published = load_recipe("published")
    assert load_recipe("ablation-a") == replace(published, objective="slider")
    assert load_recipe("ablation-b") == replace(published, content_lora=False)
    assert load_recipe("ablation-c") == replace(published, noising="standard")


def test_overrides_are_read_as_yaml_and_win():
    config = load_recipe("published", ["steps=20", "lr=1e-4", "content_lora=false", "track=null"])
    assert (config.steps, config.lr, config.content_lora, config.track) == (20, 1e-4, False, None)


def test_groups_are_mappings_in_a_recipe_and_dotted_words_elsewhere(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("steps: 12\noptim:\n  lr: 2e-3\nloss: {eta: 3, objective: slider}\n")
    config = load_recipe(path, ["optim.lr=1e-4", "lora.rank=2"], {"editing.steps": 9})
    assert config.optim == OptimSettings(lr=1e-4)
    assert config.loss == LossSettings(objective="slider", eta=3.0)
    assert (config.lora.rank, config.editing.steps, config.steps) == (2, 9, 12)


def test_a_short_name_is_read_everywhere_and_the_new_one_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("pairedit_sdk.io.settings._noted", set())
    path = tmp_path / "old.yaml"
    path.write_text("lr: 1e-3\nobjective: slider\nedit_even: true\n", encoding="utf-8")
    for _ in range(2):
        config = load_recipe(path, ["eta=2", "steps=3"])
    assert [record.getMessage() for record in caplog.records] == [
        "The setting lr is now called optim.lr.",
        "The setting objective is now called loss.objective.",
        "The setting edit_even is now called editing.limit_scale.",
        "The setting eta is now called loss.eta.",
    ]
    wanted = TrainConfig(lr=1e-3, objective="slider", edit_even=True, eta=2.0, steps=3)
    assert config == wanted
    assert (config.lr, config.objective, config.edit_even) == (1e-3, "slider", True)
    assert replace(TrainConfig(steps=3, eta=2.0), lr=1e-3, objective="slider", edit_even=True) == (
        wanted
    )


def test_short_and_new_names_prevail_over_what_comes_before():
    assert load_recipe("mini", ["lr=1e-4", "optim.lr=1e-5"]).lr == 1e-5
    assert load_recipe("mini", ["optim.lr=1e-4"], {"lr": 1e-5}).lr == 1e-5


def test_files_hold_the_settings_as_earlier_versions_read_them():
    values = TrainConfig().as_dict()
    assert set(values) == FILED
    assert TrainConfig(**values) == TrainConfig()
    other = TrainConfig(beta1=0.8, edit_steps=5, objective="slider")
    assert other.as_dict() == values | {"beta1": 0.8, "edit_steps": 5, "objective": "slider"}
    assert TrainConfig(**other.as_dict()) == other


#: The keys of version 0.1's edits and runs.
FILED = {
    "base", "steps", "batch", "lr", "lr_schedule", "rank", "alpha", "eta", "beta", "guidance",
    "seed", "resolution", "precision", "lora_precision", "offload", "sigma_count",
    "sigma_sampling", "objective", "lag", "lead", "content_lora", "noising", "calibrate", "gain",
    "edit_steps", "edit_n_avg", "edit_threshold", "edit_even", "targets", "optimizer",
    "weight_decay", "accumulate", "gradient_checkpointing", "checkpoint_every", "keep",
    "preview_every", "track",
}  # fmt: skip


def test_settings_survive_what_sends_them_to_another_process():
    config = load_recipe("mini")
    assert pickle.loads(pickle.dumps(config)) == config
    assert hash(config) == hash(load_recipe("mini"))
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0
    with pytest.raises(TypeError, match="TrainConfig has no setting 'rnak'"):
        TrainConfig(rnak=3)


def test_a_recipe_file_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("steps: 12\nlr: 2e-3\n", encoding="utf-8")
    assert load_recipe(path) == TrainConfig(steps=12, lr=2e-3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stpes: 3\nrnak: 2\n", r"unknown key 'stpes' \(Did you mean steps\).*'rnak'"),
        ("steps: 2.5\n", "steps is 2.5, expected a whole number"),
        ("rank: 0\nsteps: -1\n", "steps is -1.*rank is 0"),
        ("lr: .nan\n", "lr is nan, expected a number"),
        ("lr: many\n", "lr is 'many', expected a number"),
        ("objective: best\n", "loss.objective is 'best', expected one of pairedit"),
        ("optim: 3\nlora: {rnak: 2}\n", r"optim is 3, expected keys and values.*'lora.rnak'"),
        ("content_lora: maybe\n", "content_lora is 'maybe', expected true or false"),
        ("- steps\n- 3\n", "Expected keys and values. Got a list"),
        ("steps: [\n", "is not plain YAML"),
        ("steps: !!python/object/apply:os.getpid []\n", "is not plain YAML"),
    ],
)
def test_a_bad_recipe_names_all_its_problems(tmp_path, text, sentence):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=sentence):
        load_recipe(path)


@pytest.mark.parametrize(
    ("name", "overrides", "sentence"),
    [
        ("publishd", [], "There is no recipe 'publishd'. Did you mean published"),
        ("gone.yaml", [], "Recipe file gone.yaml is not there"),
        ("../published", [], "Recipe file ../published is not there"),
        (None, ["steps"], "The setting 'steps' has no value. Expected KEY=VALUE"),
        (None, ["steps=["], "cannot be read as a value"),
    ],
)
def test_a_recipe_or_override_that_cannot_be_used(name, overrides, sentence):
    with pytest.raises(UsageError, match=sentence):
        load_recipe(name, overrides)


def test_plain_values_prevail_over_words_and_recipe():
    config = load_recipe("mini", ["steps=7", "rank=3"], {"rank": 5, "lr_schedule": "constant"})
    assert (config.steps, config.rank, config.lr_schedule, config.batch) == (7, 5, "constant", 4)
    with pytest.raises(UsageError, match="unknown key 'rnak'"):
        load_recipe("mini", (), {"rnak": 5})
