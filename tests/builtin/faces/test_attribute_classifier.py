from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pairedit_sdk.builtin.build.autoencoder import to_pixels
from pairedit_sdk.builtin.build.classifier import (
    HIDDEN,
    attribute_accuracy,
    attribute_loss,
    disturbed,
    labels_of,
    shifted,
    train_classifier,
)
from pairedit_sdk.builtin.faces.attribute_classifier import (
    VALUES,
    WEIGHTS,
    AttributeClassifier,
    load_attribute_classifier,
    save_attribute_classifier,
    seen_attributes,
)
from pairedit_sdk.builtin.faces.face import Face, visible
from pairedit_sdk.builtin.faces.numbered import face_at
from pairedit_sdk.errors import BaseModelError
from pairedit_sdk.images.metrics import leakage, success
from pairedit_sdk.io.files import read_tensors, write_tensors


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    return [face_at(k, "attribute tests") for k in range(96)]


@pytest.fixture(scope="module")
def drawn(faces: list[Face]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(face.draw(128)) for face in faces])


@pytest.fixture(scope="module")
def shipped() -> AttributeClassifier:
    return load_attribute_classifier()


@pytest.fixture
def untrained() -> AttributeClassifier:
    torch.manual_seed(0)
    return AttributeClassifier().eval()


# the shipped weights


def test_the_shipped_file_is_small() -> None:
    assert WEIGHTS.stat().st_size < 1_300_000
    assert sum(p.numel() for p in AttributeClassifier().parameters()) < 600_000


def test_the_shipped_classifier_reads_new_drawings(
    shipped: AttributeClassifier, faces: list[Face], drawn: NDArray[np.uint8]
) -> None:
    accuracy = attribute_accuracy(shipped, drawn, faces)
    assert np.mean(list(accuracy.values())) > 0.95
    assert min(accuracy.values()) > 0.8, accuracy


def test_it_reads_disturbed_drawings_too(
    shipped: AttributeClassifier, faces: list[Face], drawn: NDArray[np.uint8]
) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    accuracy = attribute_accuracy(shipped, drawn, faces, lambda x: disturbed(x, rng))
    assert np.mean(list(accuracy.values())) > 0.93


def test_it_sees_an_edit_and_nothing_else(shipped: AttributeClassifier) -> None:
    before = [face_at(k, "edits").with_(glasses="none", style="photo") for k in range(24)]
    after = [face.with_(glasses="round") for face in before]
    reference, out = (
        shipped.predict(to_pixels(np.stack([np.asarray(f.draw()) for f in side])))
        for side in (before, after)
    )
    seen = [seen_attributes(b, a) for b, a in zip(before, after, strict=True)]
    assert success(out, "glasses", "round").mean() > 0.9
    assert success(reference, "glasses", "round").mean() < 0.1
    assert leakage(out, reference, "glasses", seen).mean() < 0.06


# the module


def test_predictions_have_one_value_a_picture_and_probabilities_sum_to_one(
    untrained: AttributeClassifier,
) -> None:
    images = torch.rand(5, 3, 128, 128) * 2 - 1
    pred = untrained.predict(images, batch=2)
    probabilities = untrained.probabilities(images, batch=3)
    assert list(pred) == list(probabilities) == list(VALUES)
    for name, values in VALUES.items():
        assert len(pred[name]) == 5
        assert set(pred[name]) <= set(values)
        assert probabilities[name].shape == (5, len(values))
        torch.testing.assert_close(probabilities[name].sum(dim=1), torch.ones(5))
        assert [values[k] for k in probabilities[name].argmax(dim=1)] == pred[name]


def test_a_reading_does_not_depend_on_the_rest_of_the_batch(untrained: AttributeClassifier) -> None:
    images = torch.rand(4, 3, 128, 128) * 2 - 1
    together = untrained.probabilities(images)["hat"]
    alone = torch.cat([untrained.probabilities(image[None])["hat"] for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_other_sizes_are_resized(shipped: AttributeClassifier) -> None:
    face = face_at(5, "sizes").with_(style="photo")
    for size in (96, 256):
        pred = shipped.predict(to_pixels(np.asarray(face.draw(size))[None]))
        for name in ("background", "hat", "glasses", "shirt_color"):
            assert pred[name] == [getattr(face, name)]


def test_pictures_of_another_shape_are_refused(untrained: AttributeClassifier) -> None:
    with pytest.raises(ValueError, match=r"images: expected \[B, 3, H, W\]; got \(3, 128, 128\)"):
        untrained.predict(torch.zeros(3, 128, 128))


def test_seen_attributes_are_those_visible_in_every_face() -> None:
    face = Face(hat="none", hair_style="short", glasses="none")
    assert "hat_color" not in seen_attributes(face)
    assert {"hair_style", "eyebrows"} <= seen_attributes(face)
    both = seen_attributes(face, face.with_(hat="beanie"))
    assert not {"hat_color", "hair_style", "eyebrows"} & both
    assert "nose" in both


# saving and loading


def test_weights_come_back_as_saved(untrained: AttributeClassifier, tmp_path: Path) -> None:
    path = save_attribute_classifier(untrained, tmp_path / "a.safetensors", {"note": "x"})
    tensors, metadata = read_tensors(path)
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert json.loads(metadata["attributes"]) == {k: list(v) for k, v in VALUES.items()}
    assert metadata["note"] == "x"
    for name, tensor in load_attribute_classifier(path).state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, untrained.state_dict()[name].half().float())


def test_missing_and_damaged_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"weights are missing: .*none\.safetensors"):
        load_attribute_classifier(tmp_path / "none.safetensors")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"not a safetensors file")
    with pytest.raises(BaseModelError, match=r"cannot be read: .*bad\.safetensors"):
        load_attribute_classifier(bad)


def test_weights_for_other_attributes_are_refused(
    untrained: AttributeClassifier, tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    other = {**VALUES, "hat": ("none", "sombrero")}
    metadata = {"attributes": json.dumps(other)}
    write_tensors(path, untrained.state_dict(), metadata)
    with pytest.raises(BaseModelError, match=r"trained for other attributes.*differences in hat"):
        load_attribute_classifier(path)
    metadata = {"attributes": json.dumps(dict(reversed(VALUES.items())))}
    write_tensors(path, untrained.state_dict(), metadata)
    with pytest.raises(BaseModelError, match="differences in their order"):
        load_attribute_classifier(path)


def test_weights_of_another_architecture_are_refused(
    untrained: AttributeClassifier, tmp_path: Path
) -> None:
    tensors = untrained.state_dict()
    tensors.popitem()
    path = tmp_path / "cut.safetensors"
    write_tensors(path, tensors, {"attributes": json.dumps(VALUES)})
    with pytest.raises(BaseModelError, match="another architecture"):
        load_attribute_classifier(path)


# training


def test_labels_are_the_values_and_hidden_ones_are_left_out() -> None:
    face = Face(hat="none", glasses="square", mouth="sad")
    labels = dict(zip(VALUES, labels_of([face])[0].tolist(), strict=True))
    assert labels["hat_color"] == HIDDEN
    assert VALUES["glasses"][labels["glasses"]] == "square"
    assert VALUES["mouth"][labels["mouth"]] == "sad"
    assert all((label == HIDDEN) == (not visible(face, name)) for name, label in labels.items())


def test_the_loss_by_hand() -> None:
    logits = {name: torch.zeros(2, len(values)) for name, values in VALUES.items()}
    labels = labels_of([Face(hat="none"), Face(hat="cap")])
    uniform = sum(np.log(len(values)) for values in VALUES.values())
    assert attribute_loss(logits, labels).item() == pytest.approx(uniform, rel=1e-6)
    labels[:, list(VALUES).index("skin")] = HIDDEN  # shown by no face: no term, no NaN
    expected = uniform - np.log(len(VALUES["skin"]))
    assert attribute_loss(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_hidden_labels_give_no_gradient() -> None:
    logits = {n: torch.zeros(1, len(v), requires_grad=True) for n, v in VALUES.items()}
    attribute_loss(logits, labels_of([Face(hat="none")])).backward()  # type: ignore[no-untyped-call]
    assert logits["hat_color"].grad is None or not logits["hat_color"].grad.any()
    assert logits["hat"].grad is not None
    assert logits["hat"].grad.any()


def test_shifts_are_small_and_keep_the_size() -> None:
    pictures = np.zeros((200, 16, 16, 3), np.uint8)
    pictures[:, 8, 8] = 255
    moved = shifted(pictures, np.random.default_rng(0))
    assert moved.shape == pictures.shape
    places = {(int(y), int(x)) for y, x in (np.argwhere(p[..., 0])[0] for p in moved)}
    assert {y for y, _ in places} == {x for _, x in places} == set(range(5, 12))


def test_disturbed_pictures_stay_close_and_the_round_trip_takes_the_last_quarter() -> None:
    x = torch.full((16, 3, 32, 32), 0.2)
    original = x.clone()
    torch.manual_seed(0)
    plain = disturbed(x, np.random.default_rng(0))
    assert torch.equal(x, original)
    assert (plain - x).abs().mean() < 0.1
    assert plain.abs().max() <= 1
    seen: list[int] = []

    def negative(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return -pixels

    tripped = disturbed(x, np.random.default_rng(0), negative)
    assert seen == [4]
    assert tripped[:12].mean() > 0.1
    assert tripped[12:].mean() < -0.1


def test_training_learns_and_resumes(tmp_path: Path) -> None:
    faces = [face_at(k, "attribute tests") for k in range(8)]
    drawn = np.stack([np.asarray(face.draw(128)) for face in faces])
    torch.manual_seed(0)
    model = AttributeClassifier()
    labels = labels_of(faces)
    before = attribute_loss(model(to_pixels(drawn)), labels).item()
    train_classifier(model, drawn, faces, tmp_path, minutes=0.012, batch=8)
    state = json.loads((tmp_path / "attributes.json").read_text())
    assert state["step"] >= 1
    assert not model.training
    after = attribute_loss(model(to_pixels(drawn)), labels).item()
    assert after < before
    again = AttributeClassifier()
    train_classifier(again, drawn, faces, tmp_path, minutes=0.012, batch=8)  # nothing left to do
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name])


def test_pictures_and_records_must_match(untrained: AttributeClassifier, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 pictures, but 1 records"):
        train_classifier(
            untrained, np.zeros((2, 128, 128, 3), np.uint8), [Face()], tmp_path, minutes=0.001
        )
