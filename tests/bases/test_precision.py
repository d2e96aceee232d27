"""Where and how a base is held."""

import pytest
import torch

from pairedit_sdk.bases import precision


@pytest.mark.parametrize(
    ("gpus", "several", "expected"),
    [(False, True, "cpu"), (True, False, "cuda"), (True, True, "cuda:3")],
)
def test_a_process_of_several_has_a_gpu_of_its_own(monkeypatch, gpus, several, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    monkeypatch.setenv("WORLD_SIZE", "4" if several else "1")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert str(precision.choose_device(None)) == expected
