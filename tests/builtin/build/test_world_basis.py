"""Making the file of the shipped LoRWeB basis from a trained one."""

from __future__ import annotations

import json

import pytest
import torch

from pairedit_sdk.builtin.build.world_basis import main
from pairedit_sdk.errors import EditError
from pairedit_sdk.io.files import read_tensors, write_tensors
from pairedit_sdk.lorweb.basis import LoRWeBBasis
from pairedit_sdk.lorweb.shown import SHIPPED


@pytest.fixture
def trained(tmp_path):
    """Write a trained basis like the shipped one, with some of its description changed."""

    def write(**changed):
        tensors, header = read_tensors(SHIPPED)
        values = json.loads(header["learned_basis"]) | {"name": "mine", **changed}
        values["settings"]["track"] = "mlflow"
        full = {name: tensor.float() for name, tensor in tensors.items()}
        described = {"learned_basis": json.dumps(values)}
        return write_tensors(tmp_path / "mine.safetensors", full, described)

    return write


def test_it_is_halved_and_renamed(trained, tmp_path):
    out = tmp_path / "out.safetensors"
    main([str(trained(base="/home/me/mini-kontext")), "--output", str(out)])
    assert out.read_bytes() == SHIPPED.read_bytes()
    assert not out.with_suffix(".json").exists()
    basis = LoRWeBBasis.load(out)
    assert (basis.info.name, basis.info.base) == ("world", "mini-kontext")
    assert basis.info.settings.track is None


@pytest.mark.parametrize("changed", [{"base_fingerprint": "other"}, {"encoder": "mini"}])
def test_one_of_another_model_is_refused(trained, tmp_path, changed):
    with pytest.raises(EditError, match=r"mine cannot be shipped with mini-kontext\. Expected"):
        main([str(trained(**changed)), "--output", str(tmp_path / "out.safetensors")])
    assert not (tmp_path / "out.safetensors").exists()


def test_numbers_that_are_too_large_are_refused(trained, tmp_path):
    path = trained()
    tensors, header = read_tensors(path)
    tensors["keys"] = torch.full_like(tensors["keys"], 1e6)
    write_tensors(path, tensors, header)
    with pytest.raises(EditError, match="float16 does not hold"):
        main([str(path), "--output", str(tmp_path / "out.safetensors")])
