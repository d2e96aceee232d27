"""Generating: the late-step window, other sizes, numbers out of range."""

import numpy as np
import pytest

from pairedit_sdk.editing.generate import generate
from pairedit_sdk.errors import UsageError
from pairedit_sdk.training.config import TrainConfig
from pairedit_sdk.training.trainer import train


@pytest.fixture(scope="module")
def trained(tiny_folder, face_pairs):
    from pairedit_sdk.models.loading import load_base

    base = load_base(str(tiny_folder), device="cpu")
    config = TrainConfig(steps=8, rank=4, sigma_count=8, lr=2e-2)
    return base, train(base, face_pairs({"hat": "beanie"}, 2), config, name="hat")


def _array(image):
    return np.asarray(image, np.int16)


def test_generate_keeps_the_layout_steps_untouched(trained):
    base, edit = trained
    plain = generate(base, "a person", seed=2, steps=6)
    late = generate(base, "a person", edit, seed=2, steps=6, start_step=6)
    early = generate(base, "a person", edit, seed=2, steps=6, start_step=2)
    assert np.array_equal(_array(plain), _array(late))
    assert not np.array_equal(_array(plain), _array(early))


def test_generate_takes_other_sizes_of_the_grid(trained):
    base, _ = trained
    assert generate(base, "", steps=1, width=96, height=64, start_step=0).size == (96, 64)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda b: generate(b, "", width=100), "100 x 128 pixels do not fit"),
        (lambda b: generate(b, "", steps=4, start_step=5), "start_step 5 of 4"),
    ],
)
def test_numbers_out_of_range_are_refused(trained, call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call(trained[0])
