"""Many pictures: each as by itself, in order, whatever becomes of the others."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pairedit_sdk.editing import edit_images as module
from pairedit_sdk.editing import edit_photos, options, scale_limit
from pairedit_sdk.editing.edit_image import edit_image
from pairedit_sdk.editing.edit_images import edit_images
from pairedit_sdk.edits.edit import Edit, EditInfo
from pairedit_sdk.edits.metadata import EditDirection
from pairedit_sdk.errors import EditError, InputError, PairEditError, UsageError
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.images.inputs import as_photo
from pairedit_sdk.images.metadata import read_made
from pairedit_sdk.images.photo import Photo
from pairedit_sdk.lora.layers import LoraLayer


def values(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixels(edited):
    return [one.photo.pixels.astype(int) for one in edited]


def test_one_path_is_not_taken_for_pictures_called_by_its_letters(model, edit):
    with pytest.raises(UsageError, match=r"edit_images takes several pictures.*into a list"):
        edit_images(model, "a.png", edit)


@pytest.fixture(scope="module")
def model(tiny_folder):
    from pairedit_sdk.models.loading import load_model

    return load_model(str(tiny_folder), device="cpu")


@pytest.fixture(scope="module")
def edit(model):
    """A random edit of the tiny model, which changes much."""
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for name in model.lora_targets("attention"):
        part = model.transformer.get_submodule(name)
        down = torch.randn(2, part.in_features, generator=generator) * 0.3
        layers[name] = LoraLayer(down, torch.randn(part.out_features, 2, generator=generator))
    info = EditInfo("wild", base=model.name, base_fingerprint=model.fingerprint, resolution=32)
    return Edit(layers, info)


@pytest.mark.parametrize(
    "settings",
    [{}, {"n_avg": 2}, {"mode": "merged"}, {"detail": "off"}, {"method": "rf-inversion"},
     {"region": (4, 4, 16, 16)}, {"mask": np.full((32, 32), 255, np.uint8)}],
)  # fmt: skip
def test_a_batch_is_each_picture_by_itself(model, edit, settings):
    pictures = [values(32, 32, seed) for seed in range(3)]
    found = list(edit_images(model, pictures, edit, steps=3, **settings))
    for one, picture in zip(found, pictures, strict=True):
        alone = np.asarray(edit_image(model, picture, edit, steps=3, **settings)).astype(int)
        assert np.abs(one.photo.pixels.astype(int) - alone).max() <= 1
        assert np.abs(alone - picture).max() > 5


def test_the_same_picture_twice_in_a_batch_comes_out_the_same(model, edit):
    one, two = pixels(edit_images(model, [values(32, 32)] * 2, edit, steps=3))
    assert np.abs(one - two).max() <= 1


def test_a_scale_limit_is_each_picture_s_own(model, edit, monkeypatch):
    """It comes from what an encoder sees of a picture, not of those beside it."""

    class MeanColour:
        def embed(self, images):
            return torch.cat([to_tensor(image).mean(dim=(2, 3)) for image in images])

    monkeypatch.setattr(scale_limit, "_loaded", lambda name: MeanColour())
    limited = Edit(
        edit.layers, replace(edit.info, direction=EditDirection([1.0, 0.0, 0.0], 0.01, "mean"))
    )
    pictures = [values(32, 32, seed) // (1 + seed) for seed in range(3)]
    settings = {"steps": 3, "limit_scale": True}
    for one, picture in zip(
        edit_images(model, pictures, limited, **settings), pictures, strict=True
    ):
        alone = np.asarray(edit_image(model, picture, limited, **settings)).astype(int)
        assert np.abs(one.photo.pixels.astype(int) - alone).max() <= 1


def test_pictures_seen_at_one_size_share_passes_and_keep_their_order(painting, paint):
    sizes = [(64, 64), (65, 64), (200, 200), (64, 128), (640, 1280), (64, 64)]
    pictures = [values(*size, seed) for seed, size in enumerate(sizes)]
    found = list(edit_images(painting, pictures, paint))
    assert painting.seen == [3, 2, 1]
    assert [one.photo.size for one in found] == [(w, h) for h, w in sizes]
    assert [id(one.source) for one in found] == [id(p) for p in pictures]
    for one, picture in zip(found, pictures, strict=True):
        alone = np.asarray(edit_image(painting, picture, paint))
        assert np.array_equal(one.photo.pixels, alone)


def test_a_bad_picture_is_reported_and_the_others_follow(painting, paint, tmp_path):
    names = [tmp_path / f"{k}.png" for k in range(5)]
    for k, name in enumerate(names):
        Image.fromarray(values(40, 40, k)).save(name)
    names[2].write_bytes(b"no picture")
    names[3].unlink()
    found = list(edit_images(painting, [*names, 7], paint))
    assert [one.source for one in found] == [*names, 7]
    assert [one.error is None for one in found] == [True, True, False, False, True, False]
    assert isinstance(found[2].error, InputError)
    assert "2.png" in str(found[2].error)
    with pytest.raises(InputError, match=r"2\.png"):
        found[2].save(tmp_path / "out.png")
    with pytest.raises(PairEditError, match=r"3\.png"):
        _ = found[3].image
    assert not (tmp_path / "out.png").exists()
    assert found[4].image.size == (40, 40)
    assert found[4].save(tmp_path / "out.png").exists()


def test_pictures_are_read_when_their_turn_comes(painting, paint, monkeypatch):
    monkeypatch.setattr(edit_photos, "TOKENS", 5 * 2 * 64)  # room for five
    asked = []

    def source():
        for k in range(100):
            asked.append(k)
            yield values(64, 64, k)

    results = edit_images(painting, source(), paint)
    assert asked == []
    next(results)
    assert painting.seen == [5]
    assert asked == list(range(6))  # the sixth shows that the five are all there is room for
    results.close()


def test_no_picture_is_no_result(painting, paint):
    assert list(edit_images(painting, [], paint)) == []


def test_large_photographs_are_not_all_held(painting, paint, monkeypatch):
    monkeypatch.setattr(module, "HELD", 3 * 64 * 64)
    list(edit_images(painting, [values(64, 64, k) for k in range(7)], paint))
    assert painting.seen == [3, 3, 1]


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_together_means_one_by_one(painting, paint, kind):
    def fails(count):
        if count > 1:
            raise kind("no memory")

    painting.fails = fails
    found = list(edit_images(painting, [values(64, 64, k) for k in range(3)], paint))
    assert painting.seen == [3, 1, 1, 1]
    assert all(one.error is None for one in found)


def test_out_of_memory_for_one_alone_is_reported(painting, paint):
    def fails(count):
        raise MemoryError

    painting.fails = fails
    (one,) = edit_images(painting, [values(64, 64)], paint)
    assert "Out of memory" in str(one.error)


def test_a_mask_that_fits_one_of_two_pictures(painting, paint):
    pictures = [values(64, 64), values(66, 64)]
    mask = np.full((640, 640), 255, np.uint8)
    found = list(edit_images(painting, [*pictures, values(64, 128)], paint, mask=mask))
    assert [one.error is None for one in found] == [True, False, False]
    assert "other proportions" in str(found[1].error)


def test_ctrl_c_is_no_picture_s_failure(painting, paint):
    def fails(count):
        raise KeyboardInterrupt

    painting.fails = fails
    with pytest.raises(KeyboardInterrupt):
        list(edit_images(painting, [values(64, 64)] * 2, paint))


@pytest.mark.parametrize(
    ("given", "settings"),
    [([], {}), (None, {"method": "magic"}), (None, {"detail": "much"}), (None, {"region": "face"})],
)
def test_what_cannot_be_is_refused_before_the_first_picture(painting, paint, given, settings):
    with pytest.raises(UsageError):
        edit_images(painting, iter(()), paint if given is None else given, **settings)
    other = Edit(paint.layers, replace(paint.info, base_fingerprint="other"))
    with pytest.raises(EditError, match="another model"):
        edit_images(painting, iter(()), other)


@pytest.mark.parametrize("kind", ["path", "text", "array", "picture", "photo"])
def test_one_picture_in_the_place_of_many_is_refused(painting, paint, kind, tmp_path):
    """Text would be taken letter by letter, and an array row by row."""
    one = {
        "path": tmp_path, "text": "a.png", "array": values(64, 64),
        "picture": Image.fromarray(values(64, 64)), "photo": Photo(values(64, 64)),
    }[kind]  # fmt: skip
    with pytest.raises(UsageError, match="Give one picture to edit_image"):
        edit_images(painting, one, paint)


def test_a_mask_is_read_once_and_before_the_first_picture(painting, paint, tmp_path, monkeypatch):
    path = tmp_path / "mask.png"
    with pytest.raises(InputError, match="does not exist"):
        edit_images(painting, iter(()), paint, mask=path)
    Image.new("L", (64, 64), 255).save(path)
    read = []
    monkeypatch.setattr(options, "as_photo", lambda *of: read.append(of[0]) or as_photo(*of))
    pictures = [values(64, 64, k) for k in range(3)]
    assert all(one.photo for one in edit_images(painting, pictures, paint, mask=path))
    assert read[0] == path
    assert all(isinstance(one, Photo) for one in read[1:])


def test_a_failure_keeps_its_traceback_as_text_and_no_picture(painting, paint):
    def fails(count):
        raise ZeroDivisionError("of the model")

    painting.fails = fails
    photo = Photo(values(64, 64))
    kept = weakref.ref(photo)
    failures = [(one.error, one.traceback) for one in edit_images(painting, iter([photo]), paint)]
    del photo
    gc.collect()
    assert kept() is None
    ((error, said),) = failures
    assert "ZeroDivisionError: of the model" in str(error)
    assert "in fails" in said


@pytest.mark.parametrize("count", [1, 2])
def test_what_on_step_raises_ends_the_whole(model, edit, count):
    """A caller that cancels so is no picture's failure."""

    class CancelledError(Exception):
        pass

    def cancel(done, total):
        raise CancelledError

    pictures = [values(32, 32, seed) for seed in range(count)]
    results = edit_images(model, pictures, edit, steps=3, on_step=cancel)
    with pytest.raises(CancelledError):
        next(results)
    assert next(edit_images(model, pictures, edit, steps=3)).error is None


def test_progress_is_of_the_pictures_together(model, edit):
    seen = []
    pictures = [values(32, 32, seed) for seed in range(2)]
    list(edit_images(model, pictures, edit, steps=3, on_step=lambda *step: seen.append(step)))
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) == seen[-1][1]


def test_metadata_are_written_unless_not_wanted(painting, paint, tmp_path):
    (one,) = edit_images(painting, [Photo(values(40, 40))], paint @ 0.5, seed=4)
    made = read_made(one.save(tmp_path / "a.png"))
    assert made["seed"] == 4
    assert made["edits"] == [{"name": "paint", "scale": 0.5}]
    assert not read_made(one.save(tmp_path / "b.png", metadata=False))
