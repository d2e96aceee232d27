from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from pairedit_sdk.builtin.faces.face import Face
from pairedit_sdk.images.image import to_tensor
from pairedit_sdk.models import round_trip
from pairedit_sdk.models.loading import load_model
from pairedit_sdk.models.protocol import FlowModel
from pairedit_sdk.models.round_trip import LIMIT, round_trip_error, warn_if_unlike
from pairedit_sdk.pairs.latents import encode_pairs
from pairedit_sdk.pairs.pair_set import PairSet


@pytest.fixture
def mini() -> FlowModel:
    return load_model("mini", device="cpu")


@pytest.fixture(autouse=True)
def unsaid() -> Iterator[None]:
    round_trip._say.cache_clear()
    yield
    round_trip._say.cache_clear()


def textured() -> Image.Image:
    """A face with what a photograph has and a drawing has not: grain and fine shades everywhere."""
    grain = np.random.default_rng(0).normal(0, 12, (128, 128, 3))
    return Image.fromarray((np.asarray(Face().draw(128)) + grain).clip(0, 255).astype(np.uint8))


def test_the_share_of_lost_detail() -> None:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert round_trip_error(image, image) == 0
    assert round_trip_error(image, torch.zeros_like(image)) == pytest.approx(1, abs=0.01)
    flat = torch.zeros_like(image)
    assert round_trip_error(flat, flat) == 0


def test_drawn_faces_are_known_and_grain_is_not(
    mini: FlowModel, caplog: pytest.LogCaptureFixture
) -> None:
    drawn, other = to_tensor(Face().draw(128)), to_tensor(textured())
    assert round_trip_error(drawn, mini.decode(mini.encode(drawn))) < LIMIT - 0.1
    assert round_trip_error(other, mini.decode(mini.encode(other))) > LIMIT + 0.05
    with caplog.at_level(logging.WARNING, "pairedit_sdk"):
        assert not warn_if_unlike(mini, drawn, mini.encode(drawn))
        assert caplog.messages == []
        assert warn_if_unlike(mini, other, mini.encode(other))
        assert warn_if_unlike(mini, [other[0]], [mini.encode(other)])
    assert caplog.messages == [
        "The built-in model mini knows drawn faces alone, and these pictures are unlike them: "
        "edits will look smeared and broken. Use another model for photographs, such as --base "
        "klein-base-4b."
    ]


def test_of_many_pictures_a_few_are_read(mini: FlowModel) -> None:
    drawn, read = to_tensor(Face().draw(128)), []
    latents = mini.encode(drawn)
    pictures = (read.append(k) or drawn for k in range(50))  # type: ignore[func-returns-value]
    assert not warn_if_unlike(mini, pictures, [latents] * 50)
    assert len(read) <= round_trip._ENOUGH + 1


def test_other_models_are_not_asked(mini: FlowModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(latents: torch.Tensor) -> torch.Tensor:
        raise AssertionError("decoded")

    other = to_tensor(textured())
    latents = mini.encode(other)
    monkeypatch.setattr(mini, "decode", refuse)
    assert not warn_if_unlike(mini, [], [])
    monkeypatch.setattr(mini, "name", "black-forest-labs/FLUX.1-dev")
    assert not warn_if_unlike(mini, other, latents)


def test_training_pairs_are_looked_at_once(
    mini: FlowModel, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = PairSet.from_images([(textured(), Face().draw(128))] * 2)
    with caplog.at_level(logging.WARNING, "pairedit_sdk"):
        encode_pairs(mini, pairs)
        encode_pairs(mini, pairs)
    assert len(caplog.messages) == 1
