"""Words that a training finds for its pairs, and what becomes of them in the edit."""

import pytest
import torch

from pairedit_sdk.bench.edit_types import training_faces
from pairedit_sdk.edits.edit import Edit
from pairedit_sdk.edits.edit_words import EditWords
from pairedit_sdk.errors import InputError, UsageError
from pairedit_sdk.jobs.make_edit import settings_for
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.training.config import TrainConfig, load_recipe
from pairedit_sdk.training.picking import candidates
from pairedit_sdk.training.trainer import train
from pairedit_sdk.training.words import Made, settled_words, shared_out

PHRASE = "add round glasses"
SHORT = load_recipe(
    "mini-kontext",
    ["steps=2", "batch=1", "lora.rank=2", "checkpointing.every=1", "words.find=false"],
)
ASKED = SHORT.with_values(find_words=True, vocabulary=f"{PHRASE}; make the hair red")


@pytest.fixture(scope="module")
def model():
    return load_model("mini-kontext", device="cpu")


@pytest.fixture(scope="module")
def pairs(face_pairs):
    return face_pairs({"glasses": "round"}, 2)


@pytest.fixture(scope="module")
def plain(model, pairs):
    return train(model, pairs, SHORT, name="e")


@pytest.fixture(scope="module")
def worded(model, pairs, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return train(model, pairs, ASKED, name="e", run_dir=run), run


def test_the_found_words_are_part_of_the_edit(plain, worded):
    edit, run = worded
    (words,) = edit.info.words
    assert words.phrase == PHRASE
    assert words.ratio < 0.5
    assert 0.5 < words.scale <= 1.1  # the model draws these glasses well by itself
    assert 0.1 < words.lora < 0.9
    assert plain.info.words == []
    assert edit.info.unit_scale == plain.info.unit_scale
    for name, layer in edit.layers.items():  # whole: for whoever uses it without words
        assert torch.equal(layer.up, plain.layers[name].up)
    assert Edit.load(run / "edit.safetensors").info.words == [words]


@pytest.mark.parametrize(
    ("accuracy", "progress", "scale", "lora"),
    [
        (-1.0, 0.7, 0.0, 1.0),
        (0.6, 0.7, 0.0, 1.0),
        (0.75, 0.8, 0.5, 0.706),  # half of the words go 0.4 of the way, the LoRA the rest
        (0.95, 0.66, 1.0, 0.4),
        (1.0, 1.0, 1.0, 0.0),
        (0.95, 1.2, 1.0, 0.0),
        (0.61, 0.2, 0.033, 1.0),
    ],
)
def test_words_get_what_they_make_of_the_pairs(accuracy, progress, scale, lora):
    words = shared_out(EditWords(PHRASE, 1.0, 0.3), Made(accuracy, progress))
    close = pytest.approx(scale, abs=1e-3), 0.3, pytest.approx(lora, abs=1e-3)
    assert words == EditWords(PHRASE, *close)


def test_of_a_single_pair_words_get_more():
    words, made = EditWords(PHRASE, 1.0, 0.3), Made(0.6, 0.6)
    assert shared_out(words, made).scale == 0.0
    assert shared_out(words, made, single=True).scale == pytest.approx(0.5)


def test_words_that_make_something_else_only_describe(model):
    """The hat is in the colour of each shirt, which no instruction says."""
    faces = [(b.draw(), a.draw()) for b, a in training_faces("matching-hat", 3)]
    config = ASKED.with_values(vocabulary="add a beanie; add freckles")
    (words,) = train(model, faces, config, name="e").info.words
    assert (words.phrase, words.scale, words.lora) == ("add a beanie", 0.0, 1.0)


def test_a_resumed_run_finds_them_again(model, pairs, worded, tmp_path):
    edit, _ = worded

    def stop(info):
        if info.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, pairs, ASKED, name="e", run_dir=tmp_path, on_step=stop)
    again = train(model, pairs, ASKED, name="e", run_dir=tmp_path, resume=True)
    assert again.info == edit.info
    assert all(torch.equal(again.layers[n].up, layer.up) for n, layer in edit.layers.items())


def test_every_checkpoint_has_them_too(model, worded):
    edit, run = worded
    found = candidates(model, run, "e")
    assert [one.edit.info.words for one in found] == [edit.info.words] * len(found)
    assert len(found) == 2
    last = found[-1].edit.layers
    assert all(torch.equal(last[name].up, layer.up) for name, layer in edit.layers.items())


def test_where_none_explains_the_pairs_the_edit_is_as_without(model, pairs, plain):
    config = ASKED.with_values(vocabulary="make the shirt red; add freckles")
    edit = train(model, pairs, config, name="e")
    assert edit.info.words == []
    assert edit.info.unit_scale == plain.info.unit_scale
    assert all(torch.equal(edit.layers[n].up, layer.up) for n, layer in plain.layers.items())


def test_what_cannot_work_is_refused_before_anything_is_written(model, tiny_model, pairs, tmp_path):
    config = TrainConfig(steps=1, rank=2, find_words=True)
    with pytest.raises(UsageError, match=r"words\.find is true, and .* cannot be asked"):
        train(tiny_model, pairs, config, name="e", run_dir=tmp_path / "run")
    config = ASKED.with_values(vocabulary=str(tmp_path / "absent.txt"))
    with pytest.raises(InputError, match="There is no vocabulary"):
        train(model, pairs, config, name="e", run_dir=tmp_path / "run")


def test_settings_say_nothing_of_words_unless_they_are_asked_for(plain, worded):
    names = {"find_words", "vocabulary", "words_scale"}
    assert not names & plain.info.settings.keys()
    assert worded[0].info.settings.keys() & names == {"find_words", "vocabulary"}
    for wrong in ({"words_scale": -1.0}, {"words_scale": 11.0}):
        with pytest.raises(UsageError, match=r"words\."):
            SHORT.with_values(**wrong)


def test_a_vocabularys_file_is_read_once_and_is_nowhere_in_the_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v;w.txt").write_text("# worn\na hat\na cap\n")
    for path in ("v;w.txt", str(tmp_path / "v;w.txt")):
        config = settings_for("mini-kontext", None, [], {"words.vocabulary": path})
        assert config.vocabulary == "a hat; a cap"
    said = settings_for("mini-kontext", None, ["words.vocabulary=a hat; a cap"])
    assert said == config
    with pytest.raises(InputError, match="There is no vocabulary absent"):
        settings_for("mini-kontext", None, ["words.vocabulary=absent.yaml"])


def test_a_run_goes_on_with_the_phrases_that_it_began_with(model, tmp_path):
    path = tmp_path / "phrases"
    path.write_text("a hat")
    first = settled_words(model, SHORT.with_values(find_words=True, vocabulary=str(path)))
    assert first.vocabulary == "a hat;"
    path.unlink()
    assert settled_words(model, first) == first
    path.write_text("a cap")
    other = settled_words(model, SHORT.with_values(find_words=True, vocabulary=str(path)))
    assert other.as_dict() != first.as_dict()
