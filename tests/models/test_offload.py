"""What is on the device when."""

import pytest
import torch
from torch import nn

from pairedit_sdk.lora.adapters import attached
from pairedit_sdk.lora.layers import LoraLayer
from pairedit_sdk.models.offload import Placement
from pairedit_sdk.models.pipeline_model import PipelineModel

MOVE = "pairedit_sdk.models.offload._move"
GPU = torch.device("cuda")


class Part(nn.Module):
    """A module that only says where it would be: there is no GPU to move it to."""

    def __init__(self, name, moves):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.name, self.moves = name, moves


@pytest.fixture
def moves(monkeypatch):
    made = []
    monkeypatch.setattr(MOVE, lambda m, where: made.append((m.name, where.type)))
    return made


def placed(moves, *, offload, device=GPU):
    transformer, vae = Part("transformer", moves), Part("vae", moves)
    return Placement(device, transformer, vae, offload=offload), transformer


@pytest.mark.parametrize("offload", [False, True])
def test_before_a_training_each_part_has_the_device_to_itself(moves, offload):
    parts, _ = placed(moves, offload=offload)
    parts.make_room()
    assert moves == []
    for _ in range(2):
        with parts.vae():
            pass
    assert moves == [("vae", "cuda")]
    parts.transformer()
    parts.transformer()
    assert moves == [("vae", "cuda"), ("vae", "cpu"), ("transformer", "cuda")]


def test_beside_the_transformer_the_autoencoder_is_there_only_while_it_works(moves):
    parts, _ = placed(moves, offload=False)
    parts.transformer()
    with parts.vae():
        assert moves[1:] == [("vae", "cuda")]
    assert moves[1:] == [("vae", "cuda"), ("vae", "cpu")]


def test_offload_lets_the_transformer_make_room(moves):
    parts, _ = placed(moves, offload=True)
    parts.transformer()
    with parts.vae():
        assert moves[1:] == [("transformer", "cpu"), ("vae", "cuda")]
    parts.make_room()
    parts.transformer()
    assert moves[3:] == [("vae", "cpu"), ("transformer", "cuda")]


def test_a_transformer_with_a_lora_stays_where_it_is(moves):
    parts, transformer = placed(moves, offload=True)
    parts.transformer()
    with attached(transformer, {"a": {"layer": LoraLayer(torch.zeros(1, 2), torch.zeros(2, 1))}}):
        with parts.vae():
            pass
        parts.make_room()
    assert ("transformer", "cpu") not in moves


def test_on_a_cpu_nothing_moves(moves):
    parts, _ = placed(moves, offload=True, device=torch.device("cpu"))
    parts.transformer()
    with parts.vae():
        pass
    parts.make_room()
    assert moves == []


def test_a_base_that_offloads_moves_its_own_parts_and_draws_the_same(tiny_folder, monkeypatch):
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    made, decoded = [], []
    monkeypatch.setattr(MOVE, lambda module, where: made.append(module))
    for moving in (False, True):
        base = PipelineModel.load(str(tiny_folder), device="cpu", offload=moving)
        condition = base.condition("")
        if moving:
            # As on a GPU, with main memory in its place: there is none here.
            base._placement._moves = True
            base._placement._ready = base._placement._vae_ready = False
        z = base.encode(x)
        v = base.velocity(z, torch.tensor(0.5), condition, 3.5)
        decoded.append(base.decode(z + v))
    transformer, vae = base._transformer, base.vae
    assert made == [vae, vae, transformer, transformer, vae]  # there; back, there; back, there
    assert torch.equal(*decoded)


def test_with_offload_the_text_encoders_go_before_the_transformer_comes(tiny_folder):
    base = PipelineModel.load(str(tiny_folder), device="cpu", offload=True)
    condition = base.condition("a person")
    assert base._text.loaded is not None
    base.velocity(torch.zeros(1, 16, 4, 4), torch.tensor(0.5), condition, 3.5)
    assert base._text.loaded is None
