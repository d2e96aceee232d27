"""Editing pictures: exact at scale 0, any size, every method, nothing left behind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pairedit_sdk.editing import composition, inversion
from pairedit_sdk.editing.edit_image import edit_image, sweep
from pairedit_sdk.editing.edit_images import edit_images
from pairedit_sdk.editing.edit_latents import changed_alone, edit_latents
from pairedit_sdk.editing.edit_photos import seen_size
from pairedit_sdk.edits.edit import Edit, EditorSettings
from pairedit_sdk.errors import UsageError
from pairedit_sdk.flow.schedule import noise_source
from pairedit_sdk.flow.solvers import damped
from pairedit_sdk.images.image import to_image, to_tensor
from pairedit_sdk.lora.adapters import lora_layers
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train


@pytest.fixture(scope="module")
def trained(tiny_folder, face_pairs):
    from pairedit_sdk.models.loading import load_base

    base = load_base(str(tiny_folder), device="cpu")
    config = TrainConfig(steps=8, rank=4, sigma_count=8, lr=2e-2)
    return base, train(base, face_pairs({"hat": "beanie"}, 2), config, name="hat")


@pytest.fixture(scope="module")
def picture(face_pairs):
    return face_pairs({"glasses": "round"}, 1, seed=9)[0].before


def _array(image):
    return np.asarray(image, np.int16)


@pytest.mark.parametrize("method", ["flowedit", "rf-inversion", "inversion-lora"])
def test_scale_0_is_the_original_and_without_its_detail_the_round_trip(trained, picture, method):
    base, edit = trained
    result = edit_image(base, picture, edit @ 0, method=method, steps=4)
    assert np.array_equal(_array(result), _array(picture))
    round_trip = to_image(base.decode(base.encode(to_tensor(picture))))
    result = edit_image(base, picture, edit @ 0, method=method, steps=4, detail="off")
    assert np.array_equal(_array(result), _array(round_trip))


def test_the_loop_itself_is_exact_without_an_effect(trained, picture):
    """Not only the shortcut: a LoRA of zeros through the whole of FlowEdit changes nothing."""
    from pairedit_sdk.lora.layers import LoraLayer

    base, edit = trained
    zeros = {n: LoraLayer(layer.down, layer.up * 0) for n, layer in edit.layers.items()}
    x = base.encode(to_tensor(picture)).float()
    result = edit_latents(base, x, Edit(zeros, edit.info), steps=6, n_max=6)
    assert torch.allclose(result, x, atol=1e-5)


def test_an_edit_changes_the_picture_and_the_base_stays_as_it_was(trained, picture):
    base, edit = trained
    weights = {n: p.clone() for n, p in base.transformer.named_parameters()}
    result = edit_image(base, picture, edit, steps=6, n_max=5)
    assert np.abs(_array(result) - _array(edit_image(base, picture, edit @ 0))).max() > 3
    assert list(lora_layers(base.transformer)) == []
    for name, parameter in base.transformer.named_parameters():
        assert torch.equal(parameter, weights[name])


@pytest.mark.parametrize("size", [(128, 128), (200, 120), (33, 90), (640, 480)])
def test_any_size_comes_back_at_its_own(trained, picture, size):
    base, edit = trained
    result = edit_image(base, picture.resize(size), edit, steps=2, n_max=1)
    assert result.size == size
    assert result.mode == "RGB"


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(trained, picture):
    base, edit = trained
    one, two, three = (
        _array(edit_image(base, picture, edit, steps=6, n_max=5, seed=s)) for s in (0, 0, 1)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, three)


def test_a_batch_of_latents_is_edited_row_by_row(trained, picture):
    base, edit = trained
    x = base.encode(to_tensor(picture)).float()
    both = edit_latents(base, torch.cat([x, x * 0.5]), edit, steps=4, n_max=3)
    assert both.shape == (2, *x.shape[1:])
    assert not torch.allclose(both[0], both[1])


def test_what_each_edit_makes_alone_is_what_it_makes_by_itself(trained, picture, monkeypatch):
    base, edit = trained
    layers = {n: replace(layer, up=layer.up * 0.5) for n, layer in edit.layers.items()}
    edits = [edit, Edit(layers, edit.info), edit]
    x = base.encode(to_tensor(picture)).float()
    x = torch.cat([x, x * 0.5])
    alone = torch.stack([edit_latents(base, x, one, seed=3) for one in edits])
    assert torch.allclose(changed_alone(base, x, edits, seed=3), alone, atol=1e-4)
    monkeypatch.setattr(composition, "TOKENS", 1)  # room for one of them at a time
    assert torch.allclose(changed_alone(base, x, edits, seed=3), alone, atol=1e-4)


def test_a_sum_of_two_halves_is_the_whole(trained, picture):
    base, edit = trained
    whole = edit_image(base, picture, edit @ 0.8, steps=4, n_max=3)
    halves = edit_image(base, picture, edit @ 0.5 + edit @ 0.3, steps=4, n_max=3)
    assert np.abs(_array(whole) - _array(halves)).max() <= 1


def test_rf_inversion_and_the_inversion_lora_run_and_tell_their_progress(
    trained, picture, monkeypatch
):
    base, edit = trained
    monkeypatch.setattr(inversion.inversion_lora_edits, "__defaults__", (3,))
    for method, total in (("rf-inversion", 12), ("inversion-lora", 3 + 6)):
        seen = []
        result = edit_image(
            base, picture, edit, method=method, steps=6,
            on_step=lambda done, all_, seen=seen: seen.append((done, all_)),
        )  # fmt: skip
        assert result.size == picture.size
        assert seen == [(k + 1, total) for k in range(total)]
        assert list(lora_layers(base.transformer)) == []


def test_the_inversion_lora_is_trained_once_for_all_scales(trained, picture, monkeypatch):
    base, edit = trained
    monkeypatch.setattr(inversion.inversion_lora_edits, "__defaults__", (3,))
    seen = []
    with torch.no_grad():  # gradients are switched on where they are needed
        both = sweep(
            base, picture, edit, [0.5, 0, 1], method="inversion-lora", steps=4,
            on_step=lambda done, total: seen.append((done, total)),
        )  # fmt: skip
    assert seen == [(k + 1, 3 + 2 * 4) for k in range(3 + 2 * 4)]
    for scale, result in zip((0.5, 0, 1), both, strict=True):
        alone = edit_image(base, picture, edit @ scale, method="inversion-lora", steps=4)
        assert np.array_equal(_array(result), _array(alone))


@pytest.mark.parametrize("given", [{"n_max": 3}, {"n_avg": 2}, {"threshold": 0.1}])
def test_flowedit_s_own_settings_are_refused_by_other_methods(trained, picture, given):
    base, edit = trained
    wanted = f"Only FlowEdit has {next(iter(given))}, and the method is rf-inversion"
    with pytest.raises(UsageError, match=wanted):
        edit_image(base, picture, edit, method="rf-inversion", steps=4, **given)


def test_the_whole_change_is_damped_at_the_end(trained, picture):
    base, edit = trained
    x = base.encode(to_tensor(picture)).float()
    plain = edit_latents(base, x, edit, steps=6, threshold=0.0)
    result = edit_latents(base, x, edit, steps=6, threshold=0.3)
    assert not torch.allclose(plain, result, atol=1e-4)
    assert torch.allclose(result, x + damped(plain - x, 0.3), atol=1e-6)


def test_an_edit_is_used_as_it_says_unless_told_otherwise(trained, picture):
    base, edit = trained
    editor = EditorSettings(steps=5, n_avg=2, threshold=0.2)
    own = Edit(edit.layers, replace(edit.info, editor=editor))
    seen = []
    result = edit_image(base, picture, own, on_step=lambda done, total: seen.append(total))
    assert seen == [4] * 4  # the last 24 / 28 of five
    said = edit_image(base, picture, edit, steps=5, n_avg=2, threshold=0.2)
    assert np.array_equal(_array(result), _array(said))
    for given in ({"steps": 4}, {"n_avg": 1}, {"threshold": 0}):
        assert not np.array_equal(_array(result), _array(edit_image(base, picture, own, **given)))
    # What the edit wants of FlowEdit is no matter of another method's.
    others = [edit_image(base, picture, e, method="rf-inversion") for e in (own, edit)]
    assert np.array_equal(*map(_array, others))


def test_a_picture_that_lies_on_its_side_is_set_upright_first(trained, picture, tmp_path):
    base, edit = trained
    upright = picture.resize((96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees clockwise", as phones write it
    upright.rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)
    with Image.open(tmp_path / "phone.png") as lying:
        assert lying.size == (64, 96)
        result = edit_image(base, lying, edit, steps=4, n_max=3)
    assert result.size == (96, 64)
    assert np.array_equal(_array(result), _array(edit_image(base, upright, edit, steps=4, n_max=3)))


def test_the_base_sees_a_picture_at_the_edit_s_training_size(trained):
    base, edit = trained
    info = replace(edit.info, resolution=2 * base.resolution)
    larger = Edit(edit.layers, info)
    side = base.resolution
    assert seen_size(base, (4000, 4000), edit) == (side, side)
    assert seen_size(base, (4000, 4000), larger) == (2 * side, 2 * side)
    assert seen_size(base, (4000, 2000), larger, resolution=side) != (side, side)


def test_edits_of_different_guidance_need_it_said(trained, picture):
    base, edit = trained
    other = Edit(edit.layers, replace(edit.info, name="other", guidance=1.0))
    with pytest.raises(UsageError, match=r"different guidance.*hat 3\.5, other 1\..*--guidance"):
        edit_image(base, picture, edit + other, steps=2)
    one = edit_image(base, picture, edit + other, steps=4, guidance=2.0)
    two = edit_image(base, picture, other + edit, steps=4, guidance=2.0)
    assert np.abs(_array(one) - _array(two)).max() <= 1
    assert (edit @ 1 + other @ 0).guidance == 3.5


def test_sweep_starts_at_the_original(trained, picture):
    base, edit = trained
    results = sweep(base, picture, edit, [0, 0.5, 1], steps=4, n_max=3)
    assert len(results) == 3
    assert np.array_equal(_array(results[0]), _array(edit_image(base, picture, edit @ 0)))
    assert not np.array_equal(_array(results[1]), _array(results[2]))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda b, i, e: edit_image(b, i, e, method="magic"), "There is no method 'magic'"),
        (lambda b, i, e: edit_image(b, i, e, steps=4, n_max=5), "n_max from 1 to steps"),
        (lambda b, i, e: edit_image(b, i, e, n_avg=0), "n_avg 0"),
    ],
)
def test_numbers_out_of_range_are_refused(trained, picture, call, sentence):
    base, edit = trained
    with pytest.raises(UsageError, match=sentence):
        call(base, picture, edit)


def test_noise_depends_on_the_seed_and_the_step_alone():
    x = torch.zeros(1, 16, 4, 4)
    source = noise_source(x, 3)
    assert torch.equal(source(2, 0), noise_source(x, 3)(2, 0))
    assert not torch.equal(source(2, 0), source(3, 0))
    assert not torch.equal(source(2, 0), source(2, 1))


@pytest.mark.parametrize(
    "image", [None, 3, ["a.png"], np.zeros((4, 4, 7)), np.zeros((4, 4), complex)]
)
def test_what_is_no_picture_is_refused(trained, image):
    base, edit = trained
    with pytest.raises(UsageError):
        edit_image(base, image, edit @ 0)


@pytest.mark.parametrize("call", [edit_image, edit_images])
def test_what_is_no_model_is_refused(trained, picture, call):
    with pytest.raises(UsageError, match=r"'mini' is no model.*load_model\('mini'\)"):
        call("mini", [picture] if call is edit_images else picture, trained[1])


def test_a_scale_beyond_all_bounds_is_warned_of(trained, picture, caplog):
    base, edit = trained
    for scale, count in ((-5.0, 0), (75.0, 1)):
        caplog.clear()
        edit_image(base, picture, edit @ scale, steps=2, n_max=1)
        assert sum("at scale 75" in record.getMessage() for record in caplog.records) == count


@pytest.mark.parametrize("edits", [[], None, "hat", [None]])
def test_what_is_no_edit_is_refused(trained, picture, edits):
    base, _ = trained
    with pytest.raises(UsageError, match="These are no edits"):
        edit_image(base, picture, edits)


def test_paths_arrays_and_lists_of_edits_are_taken(trained, picture, tmp_path):
    base, edit = trained
    picture.save(tmp_path / "a.png")
    expected = _array(edit_image(base, picture, edit @ 0.5 + edit @ 1, steps=2))
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), np.asarray(picture)):
        result = edit_image(base, given, [edit @ 0.5, edit], steps=2)
        assert np.array_equal(_array(result), expected)
